/** What is kept of a stream, segment by segment, from a media playlist: to find a moment, and its picture. Pure. */

export interface Entry {
  /** Wall clock at its begin, milliseconds since 1970. */
  startMs: number;
  durationMs: number;
  /** Media time from the begin of the playlist, seconds. */
  offsetSeconds: number;
  epoch: number;
  /** Media sequence number. */
  msn: number;
  isGap: boolean;
}

/** A day of segments of two seconds. */
const ENTRIES_MAX = 43_200;

/** `7/1234.m4s` is segment 1234 of epoch 7. */
const SEGMENT = /(\d+)\/(\d+)\.m4s(?:\?.*)?$/;

/** The closed segments of a playlist, oldest first. Parts are not of interest here. */
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
    // Without a date of its own, a segment follows the one before.
    if (dateMs !== null) dateMs += durationMs;
    offsetMs += durationMs;
    durationMs = 0;
    isGap = false;
    if (entries.length === ENTRIES_MAX) break;
  }
  return entries;
}

/** The segment at a moment, or the next one where there is none at it; null after the last. */
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

/** Media time of a moment from the begin of the playlist, seconds; null after the last segment. */
export function offsetAt(entries: Entry[], atMs: number): number | null {
  const entry = entryAt(entries, atMs);
  return entry && entry.offsetSeconds + Math.max(0, atMs - entry.startMs) / 1_000;
}

/** The picture of a segment, from the address the node gives for all of them; null for a gap, which has none. */
export function thumbnailUrl(template: string, entry: Entry): string | null {
  if (entry.isGap) return null;
  return template.replace('{epoch}', String(entry.epoch)).replace('{msn}', String(entry.msn));
}
