/**
 * Checks a Sealcast stream in the viewer's browser, beside an hls.js player: the signatures of its log, and every media object that hls.js
 * loads. Nothing is downloaded twice, and playing never waits. See `README.md`.
 */

import type { HlsConfig, LoaderCallbacks, LoaderConfiguration, LoaderContext } from 'hls.js';
import type { FromWorker, Loaded, ToWorker } from './messages';
import { fingerprint, type Origin, remember, remembered, type Store } from './pin';
import { type Checks, NOTHING, type Phase, type Place } from './session';

export { fingerprint, rootOfFragment } from './pin';
export type { Checks, Origin, Phase };

/** Most bytes and objects that wait for the checks to begin: the join of a player. More are counted as not checked. */
const EARLY_BYTES_MAX = 32 * 1024 * 1024;
const EARLY_OBJECTS_MAX = 64;

type LoaderClass = HlsConfig['loader'];

export interface Options {
  /** The multivariant playlist, `https://HOST/live/STREAM/index.m3u8`. */
  url: string;
  /**
   * Fingerprint of the cluster's root key: 64 hexadecimal digits (its SHA-256), or the first 32 of them, as nodes name it. Without
   * one, the browser remembers the key that it saw first at this server.
   */
  root?: string | null;
  /** Called whenever something has changed. With the phase `wrong`, the caller stops its player. */
  onChange?: (checks: Checks) => void;
  /** Where first root keys are remembered; `localStorage` unless given. Null remembers nothing. */
  store?: Store | null;
}

/** Place of a media object of a stream in a URL, `720p/3/17.2.m4s`; null for anything else. */
export function objectOf(url: string, stream: string): string | null {
  const path = URL.canParse(url) ? new URL(url).pathname : url;
  const [, name, place] = /\/live\/([^/]+)\/([^/]+\/\d+\/[^/]+\.(?:mp4|m4s))$/.exec(path) ?? [];
  return name === stream && place !== undefined ? place : null;
}

/** Whether an answer is media. Playlists are text, and of what is binary, hls.js asks only for keys beside media. */
function isMedia(context: LoaderContext): boolean {
  return context.responseType === 'arraybuffer' && !('keyInfo' in context);
}

/** Server and stream of a playlist's URL; throws for a URL that is not one of Sealcast's. */
export function placeOf(url: string, base?: string): Place {
  const { origin, pathname } = new URL(url, base);
  const [, before, stream] = /^(.*)\/live\/([^/]+)\/[^/]+\.m3u8$/.exec(pathname) ?? [];
  if (before === undefined || stream === undefined)
    throw new Error(`${url} is not https://HOST/live/STREAM/index.m3u8`);
  return { base: `${origin}${before}`, stream };
}

/** What a root key is remembered for: the server, whatever token a viewer has there, which is never kept. */
export function serverOf({ base }: Place): string {
  return base.replace(/\/t\/[^/]+$/, '');
}

export class StreamVerifier {
  readonly #place: Place;
  readonly #given: string | null;
  readonly #store: Store | null;
  readonly #onChange: (checks: Checks) => void;
  #expected: string | null;
  #worker: Worker | null = null;
  #early: Loaded[] | null = [];
  #earlyBytes = 0;
  #skipped = 0;
  #checks: Checks = NOTHING;

  constructor({ url, root = null, onChange = () => undefined, store }: Options) {
    this.#place = placeOf(url, globalThis.location?.href);
    this.#given = root === null ? null : (fingerprint(root) ?? root);
    this.#store = store === undefined ? localStore() : store;
    this.#expected = this.#given ?? remembered(this.#store, serverOf(this.#place));
    this.#onChange = onChange;
  }

  get checks(): Checks {
    return this.#checks;
  }

