/**
 * Watches a stream through a proxy that lies, in headless Chromium, and reports what the page made of it.
 *
 *   node tests/checked.mjs HTTPS-URL STREAM SCREENSHOT-FOLDER
 *
 * The last two cases play in `verify/example`, a page of another origin.
 *
 * Writes one line of JSON for each case to standard output: `{"case": …, "view": …, "checks": …}`. The caller judges. The lies:
 * one byte of one media object; a playlist that lists the video elsewhere; the trust and the seals of another cluster, which
 * `crates/verify/testdata/log.json` has.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const [cluster, stream, folder] = process.argv.slice(2);
const WAIT_MS = 60_000;
const OTHER = JSON.parse(
  readFileSync(new URL('../../crates/verify/testdata/log.json', import.meta.url), 'utf8'),
);
const CHROMIUM = [process.env.CHROMIUM, '/usr/bin/chromium'].find((path) => path && existsSync(path));

/** What the proxy does to answers; a case sets it. */
const lies = { byte: false, playlist: false, trust: false, seals: false };
const told = { bytes: 0, media: new Map(), seals: 0, trust: 0 };

/** The path of an object under which no seal names it. */
const elsewhere = (path) => path.replace('/live/', '/elsewhere/');
const real = (path) => path.replace('/elsewhere/', '/live/');

function lie(path, body) {
  if (lies.playlist && /\/\d+p\/index\.m3u8$/.test(path)) {
    const base = elsewhere(path.slice(0, path.lastIndexOf('/')));
    return Buffer.from(String(body).replace(/\d+\/[\w.]+\.(?:m4s|mp4)/g, `${base}/$&`));
  }
  if (/\.m4s$/.test(path)) {
    told.media.set(path, (told.media.get(path) ?? 0) + 1);
    if (lies.byte && body.length > 1_000 && told.bytes === 0) {
      told.bytes += 1;
      const changed = Buffer.from(body);
      changed[changed.length - 100] ^= 1;
      return changed;
    }
  }
  if (path.startsWith('/api/v1/trust/')) {
    told.trust += 1;
    if (lies.trust) return Buffer.from(OTHER.trust, 'hex');
  }
  if (path.endsWith('/seals')) {
    told.seals += body.length;
    if (lies.seals) return Buffer.from(OTHER.seals, 'hex');
  }
  return body;
}

const proxy = createServer((asked, answer) => {
  const options = {
    method: asked.method,
    // What is replaced is not compressed.
    headers: { ...asked.headers, host: new URL(cluster).host, 'accept-encoding': 'identity' },
    rejectUnauthorized: false,
  };
  const forwarded = request(new URL(real(asked.url), cluster), options, (from) => {
    const parts = [];
    from.on('data', (part) => parts.push(part));
    from.on('end', () => {
      const body = lie(new URL(asked.url, cluster).pathname, Buffer.concat(parts));
      // The browser must not take a lie out of its cache in a later case.
      const kept = Object.values(lies).includes(true) ? { 'cache-control': 'no-store' } : {};
      answer.writeHead(from.statusCode, { ...from.headers, ...kept, 'content-length': body.length });
      answer.end(body);
    });
  });
  forwarded.on('error', () => answer.destroy());
  forwarded.end();
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${proxy.address().port}`;

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 1000 } });
const page = await context.newPage();
page.setDefaultTimeout(WAIT_MS);
const problems = [];
page.on('pageerror', (error) => problems.push(String(error)));
page.on('console', (message) => {
  if (message.type() === 'error' && message.text().includes('Content Security Policy'))
    problems.push(message.text());
});

const read = () =>
  page.evaluate(() => {
    const { view, phase, checks, decodedFrames, currentTime } = window.sealcast.player;
    return {
      view,
      phase,
      checks,
      decodedFrames,
      currentTime,
      panel: document.querySelector('.panel-own')?.textContent,
    };
  });
const until = (holds, value) => page.waitForFunction(holds, value);
async function report(name, more = {}) {
  await page.waitForFunction(() => document.querySelector('.panel-own') !== null);
  const state = await read();
  await page.screenshot({ path: `${folder}/${name}.png` });
  process.stdout.write(
    `${JSON.stringify({ case: name, ...state, ...more, problems: problems.splice(0) })}\n`,
  );
}
async function watch(hash = '') {
  await page.goto('about:blank');
  await page.goto(`${origin}/watch/${stream}${hash}`);
}
const checked = (objects) => until((least) => window.sealcast?.player?.checks.objects >= least, objects);
const forged = () => until(() => window.sealcast?.player?.view === 'forged');

await watch();
await checked(1);
const [before, beganMs] = [await read(), performance.now()];
told.seals = 0;
await checked(before.checks.objects + 40);
const seconds = (performance.now() - beganMs) / 1_000;
const busy = (await read()).checks.busyMs - before.checks.busyMs;
const twice = [...told.media].filter(([, times]) => times > 1).map(([path]) => path);
const sealBytes = Math.round(told.seals / seconds);
await report('plain', { seconds, busyShare: busy / 1_000 / seconds, sealBytesPerSecond: sealBytes, twice });
const { root } = (await read()).checks;

lies.byte = true;
await forged();
await report('byte');

Object.assign(lies, { byte: false, playlist: true });
await watch();
await forged();
await report('playlist');

Object.assign(lies, { playlist: false, trust: true });
await watch();
await forged();
await report('trust');

Object.assign(lies, { trust: false, seals: true });
await watch();
await forged();
await report('seals');

lies.seals = false;
await watch(`#root=${OTHER.fingerprint}`);
await forged();
await report('link');

await watch(`#root=${root.slice(0, 32)}`);
await checked(10);
await report('again');

const { createServer: serve } = await import('vite');
const pages = await serve({
  root: fileURLToPath(new URL('..', import.meta.url)),
  configFile: false,
  logLevel: 'error',
  server: { host: '127.0.0.1', port: 0, hmr: false, watch: null },
  optimizeDeps: { noDiscovery: true, include: [] },
  worker: { format: 'es' },
});
await pages.listen();
const example = new URL('verify/example/index.html', pages.resolvedUrls.local[0]);
example.searchParams.set('url', `${origin}/live/${stream}/index.m3u8`);
example.hash = `root=${root}`;
told.bytes = 0;
await page.goto(String(example));
await page.locator('[data-phase=checked]').waitFor();
const words = () => page.locator('[role=status]').textContent();
process.stdout.write(`${JSON.stringify({ case: 'elsewhere', words: await words() })}\n`);
lies.byte = true;
await page.locator('[data-phase=wrong]').waitFor();
process.stdout.write(`${JSON.stringify({ case: 'elsewhere, byte', words: await words() })}\n`);

await browser.close();
await pages.close();
proxy.close();
proxy.closeAllConnections();
