/**
 * Lets hls.js rise to a better rung only where a segment begins.
 *
 * hls.js 1.7.4 changes rung at any part, and loads the new rung from the last keyframe before the end of the buffer. A browser that has
 * decoded beyond that keyframe shows what it has of the old rung, and then nothing until the next keyframe, while audio plays on:
 * Chromium stood still for a second in every other join. Where a segment begins, nothing is loaded twice. A fall to a lower rung does
 * not wait, nor does a rung that an error names.
 */

import Hls, { type AbrController, type LevelDetails } from 'hls.js';

/** Largest difference by rounding between the ends of a segment and the buffer: less than a frame, which may be a part. Seconds. */
const ROUNDING = 0.01;
/** Longest wait for the start of a segment, because the buffer may never end with one. Milliseconds. */
const WAIT_MS_MAX = 10_000;
/** A wait ends when hls.js has not asked for this long. Milliseconds. */
const UNASKED_MS_MAX = 3_000;

/** Whether the buffer, which ends at `bufferEnd` seconds, ends with a segment. Pure. */
export function endsSegment(bufferEnd: number, details: Pick<LevelDetails, 'fragments'>): boolean {
  const last = details.fragments.findLast(({ end }) => end < bufferEnd + ROUNDING);
  return last !== undefined && bufferEnd - last.end < ROUNDING;
}

/** Where the rise that hls.js wants would happen, if it wants one. */
export type Rise = 'none' | 'between-segments' | 'within-a-segment';

/** Tracks how long a rise has waited. Pure: time comes in. */
export class RiseWait {
  #sinceMs: number | null = null;
  #askedMs = 0;

  /** Whether the rise has to wait. */
  waits(rise: Rise, nowMs: number): boolean {
    if (rise !== 'within-a-segment' || nowMs - this.#askedMs > UNASKED_MS_MAX) this.#sinceMs = null;
    this.#askedMs = nowMs;
    if (rise !== 'within-a-segment') return false;
    this.#sinceMs ??= nowMs;
    return nowMs - this.#sinceMs < WAIT_MS_MAX;
  }
}

/** hls.js's choice of a rung, with rises that wait. */
export function patientRises(): typeof AbrController {
  return class extends Hls.DefaultConfig.abrController {
    readonly #wait = new RiseWait();
    /** The level that hls.js was answered while a rise waits. */
    #heldAt: number | null = null;
    /** The level that hls.js was told to take, until it has taken it. */
    #named: number | null = null;

    override get nextAutoLevel(): number {
      const isForced = this.forcedAutoLevel !== -1;
      const level = super.nextAutoLevel;
      const hls: Hls | null = this.hls;
      // The controller is destroyed.
      if (!hls) return level;
      const { loadLevel } = hls;
      if (loadLevel === this.#named) this.#named = null;
      const isFree = level > loadLevel && !isForced && level !== this.#named;
      const waits = this.#wait.waits(isFree ? riseNow(hls) : 'none', performance.now());
      this.#heldAt = waits ? loadLevel : null;
      return waits ? loadLevel : level;
    }

    override set nextAutoLevel(level: number) {
      // hls.js sets the level that it was answered. That would force the level until another part is loaded.
      if (level === this.#heldAt) return;
      this.#heldAt = null;
      this.#named = level;
      super.nextAutoLevel = level;
    }
  };
}

/** Where a rise would happen now; `none` without a buffer that it could spoil. */
function riseNow({ levels, loadLevel, mainForwardBufferInfo: buffer }: Hls): Rise {
  const details = levels[loadLevel]?.details;
  if (!details || !buffer || buffer.len === 0) return 'none';
  return endsSegment(buffer.end, details) ? 'between-segments' : 'within-a-segment';
}
