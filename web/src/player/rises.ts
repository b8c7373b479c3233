/**
 * Rises to a better rung where a segment begins.
 *
 * hls.js 1.7.4 changes rung at any part, and loads the new one from the last keyframe before the end of what is loaded. A browser that
 * decodes beyond that keyframe already goes on with what it has of the old rung, and then shows nothing before the next keyframe, while
 * sound plays on: Chromium stood still for a second in every other join. Where a segment begins nothing is loaded twice. A fall to a
 * lower rung does not wait, nor does a rung that an error names.
 */

import Hls, { type AbrController, type LevelDetails } from 'hls.js';

/** A segment ends where the buffer does, but for rounding: less than a picture, which may be a part of its own. Seconds. */
const ROUNDING = 0.01;
/** After this long any part will do: what is loaded may end where no segment does. Milliseconds. */
const WAIT_MS_MAX = 10_000;
/** A wait that nobody asked about for this long is over. Milliseconds. */
const UNASKED_MS_MAX = 3_000;

/** Whether what is loaded ends with a segment. Seconds. Pure. */
export function endsSegment(bufferEnd: number, details: Pick<LevelDetails, 'fragments'>): boolean {
  const last = details.fragments.findLast(({ end }) => end < bufferEnd + ROUNDING);
  return last !== undefined && bufferEnd - last.end < ROUNDING;
}

/** A rise that hls.js wants: none, where a segment begins, or within one. */
export type Rise = 'none' | 'between-segments' | 'within-a-segment';

/** How long a rise has waited. Pure: time comes in. */
export class RiseWait {
  #sinceMs: number | null = null;
  #askedMs = 0;

  /** Whether it has to wait. */
  waits(rise: Rise, nowMs: number): boolean {
    if (rise !== 'within-a-segment' || nowMs - this.#askedMs > UNASKED_MS_MAX) this.#sinceMs = null;
    this.#askedMs = nowMs;
    if (rise !== 'within-a-segment') return false;
    this.#sinceMs ??= nowMs;
    return nowMs - this.#sinceMs < WAIT_MS_MAX;
  }
}

/** hls.js's choice of a rung with that. */
export function patientRises(): typeof AbrController {
  return class extends Hls.DefaultConfig.abrController {
    readonly #wait = new RiseWait();
    /** What was answered while a rise waits. */
    #heldAt: number | null = null;
    /** A rung that hls.js was told to take, until it is there. */
    #named: number | null = null;

    override get nextAutoLevel(): number {
      const isForced = this.forcedAutoLevel !== -1;
      const level = super.nextAutoLevel;
      const hls: Hls | null = this.hls;
      // It has ended.
      if (!hls) return level;
      const { loadLevel } = hls;
      if (loadLevel === this.#named) this.#named = null;
      const isFree = level > loadLevel && !isForced && level !== this.#named;
      const waits = this.#wait.waits(isFree ? riseNow(hls) : 'none', performance.now());
      this.#heldAt = waits ? loadLevel : null;
      return waits ? loadLevel : level;
    }

    override set nextAutoLevel(level: number) {
      // hls.js repeats what it was answered, which would then stand until another part is loaded.
      if (level === this.#heldAt) return;
      this.#heldAt = null;
      this.#named = level;
      super.nextAutoLevel = level;
    }
  };
}

/** What a rise would be now; none where nothing is loaded that it could spoil. */
function riseNow({ levels, loadLevel, mainForwardBufferInfo: buffer }: Hls): Rise {
  const details = levels[loadLevel]?.details;
  if (!details || !buffer || buffer.len === 0) return 'none';
  return endsSegment(buffer.end, details) ? 'between-segments' : 'within-a-segment';
}
