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

function note(stats: LoaderStats, { body, askedMs, firstMs, endMs }: EarlyAnswer): void {
  // As the network had it, so that bandwidth and the playlist's age come out right.
  stats.loading.start = askedMs;
  stats.loading.first = firstMs;
  stats.loading.end = endMs;
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
        note(this.stats, answer);
        const { body } = answer;
        const data = context.responseType === 'arraybuffer' ? body : new TextDecoder().decode(body);
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
