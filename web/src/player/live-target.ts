/**
 * Decides how far behind the live edge the player stays: at least `edgeDistance`, and more where parts take long to transfer, after a slow
 * start or a stall. The distance shrinks slowly when playback stays calm. Pure.
 */

/** Reserve added after each stall, and its maximum, seconds. */
export const STEP_SECONDS = 0.5;
export const RESERVE_SECONDS_MAX = 3;
/** For each `CALM_MS` without a stall, the reserve shrinks by `RETURN_SECONDS`. */
export const CALM_MS = 60_000;
export const RETURN_SECONDS = 0.25;

/**
 * Transfers of parts up to `TRANSFER_SECONDS_FREE` add nothing to the distance. Longer ones add enough for a link that suddenly becomes
 * `SLOWER_FACTOR` times slower, up to `LINK_SECONDS_MAX`.
 */
const TRANSFER_SECONDS_FREE = 0.05;
const SLOWER_FACTOR = 4;
const LINK_SECONDS_MAX = 1.5;
/** Weight in the mean of a transfer longer than the mean, and of any other: quick to learn, slow to forget. */
const LONGER_WEIGHT = 0.2;
const SHORTER_WEIGHT = 0.05;

/** A page that is there within this time adds nothing to the distance; each second more adds one, up to `START_SECONDS_MAX`. Seconds. */
const START_SECONDS_FREE = 0.5;
export const START_SECONDS_MAX = 1.5;
/** What a slow start added is gone after this time. Milliseconds. */
export const START_MS = 60_000;

/**
 * Reserve of a join, in seconds, when the page needed `seconds` until it could ask for media. A machine or link that was slow with the page
 * will be as slow with parts, and the first picture has no reserve yet.
 */
export function startReserve(seconds: number): number {
  return Math.min(Math.max(0, seconds - START_SECONDS_FREE), START_SECONDS_MAX);
}

export class LiveTarget {
  #floor: number | null = null;
  #reserve = 0;
  #quietSinceMs = 0;
  #transferSeconds = 0;
  #start = { seconds: 0, atMs: 0 };

  /** Begins with a reserve (`startReserve`). */
  begin(reserveSeconds: number, nowMs: number): void {
    this.#start = { seconds: reserveSeconds, atMs: nowMs };
  }

  /** Sets the least distance to aim for (`edgeDistance`), seconds. */
  setFloor(seconds: number): void {
    this.#floor = seconds;
  }

  onStall(nowMs: number): void {
    this.#reserve = Math.min(this.#reserve + STEP_SECONDS, RESERVE_SECONDS_MAX);
    this.#quietSinceMs = nowMs;
  }

  /** Records the time from the first byte of a part to its last, seconds. */
  onPart(transferSeconds: number): void {
    const longer = transferSeconds - this.#transferSeconds;
    this.#transferSeconds += longer * (longer > 0 ? LONGER_WEIGHT : SHORTER_WEIGHT);
  }

  #startSeconds(nowMs: number): number {
    const { seconds, atMs } = this.#start;
    return seconds * Math.max(0, 1 - (nowMs - atMs) / START_MS);
  }

  #linkSeconds(): number {
    const counted = this.#transferSeconds - TRANSFER_SECONDS_FREE;
    return Math.min(Math.max(0, counted * SLOWER_FACTOR), LINK_SECONDS_MAX);
  }

  /** Seconds behind the live edge to aim for; null before the first playlist. */
  seconds(nowMs: number): number | null {
    if (this.#reserve > 0) {
      const steps = Math.floor((nowMs - this.#quietSinceMs) / CALM_MS);
      if (steps > 0) {
        this.#reserve = Math.max(0, this.#reserve - steps * RETURN_SECONDS);
        this.#quietSinceMs += steps * CALM_MS;
      }
    }
    if (this.#floor === null) return null;
    return this.#floor + Math.max(this.#reserve, this.#linkSeconds(), this.#startSeconds(nowMs));
  }
}

/** Further behind its target than this, a live player jumps; nearer, it plays a little faster. Seconds. */
export const JUMP_SECONDS = 6;
/** A player counts as live up to this far behind the target, seconds. */
export const LIVE_SLACK_SECONDS = 2;

/** Shortest time between two jumps, because a jump takes a moment to show in the latency. Milliseconds. */
const JUMP_EVERY_MS = 5_000;

export interface EdgeInputs {
  nowMs: number;
  /** Seconds behind the live edge, and the aim; null when unknown. */
  latencySeconds: number | null;
  targetSeconds: number | null;
  paused: boolean;
}

/**
 * Tracks whether the viewer watches live, or is behind by choice. A viewer who pauses or seeks back stays behind; a viewer who fell
 * behind for another reason (sleep, a long stall) is brought back.
 */
export class EdgeKeeper {
  #chosen = false;
  #jumpedAtMs = Number.NEGATIVE_INFINITY;

  /** The viewer paused, or seeked back. */
  onBehind(): void {
    this.#chosen = true;
  }

  /** True while the viewer is behind by choice. */
  get isBehind(): boolean {
    return this.#chosen;
  }

  /** The viewer asked for the live edge. */
  onLive(): void {
    this.#chosen = false;
  }

  /** True when the player should jump to the live edge now. */
  tick({ nowMs, latencySeconds, targetSeconds, paused }: EdgeInputs): boolean {
    if (latencySeconds === null || targetSeconds === null || paused) return false;
    const behind = latencySeconds - targetSeconds;
    if (behind <= LIVE_SLACK_SECONDS) this.#chosen = false;
    const jump = !this.#chosen && behind > JUMP_SECONDS && nowMs - this.#jumpedAtMs >= JUMP_EVERY_MS;
    if (jump) this.#jumpedAtMs = nowMs;
    return jump;
  }
}
