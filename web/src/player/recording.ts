/** The recording of a stream (DVR): its URL and its index, which this fetches from the node and `recording-index.ts` parses. */

import type { Dvr } from '../api/types';
import { variants } from './join-plan';
import { type Entry, entryAt, offsetAt, readIndex, thumbnailUrl } from './recording-index';

/** An index older than this is fetched again before use, milliseconds. */
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
  /** URL of its multivariant playlist. */
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

  /** The first moment of the window when the live edge is at `liveMs`, milliseconds since 1970. Null before the index has loaded. */
  startMs(liveMs: number): number | null {
    const first = this.#entries[0];
    return first ? Math.max(first.startMs, liveMs - this.#windowMs) : null;
  }

  /** URL of the picture of a moment, by the index so far; null when unknown. Also starts to refresh an old index. */
  thumbnail(atMs: number): string | null {
    void this.refresh().catch(() => undefined);
    const entry = entryAt(this.#entries, atMs) ?? this.#entries.at(-1);
    return entry && this.#thumbnails !== null ? thumbnailUrl(this.#thumbnails, entry) : null;
  }

  /** Media time of a moment from the start of the recording, seconds; null when the recording does not reach it. */
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
    // All renditions have the same segments, so any playlist will do.
    const rung = variants(await text(base), base)[0];
    if (!rung) return;
    this.#entries = readIndex(await text(rung.url));
    this.#readAtMs = performance.now();
  }
}
