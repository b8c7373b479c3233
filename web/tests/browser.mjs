/**
 * Plays a stream in headless Chromium and reports what the player does.
 *
 *   node tests/browser.mjs URL [--player page|hls.js|shaka] [--config JSON] [--seconds N] [--size WIDTHxHEIGHT]
 *                          [--screenshot FILE] [--level NAME]
 *
 * With `--player page` (the default) the URL is a page of Sealcast. With the others it is a multivariant playlist, played by
 * that player as its makers deliver it (`tests/players/`), with `--config` on top.
 *
 * Writes one line of JSON a second to standard output: `window.sealcast` as `src/sealcast.d.ts`
 * describes it, its getters read, plus `cspViolations` and `pageErrors`. How long the join took stands in
 * `player.firstFrame`: from navigation and from asking for the playlist, milliseconds. Ends after N seconds (default 20),
 * or on SIGTERM, with the last line. Status 0 when the stream played, 1 when it never did, 2 on a wrong call.
 * With `--player hls.js` and `shaka`, each line of standard input is a height: the rung of that height is played from then on.
 * What is good enough (errors, stalls) is for the caller to judge.
 */
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

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
const LINE_MS = 1_000;
const PLAYERS = ['page', 'hls.js', 'shaka'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    player: { type: 'string', default: 'page' },
    config: { type: 'string', default: '{}' },
    seconds: { type: 'string', default: '20' },
    size: { type: 'string', default: '1440x900' },
    screenshot: { type: 'string' },
    level: { type: 'string' },
  },
});
const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
const [url] = positionals;
const [width, height] = values.size.split('x').map(Number);
if (!url || !executablePath || !width || !height || !PLAYERS.includes(values.player)) {
  process.stderr.write(
    'usage: browser.mjs URL [--player page|hls.js|shaka] [--config JSON] [--seconds N] [--size WxH]\n' +
      '                   [--screenshot FILE] [--level NAME]\n',
  );
  process.stderr.write(`Chromium: ${executablePath ?? 'not found, set CHROMIUM'}\n`);
  process.exit(2);
}

/** Serves `tests/players` and what it imports, as it is; its address. */
async function servePlayers() {
  const { createServer } = await import('vite');
  const server = await createServer({
    root: fileURLToPath(new URL('..', import.meta.url)),
    configFile: false,
    logLevel: 'error',
    server: { host: '127.0.0.1', port: 0, hmr: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: [] },
  });
  await server.listen();
  return { server, address: new URL('tests/players/', server.resolvedUrls?.local[0]) };
}

const players = values.player === 'page' ? null : await servePlayers();
const query = new URLSearchParams({ player: values.player, url, config: values.config });
const address = players ? `${players.address}?${query}` : url;

const browser = await chromium.launch({ executablePath, args: FLAGS, handleSIGTERM: false });
// The development cluster's certificate is signed by its own authority.
const page = await browser.newPage({ viewport: { width, height }, ignoreHTTPSErrors: true });
const cspViolations = [];
const pageErrors = [];
page.on('pageerror', (error) => pageErrors.push(error.message));
page.on('console', (message) => {
  if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
    cspViolations.push(message.text());
});

const read = () =>
  page.evaluate(() => {
    const { sealcast } = window;
    if (!sealcast) return null;
    const { player, ...rest } = sealcast;
    if (!player) return rest;
    const { actions: _, ...state } = player;
    return { ...rest, player: state };
  });

let stopped = false;
let played = false;
process.on('SIGTERM', () => {
  stopped = true;
});

if (players) {
  const choose = (height) =>
    page.evaluate((h) => window.sealcast.player.actions.chooseHeight(h), Number(height));
  createInterface({ input: process.stdin }).on('line', (line) => void choose(line));
}

await page.goto(address, { waitUntil: 'domcontentloaded' });
const end = performance.now() + Number(values.seconds) * 1_000;
let levelChosen = values.level === undefined;
while (!stopped && performance.now() < end) {
  await page.waitForTimeout(Math.max(0, Math.min(LINE_MS, end - performance.now())));
  const state = await read();
  played ||= state?.player?.view === 'playing' && state.player.currentTime > 0;
  const index = state?.player?.levels?.findIndex(({ name }) => name === values.level) ?? -1;
  if (!levelChosen && index >= 0) {
    await page.evaluate((level) => window.sealcast.player.actions.chooseLevel(level), index);
    levelChosen = true;
  }
  process.stdout.write(`${JSON.stringify({ ...state, cspViolations, pageErrors })}\n`);
}
if (values.screenshot) {
  // Brings the controls back before the picture is taken.
  await page.mouse.move(width / 3, height / 3);
  await page.mouse.move(width / 3 + 20, height / 3);
  await page.waitForTimeout(300);
  await page.screenshot({ path: values.screenshot });
}
await browser.close();
await players?.server.close();
process.exit(played || new URL(url).pathname === '/' ? 0 : 1);
