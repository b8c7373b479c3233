/**
 * WebKitGTK's MiniBrowser, the nearest to Safari on Debian, through WebKitWebDriver (W3C WebDriver) on an X server without a screen.
 *
 * WebDriver reports neither console messages nor errors of a page, so both lists hold only what comes after the page has loaded.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { installed, WITH_PARENT } from './installed.mjs';

const BROWSERS = [
  '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser',
  '/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser',
];
const START_MS_MAX = 20_000;
/**
 * No sound card is looked for: GStreamer then plays sound into nothing, at its clock's pace. ALSA's `null` card would take it as
 * fast as it comes, and the position, which follows the card, would run to the end of what is loaded.
 */
const NO_SOUND_CARDS =
  'alsasink:NONE,pulsesink:NONE,jackaudiosink:NONE,pipewiresink:NONE,osssink:NONE,oss4sink:NONE,openalsink:NONE';
const POLL_MS = 50;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** An X server on a display number of its own choice. */
async function startDisplay({ width, height }) {
  const xvfb = installed('Xvfb', ['/usr/bin/Xvfb']);
  const screen = `${width}x${height}x24`;
  const child = spawn(WITH_PARENT, [xvfb, '-displayfd', '3', '-screen', '0', screen, '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const [number] = await once(createInterface({ input: child.stdio[3] }), 'line');
  return { child, name: `:${number}` };
}

async function startDriver(display, home) {
  const port = await freePort();
  const program = installed('WebKitWebDriver', ['/usr/bin/WebKitWebDriver']);
  const child = spawn(WITH_PARENT, [program, `--port=${port}`], {
    stdio: 'ignore',
    env: {
      ...process.env,
      DISPLAY: display,
      GDK_BACKEND: 'x11',
      GST_PLUGIN_FEATURE_RANK: NO_SOUND_CARDS,
      HOME: home,
    },
  });
  const call = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const { value } = await answer.json();
    if (value?.error) throw new Error(`WebKitWebDriver: ${value.error}: ${value.message}`);
    return value;
  };
  const end = performance.now() + START_MS_MAX;
  for (;;) {
    const isReady = await call('GET', '/status').catch(() => null);
    if (isReady) return { child, call };
    if (performance.now() > end) throw new Error('WebKitWebDriver does not answer');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export async function openWebKit(size) {
  const display = await startDisplay(size);
  const home = mkdtempSync(join(tmpdir(), 'sealcast-webkit-'));
  const driver = await startDriver(display.name, home);
  const binary = installed('MiniBrowser', [process.env.MINIBROWSER, ...BROWSERS]);
  const options = { binary, args: ['--automation', '--autoplay-policy=allow'] };
  const capabilities = {
    acceptInsecureCerts: true,
    pageLoadStrategy: 'eager',
    'webkitgtk:browserOptions': options,
  };
  const end = () => {
    driver.child.kill();
    display.child.kill();
    rmSync(home, { recursive: true, force: true });
  };
  const { sessionId } = await driver
    .call('POST', '/session', { capabilities: { alwaysMatch: capabilities } })
    .catch((error) => {
      end();
      throw error;
    });
  const session = (method, path, body) => driver.call(method, `/session/${sessionId}${path}`, body);
  const evaluate = (run, argument) =>
    session('POST', '/execute/sync', {
      script: `return (${run})(arguments[0])`,
      args: argument === undefined ? [] : [argument],
    });
  await session('POST', '/window/rect', { x: 0, y: 0, ...size });
  return {
    cspViolations: [],
    pageErrors: [],
    goto: (url) => session('POST', '/url', { url }),
    evaluate,
    screenshot: async (path) =>
      writeFileSync(path, Buffer.from(await session('GET', '/screenshot'), 'base64')),
    async close() {
      await session('DELETE', '').catch(() => undefined);
      end();
    },
  };
}
