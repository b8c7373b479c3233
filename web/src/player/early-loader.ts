/** hls.js's loader, with the answers that were fetched ahead (`early.ts`) in front of the network. */

import Hls, {
  type HlsConfig,
  type LoaderCallbacks,
  type LoaderConfiguration,
  type LoaderContext,
  type LoaderStats,
} from 'hls.js';
import type { EarlyAnswer, EarlyJoin } from './early';

type LoaderClass = HlsConfig['loader'];

/** A playlist as the network had it, so that its age comes out right. */
function notePlaylist(stats: LoaderStats, { body, askedMs, firstMs, endMs }: EarlyAnswer): void {
  stats.loading = { start: askedMs, first: firstMs, end: endMs };
  stats.loaded = stats.total = body.byteLength;
}

/**
 * Media as if it had come just now with the bandwidth that was guessed. It shared the connection with the others and with the
 * page's code, and then waited to be asked for: measured as it was, it would tell of a slow connection.
 */
function noteMedia(stats: LoaderStats, { body }: EarlyAnswer, bitsPerSecond: number): void {
  const end = performance.now();
  const start = end - (8_000 * body.byteLength) / bitsPerSecond;
  stats.loading = { start, first: start, end };
  stats.loaded = stats.total = body.byteLength;
}

/** A loader that asks `early` first. hls.js makes one for each request, and may abort or destroy it at any time. */
export function earlyLoader(early: EarlyJoin): LoaderClass {
  return class extends Hls.DefaultConfig.loader {
    /** What to do when hls.js aborts while the answer is under way; null when nothing is. */
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
      /** Runs once, and not after an abort. */
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
