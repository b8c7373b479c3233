/**
 * Chats in headless Chromium against a real cluster: whoever is signed in turns the chat of a live stream on, and moderates a guest of another
 * browser, with the keyboard alone, in the studio and on the watch page.
 *
 *   node tests/chat-journey.mjs SET-UP-LINK STREAM [SCREENSHOT-FOLDER]
 *
 * Writes one line of JSON for each step; the last one has what was found, and how long it took until the guest saw each change. Status 0 when
 * every step was possible.
 */
import { mkdirSync } from 'node:fs';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { installed } from './browsers/installed.mjs';

const [link, stream, folder] = process.argv.slice(2);
const WAIT_MS = 60_000;
const [NAME, PASSWORD] = ['ada', 'correct horse battery staple'];

const say = (step) => process.stdout.write(`${JSON.stringify(step)}\n`);
const executablePath = installed('Chromium', [process.env.CHROMIUM, '/usr/bin/chromium']);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
});
const complaints = [];
/** How scripts and styles come, past the balancer. */
const codings = new Set();
const visitor = async () => {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: { width: 1440, height: 900 },
  });
  context.setDefaultTimeout(WAIT_MS);
  return async (path) => {
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('response', (response) => {
      if (/\/assets\/.*\.(?:js|css)$/.test(response.url()))
        codings.add(response.headers()['content-encoding'] ?? 'none');
    });
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
        complaints.push(message.text());
    });
    await page.goto(new URL(path, link).href);
    return page;
  };
};
const findings = [];
const look = async (page, name) => {
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: `${folder}/chat-${name}.png` });
  }
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    // The player's controls are media-chrome's.
    const { violations } = await window.axe.run({ exclude: ['media-controller'] });
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`,
    );
  });
  findings.push(...found.map((one) => `${name}: ${one}`));
};
/** Presses a key until something has the focus. */
const reach = async (page, key, selector) => {
  for (let n = 0; n < 60; n += 1) {
    await page.keyboard.press(key);
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
  }
  throw new Error(`${key} does not reach ${selector}`);
};
const waits = {};
/** How long it takes until a page shows something, or nothing of it any more. */
const seen = async (what, locator, state = 'visible') => {
  const from = performance.now();
  await locator.waitFor({ state });
  waits[what] = Math.round(performance.now() - from);
};
const message = (page, text) => page.locator('.chat-message', { hasText: text });
const write = async (page, text) => {
  await page.getByLabel('Message', { exact: true }).fill(text);
  // While the page connects, or for a second after a message, nothing is sent, and the button says so.
  await page.locator('.chat-send[aria-disabled="false"]').waitFor();
  await page.keyboard.press('Enter');
};

const [member, guestOf] = [await visitor(), await visitor()];
const setUp = await member(link);
await setUp.getByLabel('Name').fill(NAME);
await setUp.getByLabel('Password').fill(PASSWORD);
await setUp.keyboard.press('Enter');
await setUp.waitForURL(/\/studio/);
const studio = await member(`/studio/streams/${stream}/chat`);
await studio.getByRole('radio', { name: /^On / }).check();
await studio.getByRole('button', { name: 'Save' }).click();
await studio.getByText('No messages yet.').waitFor();
say({ step: 'chat is on' });

const guest = await guestOf(`/watch/${stream}`);
await guest.getByLabel('Your name').fill('Troll');
await write(guest, 'spam one');
await message(guest, 'spam one').waitFor();
const guestMay = await guest.locator('.chat-moderate, .chat-tools').count();
await message(studio, 'spam one').waitFor();
await look(studio, 'studio');
// Down from the list, to the dialog, and to what it asks.
await studio.locator('.chat-list').focus();
await reach(studio, 'Tab', '.chat-moderate');
const label = await studio.evaluate(() => document.activeElement?.getAttribute('aria-label'));
await studio.keyboard.press('Enter');
await studio.getByRole('dialog').waitFor();
await look(studio, 'dialog');
await studio.keyboard.press('Escape');
const kept = await message(guest, 'spam one').count();
const isBack = await studio.evaluate(() => document.activeElement?.matches('.chat-moderate'));
await studio.keyboard.press('Enter');
await reach(studio, 'Shift+Tab', '.chat-dialog > .chat-danger');
await studio.keyboard.press('Enter');
await seen('deletion', message(guest, 'spam one'), 'detached');
await studio.getByText('is deleted.').waitFor();
say({ step: 'deleted in the studio', label, kept, isBack });

const watch = await member(`/watch/${stream}`);
await watch.getByText(`You write as ${NAME}.`).waitFor();
await write(watch, 'We begin soon');
await message(guest, 'We begin soon').waitFor();
const ours = await message(guest, 'We begin soon').textContent();
await write(guest, 'spam two');
await message(watch, 'spam two').waitFor();
await watch.locator('.chat-list').focus();
await reach(watch, 'Tab', '.chat-moderate');
await reach(watch, 'ArrowDown', '[aria-label$="spam two"]');
await look(watch, 'watch');
await watch.keyboard.press('Enter');
await reach(watch, 'Shift+Tab', '.chat-ban .chat-danger');
await watch.keyboard.press('Enter');
await seen('ban', message(guest, 'spam two'), 'detached');
await write(guest, 'I am back');
await guest.locator('.chat-notice', { hasText: 'does not let you write' }).waitFor();
await look(guest, 'banned');
await reach(watch, 'Shift+Tab', '.chat-done .chat-tool');
await watch.keyboard.press('Enter');
await watch.getByText('may write again.').waitFor();
await guest.getByLabel('Message', { exact: true }).fill('');
await write(guest, 'sorry');
await message(watch, 'sorry').waitFor();
say({ step: 'banned and unbanned on the watch page' });

await watch.getByRole('button', { name: '10 s' }).press('Enter');
await seen('slow mode', guest.getByText('Slow mode: one message every 10 s.'));
await watch.locator('[aria-pressed="true"]', { hasText: '10 s' }).waitFor();
await watch.getByRole('button', { name: 'Off' }).press(' ');
await seen('slow mode off', guest.getByText('Slow mode: one message every 10 s.'), 'hidden');

// What viewers see, in both colours and at both widths; with a folder for pictures, in all four ways.
const [wide, narrow] = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
];
const looks = [
  ['dark', wide],
  ['light', narrow],
  ...(folder
    ? [
        ['light', wide],
        ['dark', narrow],
      ]
    : []),
];
for (const [theme, size] of looks) {
  await guest.setViewportSize(size);
  await guest.evaluate((wanted) => localStorage.setItem('sealcast-theme', wanted), theme);
  for (const [name, path, ready] of [
    ['home', '/', '.card-link'],
    ['watch', `/watch/${stream}`, '.chat-list'],
    ['embed', `/live/${stream}/embed`, 'video'],
    ['nobody', '/watch/nobody', '.overlay'],
  ]) {
    await guest.goto(new URL(path, link).href);
    await guest.locator(ready).first().waitFor({ state: 'attached' });
    await look(guest, `${name}-${size.width}-${theme}`);
    const is = await guest.evaluate(() => document.documentElement.scrollWidth);
    if (is > size.width) findings.push(`${name} ${size.width}: ${is} wide`);
  }
}

// Signing out elsewhere: the page says so, and the person goes on as a guest.
await studio.getByRole('button', { name: 'Sign out' }).click();
await studio.waitForURL(/\/sign-in/);
await write(watch, 'am I still here?');
await watch.locator('.chat-notice', { hasText: 'not signed in any more' }).waitFor();
await watch.getByLabel('Your name').waitFor();
say({ step: 'end', guestMay, label, kept, isBack, ours, waits, codings: [...codings], findings, complaints });
await browser.close();
