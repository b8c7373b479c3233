/**
 * Fetches what joining a stream takes, before the player is there to ask for it: the multivariant playlist, the media playlists of the
 * first rung and its sound, their init segments, and the parts from the last picture that can be decoded alone. All that needs
 * no answer goes out together, while the browser still reads the player's code; hls.js then finds its first requests answered.
 *
 * What goes wrong here is not an error: hls.js asks again itself.
 */

import { edgeDistance } from './hls-config';
import { JOIN_SECONDS, joinObjects, partRules, startVariant, variants } from './join-plan';

/** What is not here by then, hls.js asks for itself. Milliseconds. */
const EARLY_MS_MAX = 3_000;

export interface EarlyAnswer {
  body: ArrayBuffer;
  /** By `performance.now()`: asked, first byte, last byte. */
  askedMs: number;
  firstMs: number;
  endMs: number;
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
  /** The bandwidth that the rung was chosen for. */
  readonly bitsPerSecond: number;
  /** The multivariant playlist's URL. */
  readonly url: string;
  /** The rung fetched ahead: its playlist's URL. Null until the multivariant playlist is there. */
  variant: string | null = null;
  /** How far behind the end of its playlist to begin, seconds; null while that is not there, or has no parts. */
  beginSeconds: number | null = null;

  constructor(url: string, bitsPerSecond: number) {
    this.url = new URL(url, location.href).href;
    this.bitsPerSecond = bitsPerSecond;
    void this.#run().catch(() => undefined);
  }

  /** The answer to a request of hls.js's, once; null when it was not asked for ahead. */
  take(url: string): Promise<EarlyAnswer> | null {
    const found = this.#answers.get(url) ?? null;
    this.#answers.delete(url);
    return found;
  }

  /** What was not taken is let go of. */
  end(): void {
    this.#answers.clear();
  }

  #ask(url: string): Promise<EarlyAnswer> {
    const asked = answer(url, this.#signal);
    asked.catch(() => undefined);
    this.#answers.set(url, asked);
    return asked;
  }

  async #run(): Promise<void> {
    const text = await this.#text(this.url);
    const chosen = startVariant(variants(text, this.url), this.bitsPerSecond);
    if (!chosen) return;
    this.variant = chosen.url;
    const playlists = chosen.audio === null ? [chosen.url] : [chosen.url, chosen.audio];
    await Promise.all(
      playlists.map(async (url) => {
        const playlist = await this.#text(url);
        const rules = partRules(playlist);
        if (rules === null) return;
        const behind = Math.max(edgeDistance({ ...rules, holdBack: 0, targetduration: 0 }) - JOIN_SECONDS, 0);
        if (url === chosen.url) this.beginSeconds = behind;
        for (const object of joinObjects(playlist, url, behind)) void this.#ask(object);
      }),
    );
  }

  async #text(url: string): Promise<string> {
    return new TextDecoder().decode((await this.#ask(url)).body);
  }
}
