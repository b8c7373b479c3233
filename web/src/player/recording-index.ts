/** Index of a recording's segments, read from a media playlist, to find a moment and its picture. Pure. */

export interface Entry {
  /** Wall clock at its start, milliseconds since 1970. */
  startMs: number;
  durationMs: number;
  /** Media time from the start of the playlist, seconds. */
  offsetSeconds: number;
  epoch: number;
  /** Media sequence number. */
  msn: number;
  isGap: boolean;
}

/** Most entries: a day of segments of two seconds. */
const ENTRIES_MAX = 43_200;

/** URI of a segment: `7/1234.m4s` is segment 1234 of epoch 7. */
const SEGMENT = /(\d+)\/(\d+)\.m4s(?:\?.*)?$/;

/** The closed segments of a playlist, oldest first, without parts. */
export function readIndex(text: string): Entry[] {
  const entries: Entry[] = [];
  let dateMs: number | null = null;
  let durationMs = 0;
  let offsetMs = 0;
  let isGap = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) dateMs = Date.parse(line.slice(line.indexOf(':') + 1));
    else if (line.startsWith('#EXTINF:')) durationMs = 1_000 * Number.parseFloat(line.slice(8));
    else if (line.startsWith('#EXT-X-GAP')) isGap = true;
    const [, epoch, msn] = line.startsWith('#') ? [] : (SEGMENT.exec(line.trim()) ?? []);
    if (epoch === undefined || msn === undefined) continue;
    if (dateMs !== null && Number.isFinite(dateMs) && durationMs > 0) {
      const offsetSeconds = offsetMs / 1_000;
      entries.push({
        startMs: dateMs,
        durationMs,
        offsetSeconds,
        epoch: Number(epoch),
        msn: Number(msn),
        isGap,
      });
    }
    // A segment without a date begins where the one before ends.
    if (dateMs !== null) dateMs += durationMs;
    offsetMs += durationMs;
    durationMs = 0;
    isGap = false;
    if (entries.length === ENTRIES_MAX) break;
  }
  return entries;
}

/** The segment at a moment or, in a hole, the next one; null after the last. */
export function entryAt(entries: Entry[], atMs: number): Entry | null {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry && entry.startMs + entry.durationMs <= atMs) low = middle + 1;
    else high = middle;
  }
  return entries[low] ?? null;
}

/** Media time of a moment from the start of the playlist, seconds; null after the last segment. */
export function offsetAt(entries: Entry[], atMs: number): number | null {
  const entry = entryAt(entries, atMs);
  return entry && entry.offsetSeconds + Math.max(0, atMs - entry.startMs) / 1_000;
}

/** URL of a segment's picture, from the node's template; null for a gap, which has none. */
export function thumbnailUrl(template: string, entry: Entry): string | null {
  if (entry.isGap) return null;
  return template.replace('{epoch}', String(entry.epoch)).replace('{msn}', String(entry.msn));
}
