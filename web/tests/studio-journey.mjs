/**
 * Walks through the studio of a real cluster in headless Chromium: sets up the operator, makes a stream, waits until its publisher is
 * watched, looks at the other pages, signs out and in.
 *
 *   node tests/studio-journey.mjs SET-UP-LINK [SCREENSHOT-FOLDER]
 *
 * Writes one line of JSON for each step to standard output; the one with `key` asks the caller to publish with it. The last line says what
 * was found. Status 0 when every step was possible.
 */
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { installed } from './browsers/installed.mjs';

const [link, folder] = process.argv.slice(2);
const WAIT_MS = 60_000;
const [NAME, PASSWORD] = ['ada', 'correct horse battery staple'];

const say = (step) => process.stdout.write(`${JSON.stringify(step)}\n`);
const executablePath = installed('Chromium', [process.env.CHROMIUM, '/usr/bin/chromium']);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
const context = await browser.newContext({
  ignoreHTTPSErrors: true,
  viewport: { width: 1440, height: 900 },
  permissions: ['clipboard-read', 'clipboard-write'],
});
const page = await context.newPage();
page.setDefaultTimeout(WAIT_MS);
const cspViolations = [];
const pageErrors = [];
page.on('pageerror', (error) => pageErrors.push(error.message));
page.on('console', (message) => {
  if (message.type() === 'error' && /Content Security Policy|TrustedHTML/.test(message.text()))
    cspViolations.push(message.text());
});
const picture = async (name) => {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: `${folder}/journey-${name}.png`, fullPage: true });
};

/** Up to the first broadcast, the keyboard does everything: goes on with the Tab key until something has the focus. */
const reach = async (locator) => {
  await locator.waitFor();
  for (let n = 0; n < 80; n += 1) {
    if (await locator.evaluate((own) => own === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`the Tab key does not reach ${locator}`);
};
const type = async (locator, text) => {
  await reach(locator);
  await page.keyboard.type(text);
};
const press = async (locator) => {
  await reach(locator);
  await page.keyboard.press('Enter');
};

await page.goto(link);
await type(page.getByLabel('Name'), NAME);
await type(page.getByLabel('Password'), PASSWORD);
await page.keyboard.press('Enter');
await page.getByText('No stream yet').waitFor();
say({ step: 'set up', path: new URL(page.url()).pathname });
await picture('empty');

await press(page.getByRole('link', { name: 'Make your first stream' }));
await type(page.getByLabel('Title'), 'Town hall');
await press(page.getByRole('button', { name: 'Create' }));
await press(page.getByRole('button', { name: 'Copy key' }));
await page.getByText('Copied').first().waitFor();
const key = await page.evaluate(() => navigator.clipboard.readText());
await picture('key');
// What the page shows is what OBS is given: the caller publishes there.
const server = await page
  .locator('.key-panel code')
  .filter({ hasText: /^rtmps?:/ })
  .first()
  .textContent();
say({ step: 'stream made', key, server });

await page.waitForFunction(() => document.querySelectorAll('.step-done').length === 4);
const stepsDone = await page.locator('.step-done').count();
await press(page.getByRole('link', { name: 'Open the stream' }));
await page.locator('.badge-live').waitFor();
// The publisher's keyframes are four seconds apart: the studio says so, and what to set.
await page.locator('.warning-warn').first().waitFor();
const warning = (await page.locator('.warning-warn .warning-title').first().textContent())?.trim();
await picture('live');
await press(page.getByRole('link', { name: 'Health' }));
await page.locator('.rows').waitFor();
await picture('health');
await press(page.getByRole('link', { name: 'Access' }));
await page.getByText('Share').waitFor();
await picture('access');
await press(page.locator('.tabs').getByRole('link', { name: 'Settings' }));
await type(page.getByLabel('Description'), 'Every first Monday.');
await press(page.getByRole('button', { name: 'Save' }));
await page.getByText('Saved').waitFor();
say({ step: 'stream watched', stepsDone, warning });

const viewers = await context.newPage();
await viewers.goto(new URL('/watch/town-hall', link).href);
await viewers.waitForFunction(() => window.sealcast?.player?.view === 'playing');
await viewers.close();
say({ step: 'viewers play' });

await page.getByRole('link', { name: 'API keys' }).click();
await page.getByRole('button', { name: 'New key' }).click();
await page.getByRole('dialog').getByLabel('Name').fill('Website');
await page.getByRole('button', { name: 'Make the key' }).click();
await page.getByText('The secret of').waitFor();
await page.locator('td', { hasText: 'Website' }).first().waitFor();
await picture('keys');
await page.getByRole('link', { name: 'Members' }).click();
await page.locator('td', { hasText: NAME }).first().waitFor();
await picture('members');
await page.getByRole('link', { name: 'Usage' }).click();
await page.locator('.stat-value').first().waitFor();
await page.getByRole('link', { name: 'Audit' }).click();
await page.locator('td', { hasText: 'api-keys.create' }).first().waitFor();
const actions = await page.locator('td[data-label="What"] .cell-main').allTextContents();
await picture('audit');
say({ step: 'settings looked at' });

await page.getByRole('button', { name: 'Sign out' }).click();
await page.getByLabel('Name').fill(NAME);
await page.getByLabel('Password').fill(PASSWORD);
await page.keyboard.press('Enter');
// The only live stream opens by itself.
await page.locator('.badge-live').waitFor();
say({
  step: 'end',
  path: new URL(page.url()).pathname,
  stepsDone,
  warning,
  actions: actions.slice(0, 3),
  cspViolations,
  pageErrors,
});
await browser.close();
