/**
 * Decides what to do about a picture that stands still although there is more to play. Whatever the cause, the measures escalate: a
 * nudge of the position, then loading again, then a new player. Pure: time and positions come in.
 */

/** `nudge`: seek to the next buffered media. `reload`: load again. `remake`: make the player anew. */
export type Measure = 'nudge' | 'reload' | 'remake';

/** Length of a standstill before each measure, milliseconds. A new player shows its first picture within 3 s of the standstill. */
const STEPS: readonly (readonly [Measure, number])[] = [
  ['nudge', 1_000],
  ['reload', 1_400],
  ['remake', 1_800],
];
/**
 * Before the first picture and during a seek, each step waits this many times longer: on a slow machine, starting a join again only
 * makes it longer.
 */
const BEGINNING_FACTOR = 5;
/** The waits double with each new player, up to this factor: then a standstill of 14 s comes before the next new player. */
const PATIENCE_MAX = 8;
/** After the picture has moved for this long, the waits are as short as at first. Milliseconds. */
const CALM_MS = 10_000;
/** A change of position this soon after a measure comes from the measure itself. Milliseconds. */
const SETTLE_MS = 300;
/** A picture that moves for this long after a measure plays by itself. Milliseconds. */
const MOVING_MS = 200;
/** Samples further apart than this do not count: the page was asleep or throttled. Milliseconds. */
const SAMPLE_GAP_MS_MAX = 1_000;
/** With less new media than this, no measure is taken: the next part is still to come. Seconds. */
const NEWER_SECONDS_MIN = 0.5;
/**
 * With fewer seconds buffered than `ENOUGH_SECONDS`, media that arrived within `GROWTH_MS` shows a slow network. A reload would throw
 * away what is under way, so it waits for up to `SLOW_MS_MAX`, and a new player for twice that.
 */
const ENOUGH_SECONDS = 1;
const GROWTH_MS = 1_000;
const SLOW_MS_MAX = 2_500;

export interface StandstillSample {
  /** Milliseconds on any steady clock. */
  nowMs: number;
  /** Media time, and what is buffered from there on without a hole, seconds. */
  position: number;
  bufferSeconds: number;
  /** When bytes of media last arrived, also of an unfinished part, by the same clock; null when unknown. */
  receivedAtMs: number | null;
  /** Media time at which the newest listed media ends, seconds; null when nothing is listed. */
  newest: number | null;
  /** False while the picture is not expected to move: paused, over, or not visible. */
  shouldMove: boolean;
  /** True before the first picture and during a seek of the viewer. */
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
  /** Since when the picture stands still, and since when it moves. */
  #stillSinceMs = 0;
  #movingSinceMs = 0;
  #grewAtMs = Number.NEGATIVE_INFINITY;
  #actedAtMs = Number.NEGATIVE_INFINITY;
  /** Index in `STEPS` of the next measure. */
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

  /** Returns the measure to take now; null for none. */
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
    // Without newer media the time does not count. While a new player starts, it does: that player has no playlist yet.
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

/** Where to seek: a little further in the current range, or to the next buffered range; null without either. Pure. */
export function nudgeTarget(ranges: readonly (readonly [number, number])[], position: number): number | null {
  const STEP_SECONDS = 0.1;
  const isInside = ranges.some(([start, end]) => start <= position && position + 2 * STEP_SECONDS < end);
  if (isInside) return position + STEP_SECONDS;
  const next = ranges.find(([start]) => start > position);
  return next ? next[0] + STEP_SECONDS / 2 : null;
}
