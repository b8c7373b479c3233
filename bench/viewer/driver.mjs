/**
 * Viewers for measurements: headless Chromium, one fresh browser context (no cache, no connections, no cookies) per viewer.
 *
 *   node bench/viewer/driver.mjs
 *
 * Reads one request per line from standard input, and answers each with one line of JSON when its viewer has left:
 *
 *   {"page": URL, "seconds": S}                          a page that brings its own player
 *   {"hlsJs": URL, "seconds": S}                         hls.js with its defaults and nothing else, given a playlist
 *   {"shaka": URL, "seconds": S}                         Shaka with its defaults and its low-latency mode, given a playlist
 *
 * The viewer stays S seconds after its first frame. The answer is the report of `instrument.js`, or {"failed": why}.
 * Ends when standard input is closed. The browser is a child of this process and ends with it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const web = new URL('../../web/', import.meta.url);
const { chromium } = createRequire(web)('playwright-core');

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];
const VIEWPORT = { width: 1280, height: 800 };
/** Longest wait for a viewer's first frame, milliseconds. */
const FIRST_FRAME_MS_MAX = 30_000;

const here = (name) => new URL(name, import.meta.url);
const FILES = {
  '/': [here('bare.html'), 'text/html'],
  '/bare.js': [here('bare.js'), 'text/javascript'],
  '/shaka': [here('bare-shaka.html'), 'text/html'],
  '/bare-shaka.js': [here('bare-shaka.js'), 'text/javascript'],
  '/shaka.js': [new URL('node_modules/shaka-player/dist/shaka-player.compiled.js', web), 'text/javascript'],
  '/hls.js': [new URL('node_modules/hls.js/dist/hls.min.js', web), 'text/javascript'],
};

const server = createServer((request, response) => {
  const file = FILES[new URL(request.url, 'http://localhost').pathname];
  if (!file || !existsSync(file[0])) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': file[1], 'cache-control': 'no-store' }).end(readFileSync(file[0]));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const origin = `http://127.0.0.1:${server.address().port}`;

const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
if (!executablePath) throw new Error('no Chromium: scripts/setup.sh test, or set CHROMIUM');
const browser = await chromium.launch({ executablePath, args: FLAGS });

async function watch({ page: address, hlsJs, shaka, seconds }) {
  const bare = `${origin}/${shaka ? 'shaka' : ''}?${new URLSearchParams({ url: hlsJs ?? shaka })}`;
  // The cluster's own authority signs its certificate, which the browser does not trust.
  const context = await browser.newContext({ viewport: VIEWPORT, ignoreHTTPSErrors: true });
  try {
    const page = await context.newPage();
    await page.addInitScript({ path: here('instrument.js').pathname });
    await page.goto(address ?? bare, { waitUntil: 'commit' });
    await page
      .waitForFunction(() => globalThis.bench?.firstFrameMs != null, null, { timeout: FIRST_FRAME_MS_MAX, polling: 50 })
      .catch(() => undefined);
    await page.waitForTimeout(seconds * 1_000);
    return await page.evaluate(() => globalThis.bench.report());
  } finally {
    await context.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await watch(JSON.parse(line)).catch((error) => ({ failed: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
server.close();
