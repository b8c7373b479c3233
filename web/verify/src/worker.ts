/** The worker: checks beside playing, on a thread of its own. */

import wasmUrl from '../verify.wasm?url';
import { Core } from './core';
import type { FromWorker, ToWorker } from './messages';
import { NOTHING, Session } from './session';

/** How often the session is asked whether something is due, milliseconds. */
const TICK_MS = 500;

const now = (): number => performance.now();
const say = (message: FromWorker): void => self.postMessage(message);
let session: Promise<Session> | null = null;

async function begin({ place, root, skipped }: Extract<ToWorker, { kind: 'begin' }>): Promise<Session> {
  const wasm = await (await fetch(wasmUrl)).arrayBuffer();
  const made = new Session(await Core.load(wasm, now), place, root, {
    fetch: (url) => fetch(url, { credentials: 'same-origin' }),
    now,
    onChange: (checks) => say({ kind: 'checks', checks }),
  });
  made.skip(skipped);
  setInterval(() => void made.ask(), TICK_MS);
  return made;
}

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'begin') {
    session = begin(data);
    session.catch((error: unknown) => {
      const detail = `The checks do not start in this browser: ${error instanceof Error ? error.message : error}.`;
      say({ kind: 'checks', checks: { ...NOTHING, phase: 'impossible', detail } });
    });
    return;
  }
  void session?.then(
    (made) => {
      const bytes = new Uint8Array(data.bytes);
      if (data.rangeStart === null) made.object(data.place, bytes);
      else made.range(data.place, data.rangeStart, bytes);
    },
    () => undefined,
  );
});