  /** Where the root key that is expected came from. `first`: this browser believes what it was told now. */
  get rootOrigin(): Origin {
    if (this.#given !== null) return 'given';
    return this.#expected === null ? 'first' : 'remembered';
  }

  /**
   * A loader for hls.js (`new Hls({ loader })`) that hands a copy of each object to the checks. The playlist is not signed, so it keeps
   * back whatever media the playlist names that the checks could not compare.
   */
  loader(base: LoaderClass): LoaderClass {
    const take = (context: LoaderContext, data: unknown): boolean => this.#take(context, data);
    return class extends base {
      override load(
        context: LoaderContext,
        config: LoaderConfiguration,
        callbacks: LoaderCallbacks<LoaderContext>,
      ): void {
        super.load(context, config, {
          ...callbacks,
          onSuccess: (response, stats, of, details) => {
            if (take(of, response.data)) callbacks.onSuccess(response, stats, of, details);
          },
        });
      }
    };
  }

  /** Loads the checks' code and begins. Call it when the picture is there: until then, objects are kept. */
  start(): void {
    if (this.#worker !== null || this.#early === null) return;
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      type: 'module',
      name: 'sealcast-verify',
    });
    this.#worker = worker;
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => this.#note(data.checks));
    worker.addEventListener('error', (event) =>
      this.cannot(`The checks have failed in this browser: ${event.message}.`),
    );
    this.#say({ kind: 'begin', place: this.#place, root: this.#expected, skipped: this.#skipped });
    for (const loaded of this.#early) this.#say({ kind: 'object', ...loaded }, [loaded.bytes]);
    this.#early = null;
  }

  /** Notes that nothing can be checked, and why: the browser's own player hands out no bytes, for one. */
  cannot(detail: string): void {
    this.#end('impossible', detail);
  }

  /** Forgets the root key that was remembered: the next visit believes what it is told. Only for a person who decides so. */
  forgetRoot(): void {
    remember(this.#store, serverOf(this.#place), '');
  }

  destroy(): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#early = null;
  }

  #say(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  #end(phase: Phase, detail: string): void {
    this.destroy();
    if (this.#checks.phase === 'wrong') return;
    this.#checks = { ...this.#checks, phase, detail };
    this.#onChange(this.#checks);
  }

  /** Takes an answer, if it is media. False for what the player must not have: media that cannot be compared, and all that follows. */
  #take(context: LoaderContext, data: unknown): boolean {
    if (this.#checks.phase === 'wrong') return false;
    const isEnded = this.#worker === null && this.#early === null;
    if (!isMedia(context) || isEnded) return true;
    const place = objectOf(context.url, this.#place.stream);
    if (place === null || !(data instanceof ArrayBuffer)) {
      this.#end(
        'wrong',
        `The playlist names media that no seal can name: ${context.url} is no object of the stream.`,
      );
      return false;
    }
    // I-frame playlists name ranges.
    const rangeStart = context.rangeEnd ? (context.rangeStart ?? 0) : null;
    // A copy, because hls.js goes on with the bytes, and the worker takes them away.
    if (this.#worker !== null) {
      const bytes = data.slice(0);
      this.#say({ kind: 'object', place, rangeStart, bytes }, [bytes]);
    } else {
      this.#keep(place, rangeStart, data);
    }
    return true;
  }

  #keep(place: string, rangeStart: number | null, data: ArrayBuffer): void {
    const isFull =
      (this.#early?.length ?? 0) >= EARLY_OBJECTS_MAX || this.#earlyBytes + data.byteLength > EARLY_BYTES_MAX;
    if (isFull) {
      this.#skipped += 1;
      return;
    }
    this.#earlyBytes += data.byteLength;
    this.#early?.push({ place, rangeStart, bytes: data.slice(0) });
  }

  #note(checks: Checks): void {
    if (this.#checks.phase === 'wrong') return;
    this.#checks = checks;
    // A successor that the expected key has signed is remembered in its place.
    const isNew =
      checks.root !== null && this.#given === null && !checks.root.startsWith(this.#expected ?? '-');
    if (isNew && checks.root !== null && checks.phase !== 'wrong') {
      remember(this.#store, serverOf(this.#place), checks.root);
    }
    this.#onChange(checks);
  }
}

function localStore(): Store | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
