/** Stores the measured bandwidth from page to page, so that the next stream starts on the right rung. */

const KEY = 'sealcast-bandwidth';
/** First guess, bit/s: a middle rung instead of the lowest. */
const GUESS = 3_000_000;
/** Plausible bandwidths; other stored values are ignored. Bit/s. */
const RANGE = { min: 100_000, max: 100_000_000 };

export function rememberedBandwidth(): number {
  try {
    const stored = Number(localStorage.getItem(KEY));
    return stored >= RANGE.min && stored <= RANGE.max ? stored : GUESS;
  } catch {
    // The browser may forbid storage.
    return GUESS;
  }
}

/** Shortest interval between two writes, because the store is a file. Milliseconds. */
const WRITE_MS = 10_000;
let writtenAtMs = Number.NEGATIVE_INFINITY;

export function rememberBandwidth(bitsPerSecond: number): void {
  const now = performance.now();
  if (!Number.isFinite(bitsPerSecond) || now - writtenAtMs < WRITE_MS) return;
  writtenAtMs = now;
  try {
    localStorage.setItem(KEY, String(Math.round(bitsPerSecond)));
  } catch {
    // Without storage, the next page guesses.
  }
}
