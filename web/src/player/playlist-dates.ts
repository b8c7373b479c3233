/** From wall-clock moments to places on hls.js's timeline and back, by EXT-X-PROGRAM-DATE-TIME. Pure. */

import type { Span } from './engine';

/** What is used of hls.js's `Fragment`. */
interface DatedSegment {
  /** Place on the timeline, and length, seconds. */
  start: number;
  duration: number;
  programDateTime: number | null;
}

/** What is used of hls.js's `LevelDetails`. */
export interface DatedPlaylist {
  fragments: DatedSegment[];
  /** The segment that has only parts yet. */
  fragmentHint?: DatedSegment | undefined;
}

function segments({ fragments, fragmentHint }: DatedPlaylist): DatedSegment[] {
  return fragmentHint?.programDateTime ? [...fragments, fragmentHint] : fragments;
}

function endMs({ programDateTime, duration }: DatedSegment): number | null {
  return programDateTime === null ? null : programDateTime + 1_000 * duration;
}

/** What a playlist lists, from its dates; null when it has none. */
export function spanOf(playlist: DatedPlaylist | null, positionMs: number | null): Span | null {
  if (!playlist) return null;
  const all = segments(playlist);
  const startMs = all[0]?.programDateTime ?? null;
  const last = all.at(-1);
  const end = last ? endMs(last) : null;
  return startMs === null || end === null ? null : { startMs, endMs: end, positionMs };
}

/** Where a moment is, seconds; at the next segment when there is none at it. Null when the playlist does not reach to it. */
export function positionOf(playlist: DatedPlaylist | null, dateMs: number): number | null {
  if (!playlist) return null;
  const all = segments(playlist);
  const first = all[0]?.programDateTime ?? null;
  if (first === null || dateMs < first) return null;
  const found = all.find((segment) => dateMs < (endMs(segment) ?? Number.NEGATIVE_INFINITY));
  if (!found || found.programDateTime === null) return null;
  return found.start + Math.max(0, dateMs - found.programDateTime) / 1_000;
}
