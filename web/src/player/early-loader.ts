/** hls.js's loader, which first looks among the answers that `early.ts` fetched, and then asks the network. */

import Hls, {
  type HlsConfig,
  type LoaderCallbacks,
  type LoaderConfiguration,
  type LoaderContext,
  type LoaderStats,
} from 'hls.js';
import type { EarlyAnswer, EarlyJoin } from './early';

type LoaderClass = HlsConfig['loader'];

/** Reports a playlist's real times, so that hls.js computes its age correctly. */
function notePlaylist(stats: LoaderStats, { body, askedMs, firstMs, endMs }: EarlyAnswer): void {
  stats.loading = { start: askedMs, first: firstMs, end: endMs };
  stats.loaded = stats.total = body.byteLength;
}

/**
 * Reports media as if it had arrived just now at the guessed bandwidth. It shared the connection with other objects and the page's
 * code, and then waited for hls.js, so its real times would suggest a slow connection.
 */
function noteMedia(stats: LoaderStats, { body }: EarlyAnswer, bitsPerSecond: number): void {
  const end = performance.now();
  const start = end - (8_000 * body.byteLength) / bitsPerSecond;
  stats.loading = { start, first: start, end };
  stats.loaded = stats.total = body.byteLength;
}

/** A loader class that asks `early` first. hls.js makes a loader for each request, and may abort or destroy it at any time. */
export function earlyLoader(early: EarlyJoin): LoaderClass {
  return class extends Hls.DefaultConfig.loader {
    /** Handles an abort by hls.js while an early answer is under way; null when none is. */
    #abort: (() => void) | null = null;

    override load(
      context: LoaderContext,
      config: LoaderConfiguration,
      callbacks: LoaderCallbacks<LoaderContext>,
    ): void {
      const ahead = context.rangeEnd ? null : early.take(context.url);
      if (!ahead) {
        super.load(context, config, callbacks);
        return;
      }
      this.context = context;
      const abort = (): void => callbacks.onAbort?.(this.stats, context, null);
      this.#abort = abort;
      /** Runs `next` once, and not after an abort. */
      const settle = (next: () => void): void => {
        if (this.#abort !== abort) return;
        this.#abort = null;
        next();
      };
      const onAnswer = (answer: EarlyAnswer): void => {
        const isMedia = context.responseType === 'arraybuffer';
        if (isMedia) noteMedia(this.stats, answer, early.bitsPerSecond);
        else notePlaylist(this.stats, answer);
        const data = isMedia ? answer.body : new TextDecoder().decode(answer.body);
        callbacks.onSuccess({ url: context.url, data, code: 200 }, this.stats, context, null);
      };
      ahead.then(
        (answer) => settle(() => onAnswer(answer)),
        () => settle(() => super.load(context, config, callbacks)),
      );
    }

    override abort(): void {
      const abort = this.#abort;
      this.#abort = null;
      if (abort === null) {
        super.abort();
        return;
      }
      this.stats.aborted = true;
      abort();
    }

    override destroy(): void {
      this.#abort = null;
      super.destroy();
    }
  };
}
