/**
 * Watches a stream that is for members, in headless Chromium against a real cluster: whoever is signed in, on the page that everybody opens;
 * and a guest, who is told that there is no such stream.
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

const guest = await visitor();
await guest.goto(watched);
await guest.getByText('There is no stream of this name').waitFor();

const member = await visitor();
await member.goto(link);
await member.getByLabel('Name').fill('ada');
await member.getByLabel('Password').fill('correct horse battery staple');
await member.keyboard.press('Enter');
await member.waitForURL(/\/studio/);
// The studio has said who is signed in once it shows the stream.
await member.getByText(stream).first().waitFor();
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
process.stdout.write(`${JSON.stringify({ address, watched })}\n`);
await browser.close();
