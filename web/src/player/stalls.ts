/** Counts standstills of a picture that should move. Pure: time and position come in. */

export interface StallSample {
  /** Milliseconds on any steady clock. */
  nowMs: number;
  /** Media time, seconds. */
  position: number;
  /** True when the picture should move: not paused, seeking or finished. */
  shouldMove: boolean;
}

export interface StallStats {
  count: number;
  /** Duration of all stalls, with the one under way, milliseconds. */
  totalMs: number;
  longestMs: number;
  /** True while a stall is under way. */
  now: boolean;
}

/** Viewers do not see a shorter standstill, and samples are not finer. Milliseconds. */
export const STALL_MS_MIN = 300;

export class StallMeter {
  #position: number | null = null;
  #movedAtMs = 0;
  #moved = false;
  #count = 0;
  #doneMs = 0;
  #longestMs = 0;
  #currentMs = 0;

  /** Takes a sample. The start is not a stall: counting begins with the first movement. */
  sample({ nowMs, position, shouldMove }: StallSample): void {
    const first = this.#position === null;
    const moved = !first && position !== this.#position;
    this.#position = position;
    if (first || moved || !shouldMove) {
      this.#finish();
      this.#moved ||= moved && shouldMove;
      this.#movedAtMs = nowMs;
      return;
    }
    const still = nowMs - this.#movedAtMs;
    if (!this.#moved || still < STALL_MS_MIN) return;
    if (this.#currentMs === 0) this.#count += 1;
    this.#currentMs = still;
    this.#longestMs = Math.max(this.#longestMs, still);
  }

  stats(): StallStats {
    return {
      count: this.#count,
      totalMs: Math.round(this.#doneMs + this.#currentMs),
      longestMs: Math.round(this.#longestMs),
      now: this.#currentMs > 0,
    };
  }

  #finish(): void {
    this.#doneMs += this.#currentMs;
    this.#currentMs = 0;
  }
}
