/**
 * Reads the wall clock that Sealcast's test source draws into its picture, so that the page can show how old a picture is.
 *
 * The clock is two rows of blocks along the lower edge. Each row has `CELLS` blocks over the whole width, and an eighteenth of the
 * height; the lower row is the inverse of the upper one. From the left: white, black, 42 bits of milliseconds since 1970, highest bit
 * first, and 4 bits of check sum. `source/src/clock.rs` draws this layout. Pure: pixels come in.
 */

/** Blocks in a row. */
export const CELLS = 48;
/** Height of both rows together, as a share of the picture's height. */
export const STRIP_HEIGHT = 2 / 18;
/** Size in pixels to which the strip is scaled before it is read: blocks of five by eight. */
export const STRIP_PIXELS = { width: CELLS * 5, height: 16 } as const;

const TIME_BITS = 42;
/** Smallest difference between the two blocks of a bit, of 255. An ordinary picture has blocks that differ less. */
const CONTRAST_MIN = 58;
/** Pixels to each side of a block's middle that are read. */
const REACH = 1;

function brightness(rgba: Uint8ClampedArray, width: number, x: number, y: number): number {
  let sum = 0;
  for (let row = y - REACH; row <= y + REACH; row += 1) {
    for (let column = x - REACH; column <= x + REACH; column += 1) {
      const at = 4 * (row * width + column);
      sum += 0.299 * (rgba[at] ?? 0) + 0.587 * (rgba[at + 1] ?? 0) + 0.114 * (rgba[at + 2] ?? 0);
    }
  }
  return sum / (2 * REACH + 1) ** 2;
}

/** Check sum of the source: the remainder of a division by 13, plus one. */
function checkSum(milliseconds: number): number {
  return (milliseconds % 13) + 1;
}

/** Milliseconds since 1970 from the strip's pixels (RGBA, rows from the top), or null when they show no clock. */
export function readPictureClock(rgba: Uint8ClampedArray, width: number, height: number): number | null {
  if (width < CELLS * 3 || height < 6 || rgba.length < 4 * width * height) return null;
  const bits: number[] = [];
  for (let cell = 0; cell < CELLS; cell += 1) {
    const x = Math.floor(((cell + 0.5) * width) / CELLS);
    const above = brightness(rgba, width, x, Math.floor(height / 4));
    const below = brightness(rgba, width, x, Math.floor((3 * height) / 4));
    if (Math.abs(above - below) < CONTRAST_MIN) return null;
    bits.push(above > below ? 1 : 0);
  }
  if (bits[0] !== 1 || bits[1] !== 0) return null;
  // Bit operators take 32 bits only; a double holds 42 bits exactly.
  const number = (from: number, to: number): number =>
    bits.slice(from, to).reduce((sum, bit) => 2 * sum + bit, 0);
  const milliseconds = number(2, 2 + TIME_BITS);
  return number(2 + TIME_BITS, CELLS) === checkSum(milliseconds) ? milliseconds : null;
}

export interface ClockReading {
  /** The clock in the picture, milliseconds since 1970; null without a clock. */
  clockMs: number | null;
  /** Media time of that picture, seconds. */
  mediaTime: number;
  /** When it was on screen, milliseconds since 1970 by this device's clock. */
  shownAtMs: number;
}

/** Two readings agree when the clock in the picture advanced as the media time did, within this. Milliseconds. */
const AGREEMENT_MS = 250;
/** After this many pictures in a row without a clock, the stream has none. */
const MISSES_MAX = 4;
/** Range of plausible delays; outside of it, the clock is wrong or not a clock. Seconds. */
const DELAY_SECONDS = { min: -1, max: 600 };

/** Turns readings into a delay. A reading counts only if the one before agrees, which does not happen in ordinary video. Pure. */
export class GlassToGlass {
  #last: { clockMs: number; mediaTime: number } | null = null;
  #seconds: number | null = null;
  #misses = 0;

  /** Delay from the source's clock to this screen, seconds; null when the picture has no clock. */
  get seconds(): number | null {
    return this.#seconds;
  }

  /** True when the next reading should come soon. */
  get seen(): boolean {
    return this.#misses < MISSES_MAX;
  }

  add({ clockMs, mediaTime, shownAtMs }: ClockReading): void {
    const delay = clockMs === null ? Number.NaN : (shownAtMs - clockMs) / 1_000;
    if (clockMs === null || !(delay > DELAY_SECONDS.min && delay < DELAY_SECONDS.max)) {
      this.#misses += 1;
      if (!this.seen) this.reset();
      return;
    }
    const last = this.#last;
    this.#last = { clockMs, mediaTime };
    this.#misses = 0;
    if (last === null) return;
    const drift = clockMs - last.clockMs - 1_000 * (mediaTime - last.mediaTime);
    this.#seconds = Math.abs(drift) <= AGREEMENT_MS ? Math.max(0, delay) : null;
  }

  /** Forgets the readings, for another stream or none. */
  reset(): void {
    this.#last = null;
    this.#seconds = null;
  }
}
