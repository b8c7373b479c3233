/**
 * Fetches what a join needs, before the player's code is loaded: the multivariant playlist, the media playlists of the first rung and
 * its audio, their init segments, and the parts from the last independent one that is far enough from the end. Requests that do not
 * depend on one another go out together, while the browser still parses the player's code; hls.js then finds its first requests answered.
 * The node puts the playlists into the page when it has them.
 *
 * A failure here is not an error: hls.js requests the object again itself.
 */

import { edgeDistance } from './hls-config';
import { inTurns, JOIN_SECONDS, joinObjects, partRules, startVariant, variants } from './join-plan';
import { startReserve } from './live-target';

/** Longest wait for the early answers; after it, hls.js requests the objects itself. Milliseconds. */
const EARLY_MS_MAX = 3_000;

export interface EarlyAnswer {
  body: ArrayBuffer;
  /** Times of the request, the first byte and the last byte, by `performance.now()`. */
  askedMs: number;
  firstMs: number;
  endMs: number;
}

/** Playlists by URL, and when they came. */
export interface Carried {
  playlists: ReadonlyMap<string, string>;
  askedMs: number;
  firstMs: number;
  endMs: number;
}

/** A page that is older than this carries no playlist that is worth reading, milliseconds. */
const CARRIED_MS_MAX = 3_000;

/** Reads the data block of the page (`broadcast/src/viewers/join.rs`). Empty when it is missing, malformed or old. */
export function carriedPlaylists(
  text: string | null | undefined,
  base: string,
  times: Omit<Carried, 'playlists'>,
  nowMs: number,
): Carried {
  const playlists = new Map<string, string>();
  const carried = { ...times, playlists };
  if (!text || nowMs - times.endMs > CARRIED_MS_MAX) return carried;
  try {
    const read: unknown = JSON.parse(text);
    if (typeof read !== 'object' || read === null) return carried;
    for (const [path, playlist] of Object.entries(read)) {
      if (typeof playlist === 'string' && URL.canParse(path, base)) {
        playlists.set(new URL(path, base).href, playlist);
      }
    }
  } catch {
    // The page asks for the playlists itself.
  }
  return carried;
}

/** What this page carries. */
export function carriedByPage(): Carried {
  const [navigation] = performance.getEntriesByType('navigation');
  const {
    requestStart = 0,
    responseStart = 0,
    responseEnd = 0,
  } = navigation instanceof PerformanceNavigationTiming ? navigation : {};
  const times = { askedMs: requestStart, firstMs: responseStart, endMs: responseEnd };
  const text = document.querySelector('#join')?.textContent;
  return carriedPlaylists(text, location.href, times, performance.now());
}

async function answer(url: string, signal: AbortSignal): Promise<EarlyAnswer> {
  const askedMs = performance.now();
  // The same credentials mode as XMLHttpRequest, so that both share connections and the node's cookie.
  const response = await fetch(url, { signal, credentials: 'same-origin' });
  const firstMs = performance.now();
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return { body: await response.arrayBuffer(), askedMs, firstMs, endMs: performance.now() };
}

export class EarlyJoin {
  readonly #answers = new Map<string, Promise<EarlyAnswer>>();
  readonly #signal = AbortSignal.timeout(EARLY_MS_MAX);
  /** When the first request went out, by `performance.now()`. */
  readonly startedMs = performance.now();
  /** How much further from the edge this join begins, because the page took long to come; seconds. */
  readonly reserveSeconds = startReserve(this.startedMs / 1_000);
  /** Ends when all that is fetched ahead has been asked for; fails when the stream's playlists do not come. */
  readonly asked: Promise<void>;
  /** The bandwidth for which the rung was chosen. */
  readonly bitsPerSecond: number;
  /** The multivariant playlist's URL. */
  readonly url: string;
  /** Playlist URL of the rung that is fetched ahead; null before the multivariant playlist. */
  variant: string | null = null;
  /** How far before the end of that playlist to start, seconds; null before the playlist, or if it has no parts. */
  beginSeconds: number | null = null;
  readonly #carried: Carried;

  constructor(url: string, bitsPerSecond: number, carried: Carried) {
    this.url = new URL(url, location.href).href;
    this.#carried = carried;
    this.bitsPerSecond = bitsPerSecond;
    this.asked = this.#run();
    this.asked.catch(() => undefined);
  }

  /** Hands out the early answer for a URL, once; null when that URL was not fetched early. */
  take(url: string): Promise<EarlyAnswer> | null {
    const found = this.#answers.get(url) ?? null;
    this.#answers.delete(url);
    return found;
  }

  /** Drops the answers that nobody took. */
  end(): void {
    this.#answers.clear();
  }

  #ask(url: string): Promise<EarlyAnswer> {
    const { playlists, ...times } = this.#carried;
    const carried = playlists.get(url);
    const asked =
      carried === undefined
        ? answer(url, this.#signal)
        : Promise.resolve({ ...times, body: new TextEncoder().encode(carried).buffer });
    asked.catch(() => undefined);
    this.#answers.set(url, asked);
    return asked;
  }

  async #run(): Promise<void> {
    const text = await this.#text(this.url);
    const chosen = startVariant(variants(text, this.url), this.bitsPerSecond);
    if (!chosen) return;
    this.variant = chosen.url;
    const [video, audio] = await Promise.all([
      this.#objects(chosen.url),
      chosen.audio === null ? null : this.#objects(chosen.audio),
    ]);
    this.beginSeconds = video.behindSeconds;
    for (const object of inTurns(video.urls, audio?.urls ?? [])) void this.#ask(object);
  }

  /** What to load of a rendition, and how far before its end that begins. */
  async #objects(url: string): Promise<{ urls: string[]; behindSeconds: number | null }> {
    const playlist = await this.#text(url);
    const rules = partRules(playlist);
    if (rules === null) return { urls: [], behindSeconds: null };
    const distance = edgeDistance({ ...rules, holdBack: 0, targetduration: 0 }) + this.reserveSeconds;
    const behindSeconds = Math.max(distance - JOIN_SECONDS, 0);
    return { urls: joinObjects(playlist, url, behindSeconds), behindSeconds };
  }

  async #text(url: string): Promise<string> {
    return new TextDecoder().decode((await this.#ask(url)).body);
  }
}
