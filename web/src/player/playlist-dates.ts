/** Converts between wall-clock moments and hls.js's timeline, by EXT-X-PROGRAM-DATE-TIME. Pure. */

import type { Span } from './engine';

/** The fields used of hls.js's `Fragment`. */
interface DatedSegment {
  /** Position on the timeline, and duration, seconds. */
  start: number;
  duration: number;
  programDateTime: number | null;
}

/** The fields used of hls.js's `LevelDetails`. */
export interface DatedPlaylist {
  fragments: DatedSegment[];
  /** The open segment, which has only parts so far. */
  fragmentHint?: DatedSegment | undefined;
}

function segments({ fragments, fragmentHint }: DatedPlaylist): DatedSegment[] {
  return fragmentHint?.programDateTime ? [...fragments, fragmentHint] : fragments;
}

function endMs({ programDateTime, duration }: DatedSegment): number | null {
  return programDateTime === null ? null : programDateTime + 1_000 * duration;
}

/** The wall-clock range of a playlist; null when it has no dates. */
export function spanOf(playlist: DatedPlaylist | null, positionMs: number | null): Span | null {
  if (!playlist) return null;
  const all = segments(playlist);
  const startMs = all[0]?.programDateTime ?? null;
  const last = all.at(-1);
  const end = last ? endMs(last) : null;
  return startMs === null || end === null ? null : { startMs, endMs: end, positionMs };
}

/** Position of a moment on the timeline, seconds; in a hole, that of the next segment. Null when the playlist does not reach it. */
export function positionOf(playlist: DatedPlaylist | null, dateMs: number): number | null {
  if (!playlist) return null;
  const all = segments(playlist);
  const first = all[0]?.programDateTime ?? null;
  if (first === null || dateMs < first) return null;
  const found = all.find((segment) => dateMs < (endMs(segment) ?? Number.NEGATIVE_INFINITY));
  if (!found || found.programDateTime === null) return null;
  return found.start + Math.max(0, dateMs - found.programDateTime) / 1_000;
}
