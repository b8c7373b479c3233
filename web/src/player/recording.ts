/** The recording of a stream (DVR): where it is, and what moments it has. Asks the node; `recording-index.ts` reads. */

import type { Dvr } from '../api/types';
import { variants } from './join-plan';
import { type Entry, entryAt, offsetAt, readIndex, thumbnailUrl } from './recording-index';

/** What is older is asked for again before it is used, milliseconds. */
const INDEX_MS_MAX = 30_000;
const REQUEST_TIMEOUT_MS = 10_000;

async function text(url: string): Promise<string> {
  const response = await fetch(url, {
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    credentials: 'same-origin',
  });
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return response.text();
}

export class Recording {
  /** Its multivariant playlist. */
  readonly url: string;
  readonly #windowMs: number;
  readonly #thumbnails: string | null;
  #entries: Entry[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor({ url, windowSeconds }: Dvr, thumbnails: string | null) {
    this.url = url;
    this.#windowMs = windowSeconds * 1_000;
    this.#thumbnails = thumbnails;
  }

  /** The first moment that is kept, when the live edge is at `liveMs`; milliseconds since 1970. Null before the index is there. */
  startMs(liveMs: number): number | null {
    const first = this.#entries[0];
    return first ? Math.max(first.startMs, liveMs - this.#windowMs) : null;
  }

  /** The picture of a moment, as far as it is known; an old index is asked for again meanwhile. */
  thumbnail(atMs: number): string | null {
    void this.refresh().catch(() => undefined);
    const entry = entryAt(this.#entries, atMs) ?? this.#entries.at(-1);
    return entry && this.#thumbnails !== null ? thumbnailUrl(this.#thumbnails, entry) : null;
  }

  /** Media time of a moment from the begin of the recording, seconds; null when it is not in it. */
  async offset(atMs: number): Promise<number | null> {
    await this.refresh();
    return offsetAt(this.#entries, atMs);
  }

  async refresh(): Promise<void> {
    if (performance.now() - this.#readAtMs < INDEX_MS_MAX) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    const base = new URL(this.url, location.href).href;
    // All renditions have the same segments; the smallest playlist is as good as any.
    const rung = variants(await text(base), base)[0];
    if (!rung) return;
    this.#entries = readIndex(await text(rung.url));
    this.#readAtMs = performance.now();
  }
}
