/** Decides what to do about a fatal player error. Pure: time comes in, an action goes out. */

export type FatalKind = 'network' | 'media' | 'other';

export type Action =
  /** Load again from where loading stopped. */
  | { kind: 'resume'; afterMs: number }
  /** Rebuild the decoder and keep the position. */
  | { kind: 'recover-media' }
  /** Make a new player and load the stream from the start. */
  | { kind: 'reload'; afterMs: number }
  /** Tell the viewer, who may try again. */
  | { kind: 'give-up' };

/** After a second media error within this time, rebuilding the decoder is not enough. Milliseconds. */
const MEDIA_AGAIN_MS = 5_000;
/** Errors older than this are forgotten. Milliseconds. */
export const MEMORY_MS = 120_000;
/** Fatal errors within MEMORY_MS after which the player gives up: about a minute of trying. */
export const FATAL_MAX = 12;
const RETRY_MS = 500;
const RETRY_MS_MAX = 8_000;

export class Recovery {
  #fatalAtMs: number[] = [];
  #mediaAtMs: number | null = null;

  onFatal(kind: FatalKind, nowMs: number, loadedOnce: boolean): Action {
    this.#fatalAtMs = this.#fatalAtMs.filter((at) => nowMs - at < MEMORY_MS);
    this.#fatalAtMs.push(nowMs);
    const attempt = this.#fatalAtMs.length;
    if (attempt > FATAL_MAX) return { kind: 'give-up' };
    const afterMs = Math.min(RETRY_MS * 2 ** (attempt - 1), RETRY_MS_MAX);
    if (kind === 'media') {
      const again = this.#mediaAtMs !== null && nowMs - this.#mediaAtMs < MEDIA_AGAIN_MS;
      this.#mediaAtMs = nowMs;
      return again ? { kind: 'reload', afterMs } : { kind: 'recover-media' };
    }
    if (kind === 'network' && loadedOnce) return { kind: 'resume', afterMs };
    return { kind: 'reload', afterMs };
  }

  /** The viewer asked to try again. */
  reset(): void {
    this.#fatalAtMs = [];
    this.#mediaAtMs = null;
  }
}
