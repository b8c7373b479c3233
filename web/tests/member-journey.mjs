/**
 * Watches a stream that is for members, in headless Chromium against a real cluster: whoever is signed in, on the page that everybody opens;
 * a guest, who is told that there is no such stream; and a member who is invited in the studio, and suspended while it watches.
 *
 *   node tests/member-journey.mjs SET-UP-LINK STREAM
 *
 * The stream is for members already. Prints one line of JSON, with status 0 when every step was possible.
 */
import { chromium } from 'playwright-core';
import { installed } from './browsers/installed.mjs';

const [link, stream] = process.argv.slice(2);
const executablePath = installed('Chromium', [process.env.CHROMIUM, '/usr/bin/chromium']);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
});
const visitor = async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  context.setDefaultTimeout(60_000);
  return context.newPage();
};
const at = (path) => new URL(path, link).href;
const watched = at(`/watch/${stream}`);
const plays = (page) =>
  page.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0, null, { polling: 200 });

const becomes = async (page, name, invitation) => {
  await page.goto(invitation);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill('correct horse battery staple');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/studio/);
};

const guest = await visitor();
await guest.goto(watched);
await guest.getByText('There is no stream of this name').waitFor();

const member = await visitor();
await becomes(member, 'ada', link);
await member.goto(watched);
await plays(member);
const address = member.url();
// A token that nodes do not take, as one whose hour is over, makes way for another.
await member.evaluate((key) => {
  const [, token] = sessionStorage.getItem(key).split(' ');
  sessionStorage.setItem(key, `0 ${token.slice(0, -2)}AA`);
}, `sealcast-watch:${stream}`);
await member.goto(watched);
await plays(member);

await member.goto(at('/studio/settings/members'));
await member.getByRole('button', { name: 'Invite', exact: true }).click();
await member.getByRole('dialog').getByLabel('Name').fill('Bob');
await member.getByRole('dialog').getByText('Viewer', { exact: true }).click();
await member.getByRole('button', { name: 'Make the link' }).click();
const invitation = await member.locator('[data-secret="shown"]').textContent();
const bob = await visitor();
await becomes(bob, 'bob', new URL(invitation, link).href);
await bob.goto(watched);
await plays(bob);
await member.reload();
await member.getByRole('button', { name: 'Suspend Bob' }).click();
await bob.getByText('the token was taken back').waitFor();
const standsAt = () => bob.evaluate(() => document.querySelector('video')?.currentTime ?? 0);
// What it had buffered has run out by now: the picture stands, and stays so.
const stands = await standsAt();
await bob.waitForTimeout(3_000);
const wentOn = (await standsAt()) - stands;
await bob.reload();
await bob.getByText('There is no stream of this name').waitFor();
await member.goto(watched);
await plays(member);
process.stdout.write(`${JSON.stringify({ address, watched, wentOn })}\n`);
await browser.close();
