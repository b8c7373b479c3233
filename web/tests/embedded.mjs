/**
 * Shows pages in frames of another site, in headless Chromium that gives frames of other sites no cookies.
 *
 *   node tests/embedded.mjs [--screenshot FILE]
 *
 * Writes `{"site": "http://localhost:PORT"}` first, which is the origin of the page around the frame. For each URL on a line of standard
 * input, it opens the frame, waits until the picture moves or the browser has refused the frame, and writes one line: `url`, `plays`,
 * `refused`, `view`, `phase` (of the checks), `cookies`, `cspViolations` and `pageErrors`.
 */
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { installed } from './browsers/installed.mjs';

const WAIT_MS = 60_000;
const { values } = parseArgs({ options: { screenshot: { type: 'string' } } });

const page = (url) => `<!doctype html><meta charset="utf-8"><title>Another site</title>
<iframe src="${url.replaceAll('"', '%22')}" title="A stream" width="640" height="360" style="border:0"
  allow="autoplay; fullscreen; picture-in-picture"></iframe>`;

let shown = '';
const server = createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end(page(shown));
});
await new Promise((resolve) => server.listen(0, 'localhost', resolve));
const site = `http://localhost:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: installed('Chromium', [
    process.env.CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ]),
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--autoplay-policy=no-user-gesture-required',
    '--test-third-party-cookie-phaseout',
  ],
});

/** What the player in the frame says; null before it is there. */
const read = async (frame) => {
  try {
    return await frame.evaluate(() => {
      const player = window.sealcast?.player;
      return player && { at: player.currentTime, view: player.view, phase: player.checks.phase };
    });
  } catch {
    return null;
  }
};

async function show(url) {
  shown = url;
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: { width: 700, height: 420 },
  });
  const tab = await context.newPage();
  const violations = [];
  const errors = [];
  let refused = false;
  tab.on('pageerror', (error) => errors.push(String(error)));
  tab.on('console', (message) => {
    const text = message.text();
    if (text.includes('frame-ancestors')) refused = true;
    else if (text.includes('Content Security Policy')) violations.push(text);
  });
  await tab.goto(site);
  const until = performance.now() + WAIT_MS;
  let state = null;
  while (performance.now() < until && !refused) {
    const frame = tab.frames().find((one) => one !== tab.mainFrame());
    state = frame ? await read(frame) : null;
    if (state && state.at > 1 && state.view === 'playing' && state.phase === 'checked') break;
    await tab.waitForTimeout(250);
  }
  if (values.screenshot && !refused) await tab.screenshot({ path: values.screenshot });
  const cookies = (await context.cookies()).length;
  const plays = state !== null && state.at > 1;
  await context.close();
  return { url, plays, refused, ...state, cookies, cspViolations: violations, pageErrors: errors };
}

process.stdout.write(`${JSON.stringify({ site })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await show(line))}\n`);
}
await browser.close();
server.close();
