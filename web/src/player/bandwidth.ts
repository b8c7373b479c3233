/** Remembers the bandwidth from page to page, so that the next stream starts on the right rung. */

const KEY = 'sealcast-bandwidth';
/** First guess, bit/s: a middle rung instead of the lowest. */
const GUESS = 3_000_000;
/** What a connection can have; anything else in the store is not believed. Bit/s. */
const RANGE = { min: 100_000, max: 100_000_000 };

export function rememberedBandwidth(): number {
  try {
    const stored = Number(localStorage.getItem(KEY));
    return stored >= RANGE.min && stored <= RANGE.max ? stored : GUESS;
  } catch {
    // Storage may be forbidden.
    return GUESS;
  }
}

/** Written no more often than this: the store is a file. Milliseconds. */
const WRITE_MS = 10_000;
let writtenAtMs = Number.NEGATIVE_INFINITY;

export function rememberBandwidth(bitsPerSecond: number): void {
  const now = performance.now();
  if (!Number.isFinite(bitsPerSecond) || now - writtenAtMs < WRITE_MS) return;
  writtenAtMs = now;
  try {
    localStorage.setItem(KEY, String(Math.round(bitsPerSecond)));
  } catch {
    // Then the next page guesses.
  }
}
