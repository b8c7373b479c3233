/**
 * Plays a stream in a headless browser and reports what the player does.
 *
 *   node tests/browser.mjs URL [--browser chromium|firefox|webkit] [--player page|hls.js|shaka] [--config JSON]
 *                          [--changes N [--narrow]] [--seconds N] [--size WIDTHxHEIGHT] [--screenshot FILE] [--level NAME]
 *
 * With `--player page` (the default) the URL is a page of Sealcast. With the others it is a multivariant playlist, which
 * that unmodified player plays (`tests/players/`), with `--config` in addition. With `--changes` it changes rendition N times:
 * by command, or, in Chromium with `--narrow`, because its link becomes narrow and wide.
 *
 * Writes one line of JSON per second to standard output: `window.sealcast` as `src/sealcast.d.ts`
 * describes it, with the values of its getters, plus `cspViolations` and `pageErrors`. `player.firstFrame` is the time
 * of the join: from navigation and from the request for the playlist, milliseconds. Ends after N seconds (default 20),
 * or on SIGTERM, with a last line. Status 0 when the stream played, 1 when it never did, 2 on a wrong call.
 * Each line of standard input is a height: the player plays the rung of that height from then on.
 * The caller judges errors and stalls.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { NAMES, openTab } from './browsers/index.mjs';

const LINE_MS = 1_000;
const PLAYERS = ['page', 'hls.js', 'shaka'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'string', default: 'chromium' },
    player: { type: 'string', default: 'page' },
    config: { type: 'string', default: '{}' },
    changes: { type: 'string', default: '0' },
    narrow: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '20' },
    size: { type: 'string', default: '1440x900' },
    screenshot: { type: 'string' },
    level: { type: 'string' },
  },
});
const [url] = positionals;
const [width, height] = values.size.split('x').map(Number);
if (!url || !width || !height || !PLAYERS.includes(values.player) || !NAMES.includes(values.browser)) {
  process.stderr.write(
    `usage: browser.mjs URL [--browser ${NAMES.join('|')}] [--player ${PLAYERS.join('|')}] [--config JSON]\n` +
      '                   [--changes N [--narrow]] [--seconds N] [--size WxH] [--screenshot FILE] [--level NAME]\n',
  );
  process.exit(2);
}

/** Serves `tests/players` and its imports, unmodified. Returns the address. */
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

if (values.narrow && (values.browser !== 'chromium' || values.player === 'page' || values.changes === '0')) {
  process.stderr.write('--narrow needs --browser chromium, --player hls.js or shaka, and --changes N\n');
  process.exit(2);
}

const players = values.player === 'page' ? null : await servePlayers();
const query = new URLSearchParams({
  player: values.player,
  url,
  config: values.config,
  changes: values.changes,
  narrow: values.narrow ? '1' : '',
});
const address = players ? `${players.address}?${query}` : url;

const tab = await openTab(values.browser, { width, height });
const { cspViolations, pageErrors } = tab;

const read = () =>
  tab.evaluate(() => {
    const { sealcast } = window;
    if (!sealcast) return null;
    const { player, ...rest } = sealcast;
    if (!player) return rest;
    const { actions: _, ...state } = player;
    return { ...rest, player: state };
  });
const chooseHeight = (pixels) =>
  tab.evaluate((wanted) => {
    const { levels, actions } = window.sealcast.player;
    if (actions.chooseHeight) actions.chooseHeight(wanted);
    else actions.chooseLevel(levels.findIndex((level) => level.height === wanted));
  }, Number(pixels));

let stopped = false;
let played = false;
process.on('SIGTERM', () => {
  stopped = true;
});
createInterface({ input: process.stdin }).on('line', (line) => void chooseHeight(line));

if (values.narrow) await tab.exposeLink();
await tab.goto(address);
const end = performance.now() + Number(values.seconds) * 1_000;
let levelChosen = values.level === undefined;
while (!stopped && performance.now() < end) {
  await sleep(Math.max(0, Math.min(LINE_MS, end - performance.now())));
  const state = await read();
  played ||= state?.player?.view === 'playing' && state.player.currentTime > 0;
  const index = state?.player?.levels?.findIndex(({ name }) => name === values.level) ?? -1;
  if (!levelChosen && index >= 0) {
    await tab.evaluate((level) => window.sealcast.player.actions.chooseLevel(level), index);
    levelChosen = true;
  }
  process.stdout.write(`${JSON.stringify({ ...state, cspViolations, pageErrors })}\n`);
}
if (values.screenshot) await tab.screenshot(values.screenshot);
await tab.close();
await players?.server.close();
process.exit(played || new URL(url).pathname === '/' ? 0 : 1);
