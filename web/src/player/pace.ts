/** Chooses the playback rate that keeps a live stream at its target latency. Pure: distances come in, a rate goes out. */

/** Highest rate while catching up with the live edge. Rates are multiples of 5 %, a difference that is not heard in speech. */
const CATCH_UP_RATE = 1.05;
/** The same for the first `JOIN_MS` milliseconds, because a join may begin up to a part too far behind. */
const JOIN_RATE = 1.15;
const JOIN_MS = 10_000;
/** Rate while falling back to a greater distance, and the rate while almost nothing is buffered to do so. */
const FALL_BACK_RATE = 0.95;
const SAVING_RATE = 0.85;
/** "Almost nothing": half a part, seconds. When video has run out, a browser plays audio on alone, which gains no distance. */
const SAVING_SECONDS = 0.25;
/** Up to this much nearer than the target, the rate stays 1. Once below 1, it stays there until the target is reached. Seconds. */
const SLACK_SECONDS = 0.1;
/** Playback is faster only with more than this buffered ahead, seconds. */
const AHEAD_SECONDS_MIN = 1;
/** Further behind the target than this, playback is not faster, seconds. */
const BEHIND_SECONDS_MAX = 5;
/** Steepness of the rate over the distance: half a second behind gives 1.2, a tenth 1.05. */
const STEEPNESS = 0.75;
const STEP = 0.05;

export interface Distance {
  /** Seconds behind the live edge, and the target. */
  latencySeconds: number;
  targetSeconds: number;
  /** Seconds buffered ahead. */
  bufferSeconds: number;
  /** Milliseconds since the first picture. */
  playedMs: number;
}

/** The next playback rate; `now` is the current one. */
export function pace(
  now: number,
  { latencySeconds, targetSeconds, bufferSeconds, playedMs }: Distance,
): number {
  const behind = latencySeconds - targetSeconds;
  if (behind < 0) {
    const isReached = now < 1 ? behind >= -STEP / 2 : behind > -SLACK_SECONDS;
    if (isReached) return 1;
    return bufferSeconds < SAVING_SECONDS ? SAVING_RATE : FALL_BACK_RATE;
  }
  if (behind < STEP || behind > BEHIND_SECONDS_MAX || bufferSeconds <= AHEAD_SECONDS_MIN) return 1;
  const wanted = 2 / (1 + Math.exp(-STEEPNESS * behind));
  const stepped = Math.round(wanted / STEP) * STEP;
  return Math.min(stepped, playedMs < JOIN_MS ? JOIN_RATE : CATCH_UP_RATE);
}
