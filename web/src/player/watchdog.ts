/**
 * Decides what to do about a picture that stands still although there is more to play. Whatever stops a player, it does not stop for
 * good: first the picture is nudged, then loading begins again, then the player is made anew. Pure: time and positions come in.
 */

/** Play on from the next thing loaded; load again; make the player anew. */
export type Measure = 'nudge' | 'reload' | 'remake';

/** How long a picture stands still before each measure, milliseconds. A new player shows its first picture within 3 s of the standstill. */
const STEPS: readonly (readonly [Measure, number])[] = [
  ['nudge', 1_000],
  ['reload', 1_400],
  ['remake', 1_800],
];
/**
 * Before the first picture and while the viewer seeks, each step takes so many times longer: on a machine that is slow for everybody, a
 * join that is begun again takes longer still.
 */
const BEGINNING_FACTOR = 5;
/** Patience doubles with each new player, up to this factor: a standstill of 14 s before the next one. */
const PATIENCE_MAX = 8;
/** A picture that has moved for so long is well again, and patience is as it was. Milliseconds. */
const CALM_MS = 10_000;
/** A position that changes so soon after a measure was moved by the measure. Milliseconds. */
const SETTLE_MS = 300;
/** A picture that moves for so long after a measure plays by itself. Milliseconds. */
const MOVING_MS = 200;
/** Samples further apart than this say nothing: the page was asleep, or throttled. Milliseconds. */
const SAMPLE_GAP_MS_MAX = 1_000;
/** Less than this is not worth a measure: a part is still to come. Seconds. */
const NEWER_SECONDS_MIN = 0.5;
/**
 * With less than this loaded ahead, media that came lately is a slow network at work. What is under way would be thrown away: loading again
 * waits for up to so long, and a new player twice that. Seconds and milliseconds.
 */
const ENOUGH_SECONDS = 1;
const GROWTH_MS = 1_000;
const SLOW_MS_MAX = 2_500;

export interface StandstillSample {
  /** Milliseconds on any steady clock. */
  nowMs: number;
  /** Media time, and what is loaded from there on without a hole, seconds. */
  position: number;
  bufferSeconds: number;
  /** When media last came, finished or not; null when that is not known. */
  receivedAtMs: number | null;
  /** Where the newest listed media ends, seconds of media time; null when nothing is listed. */
  newest: number | null;
  /** False while nobody expects the picture to move: paused, over, not visible. */
  shouldMove: boolean;
  /** No picture yet, or the viewer seeks. */
  isBeginning: boolean;
}

export interface WatchdogStats {
  nudges: number;
  reloads: number;
  remakes: number;
}

export class Watchdog {
  readonly #count: Record<Measure, number> = { nudge: 0, reload: 0, remake: 0 };
  #last: StandstillSample | null = null;
  /** Since when the picture stands, and since when it moves. */
  #stillSinceMs = 0;
  #movingSinceMs = 0;
  #grewAtMs = Number.NEGATIVE_INFINITY;
  #actedAtMs = Number.NEGATIVE_INFINITY;
  /** The step of `STEPS` that comes next. */
  #step = 0;
  #patience = 1;
  #isActing = false;

  /** True from the first measure until the picture moves by itself. */
  get isActing(): boolean {
    return this.#isActing;
  }

  stats(): WatchdogStats {
    const { nudge, reload, remake } = this.#count;
    return { nudges: nudge, reloads: reload, remakes: remake };
  }

  /** What to do now; null for nothing. */
  sample(now: StandstillSample): Measure | null {
    const last = this.#last;
    this.#last = now;
    const { nowMs } = now;
    const isUnseen = !last || nowMs - last.nowMs > SAMPLE_GAP_MS_MAX;
    if (isUnseen || !now.shouldMove || !last.shouldMove) {
      this.#stand(nowMs);
      if (!now.shouldMove) this.#isActing = false;
      return null;
    }
    if (now.position + now.bufferSeconds > last.position + last.bufferSeconds) this.#grewAtMs = nowMs;
    if (now.position !== last.position) {
      if (nowMs - this.#actedAtMs > SETTLE_MS) this.#move(last.nowMs, nowMs);
      return null;
    }
    this.#movingSinceMs = nowMs;
    return this.#hasNewer(now) ? this.#due(now) : null;
  }

  #stand(nowMs: number): void {
    this.#stillSinceMs = nowMs;
    this.#movingSinceMs = nowMs;
    this.#step = 0;
  }

  #move(sinceMs: number, nowMs: number): void {
    this.#movingSinceMs = Math.min(this.#movingSinceMs, sinceMs);
    const movedMs = nowMs - this.#movingSinceMs;
    if (movedMs >= CALM_MS) this.#patience = 1;
    if (this.#isActing && movedMs < MOVING_MS) return;
    this.#isActing = false;
    this.#stillSinceMs = nowMs;
    this.#step = 0;
  }

  #hasNewer({ newest, position, nowMs }: StandstillSample): boolean {
    if (newest !== null && newest - position > NEWER_SECONDS_MIN) return true;
    // There is nothing to play: the time does not count. A player that is being made anew has no list yet.
    if (!this.#isActing) this.#stillSinceMs = nowMs;
    return false;
  }

  #due({ nowMs, bufferSeconds, isBeginning, receivedAtMs }: StandstillSample): Measure | null {
    const [measure, afterMs] = STEPS[this.#step] ?? ['remake', Number.POSITIVE_INFINITY];
    const factor = this.#patience * (isBeginning ? BEGINNING_FACTOR : 1);
    const stillMs = nowMs - this.#stillSinceMs;
    if (stillMs < afterMs * factor) return null;
    const cameAtMs = Math.max(this.#grewAtMs, receivedAtMs ?? Number.NEGATIVE_INFINITY);
    const isSlow = bufferSeconds < ENOUGH_SECONDS && nowMs - cameAtMs < GROWTH_MS;
    const slowMs = SLOW_MS_MAX * factor * (measure === 'remake' ? 2 : 1);
    if (measure !== 'nudge' && isSlow && stillMs < slowMs) return null;
    this.#actedAtMs = nowMs;
    this.#isActing = true;
    this.#count[measure] += 1;
    this.#step += 1;
    if (measure === 'remake') {
      this.#stand(nowMs);
      this.#patience = Math.min(2 * this.#patience, PATIENCE_MAX);
    }
    return measure;
  }
}

/** Where to play on: a little further in what is loaded, or at the next thing loaded; null when there is nothing. Pure. */
export function nudgeTarget(ranges: readonly (readonly [number, number])[], position: number): number | null {
  const STEP_SECONDS = 0.1;
  const isInside = ranges.some(([start, end]) => start <= position && position + 2 * STEP_SECONDS < end);
  if (isInside) return position + STEP_SECONDS;
  const next = ranges.find(([start]) => start > position);
  return next ? next[0] + STEP_SECONDS / 2 : null;
}
