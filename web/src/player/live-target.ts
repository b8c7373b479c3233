/**
 * How far behind the live edge the player stays: `edgeDistance` at least, more on a link that takes long to bring a part, more after a
 * stall, and slowly back. Pure.
 */

/** Added after each stall, and at most, seconds. */
export const STEP_SECONDS = 0.5;
export const RESERVE_SECONDS_MAX = 3;
/** After so long without a stall the reserve begins to shrink, and by so much in each such time. */
export const CALM_MS = 60_000;
export const RETURN_SECONDS = 0.25;

/**
 * A link that brings a part in this time or less has no part in the distance, seconds; beyond it, the distance has room for a link that
 * becomes so many times slower from one moment to the next.
 */
const TRANSFER_SECONDS_FREE = 0.05;
const SLOWER_FACTOR = 4;
const LINK_SECONDS_MAX = 1.5;
/** Weight of a transfer that took longer than those before it, and of one that did not: quick to learn, slow to forget. */
const LONGER_WEIGHT = 0.2;
const SHORTER_WEIGHT = 0.05;

export class LiveTarget {
  #floor: number | null = null;
  #reserve = 0;
  #quietSinceMs = 0;
  #transferSeconds = 0;

  /** The least distance to aim for (`edgeDistance`), seconds. */
  setFloor(seconds: number): void {
    this.#floor = seconds;
  }

  onStall(nowMs: number): void {
    this.#reserve = Math.min(this.#reserve + STEP_SECONDS, RESERVE_SECONDS_MAX);
    this.#quietSinceMs = nowMs;
  }

  /** A part came, and was this long under way from its first byte to its last, seconds. */
  onPart(transferSeconds: number): void {
    const longer = transferSeconds - this.#transferSeconds;
    this.#transferSeconds += longer * (longer > 0 ? LONGER_WEIGHT : SHORTER_WEIGHT);
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
    return this.#floor === null ? null : this.#floor + Math.max(this.#reserve, this.#linkSeconds());
  }
}

/** Further behind its target than this, a player that is to be live jumps; nearer, it plays a little faster. Seconds. */
export const JUMP_SECONDS = 6;
/** This much behind the target is still "live", seconds. */
export const LIVE_SLACK_SECONDS = 2;

/** A jump takes a moment to show in the figures; the next one not before. Milliseconds. */
const JUMP_EVERY_MS = 5_000;

export interface EdgeInputs {
  nowMs: number;
  /** Seconds behind the live edge, and the aim; null when unknown. */
  latencySeconds: number | null;
  targetSeconds: number | null;
  paused: boolean;
}

/**
 * Whether the viewer watches live, or is behind by choice. Who pauses or goes back is left alone; who fell behind without asking
 * for it (sleep, a long stall) is brought back.
 */
export class EdgeKeeper {
  #chosen = false;
  #jumpedAtMs = Number.NEGATIVE_INFINITY;

  /** The viewer paused, or went back. */
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
