/** How fast a live stream is played, so that it stays as far behind the live edge as it should. Pure: distances come in, a rate goes out. */

/** Speed while catching up with the live edge. In steps of 5 %; one step is not heard in speech. */
const CATCH_UP_RATE = 1.05;
/** The same after a join, which may begin up to a part too far behind; and for how long, milliseconds. */
const JOIN_RATE = 1.15;
const JOIN_MS = 10_000;
/** Speed while falling back to a greater distance, and when there is next to nothing loaded to do it with. */
const FALL_BACK_RATE = 0.95;
const SAVING_RATE = 0.85;
/** Next to nothing: half a part, seconds. A browser lets sound run on alone where pictures are used up, which gains no distance at all. */
const SAVING_SECONDS = 0.25;
/** Nearer to the aim than this, the rate is 1; a rate once taken holds until the aim is reached. Seconds. */
const SLACK_SECONDS = 0.1;
/** With less than this loaded ahead nothing is played faster, seconds. */
const AHEAD_SECONDS_MIN = 1;
/** Further behind than this, a viewer is not brought back by speed, seconds. */
const BEHIND_SECONDS_MAX = 5;
/** Steepness of the catching up: half a second behind gives 1.2, a tenth 1.05. */
const STEEPNESS = 0.75;
const STEP = 0.05;

export interface Distance {
  /** Seconds behind the live edge, and the aim. */
  latencySeconds: number;
  targetSeconds: number;
  /** Loaded ahead, seconds. */
  bufferSeconds: number;
  /** Since the first picture, milliseconds. */
  playedMs: number;
}

/** The rate to play at, given the one that is played at now. */
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
