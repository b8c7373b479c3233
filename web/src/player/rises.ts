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

/** Whether what is loaded ends with a segment. Seconds. Pure. */
export function endsSegment(bufferEnd: number, details: Pick<LevelDetails, 'fragments'>): boolean {
  return details.fragments.some(({ end }) => Math.abs(end - bufferEnd) < ROUNDING);
}

/** How long a rise has waited. Pure: time comes in. */
export class RiseWait {
  #sinceMs: number | null = null;

  /** Whether a rise has to wait; `mayRise` where it would lose no picture. */
  waits(wantsRise: boolean, mayRise: boolean, nowMs: number): boolean {
    if (!wantsRise || mayRise) {
      this.#sinceMs = null;
      return false;
    }
    this.#sinceMs ??= nowMs;
    return nowMs - this.#sinceMs < WAIT_MS_MAX;
  }
}

/** hls.js's choice of a rung with that. */
export function patientRises(): typeof AbrController {
  return class extends Hls.DefaultConfig.abrController {
    readonly #wait = new RiseWait();
    #isWaiting = false;

    override get nextAutoLevel(): number {
      const isForced = this.forcedAutoLevel !== -1;
      const level = super.nextAutoLevel;
      const { loadLevel, levels, mainForwardBufferInfo: buffer } = this.hls;
      const details = levels[loadLevel]?.details;
      const wants = !isForced && level > loadLevel && !!details && !!buffer && buffer.len > 0;
      const may = wants && endsSegment(buffer.end, details);
      this.#isWaiting = this.#wait.waits(wants, may, performance.now());
      return this.#isWaiting ? loadLevel : level;
    }

    override set nextAutoLevel(level: number) {
      // hls.js says what it was told, which would then stand until another part is loaded.
      if (this.#isWaiting && level === this.hls.loadLevel) return;
      super.nextAutoLevel = level;
    }
  };
}
