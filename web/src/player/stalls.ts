/** Counts the moments at which a picture that should move does not. Pure: time and position come in. */

export interface StallSample {
  /** Milliseconds on any steady clock. */
  nowMs: number;
  /** Media time, seconds. */
  position: number;
  /** True when nobody asked the picture to stand still: not paused, seeking or finished. */
  shouldMove: boolean;
}

export interface StallStats {
  count: number;
  /** All stalls together, the one under way included, milliseconds. */
  totalMs: number;
  longestMs: number;
  /** True while a stall is under way. */
  now: boolean;
}

/** A shorter standstill is not seen by a viewer, and samples are this coarse. Milliseconds. */
export const STALL_MS_MIN = 300;

export class StallMeter {
  #position: number | null = null;
  #movedAtMs = 0;
  #moved = false;
  #count = 0;
  #doneMs = 0;
  #longestMs = 0;
  #currentMs = 0;

  /** Starting up is not a stall: counting begins with the first movement. */
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
