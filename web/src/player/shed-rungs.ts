/**
 * Leaves a rung that the ingest has shed as soon as its playlist says so.
 *
 * An overloaded ingest lists a shed rung's parts as gaps. hls.js 1.7.4 waits until a whole segment is a gap before it changes level; near
 * the live edge the buffer is empty by then. An outage lists gaps in every rendition, and no level is better than another: sound tells
 * the two apart, because a shed rung's sound goes on.
 */

import type Hls from 'hls.js';
import {
  type ErrorData,
  ErrorDetails,
  ErrorTypes,
  Events,
  type LevelDetails,
  type MediaFragment,
} from 'hls.js';

/** Renditions that are cut at the same instants differ by up to a frame of sound. Seconds. */
const CUT_DIFFERENCE = 0.1;

/** Of hls.js's `Part`: seconds on the player's timeline. */
export interface ListedPart {
  start: number;
  end: number;
  gap: boolean;
}

/** The first part of the gap that a list ends with; null when its newest part is media. Pure. */
export function openGap<P extends ListedPart>(parts: readonly P[]): P | null {
  return parts[parts.findLastIndex(({ gap }) => !gap) + 1] ?? null;
}

/** Whether a gap that begins at `start` is this rung's alone. `sound` is null for a stream without a rendition of sound. Pure. */
export function isShed(start: number, sound: readonly ListedPart[] | null): boolean {
  const newest = sound?.findLast(({ gap }) => !gap);
  return sound === null || (newest !== undefined && newest.end > start + CUT_DIFFERENCE);
}

/** What hls.js reports when it reaches a gap that is as long as a segment: it then changes level and stays away for a while. */
function gapError(frag: MediaFragment): ErrorData {
  const error = new Error(`rendition ${frag.level} ends in a gap`);
  return { type: ErrorTypes.MEDIA_ERROR, details: ErrorDetails.FRAG_GAP, fatal: false, error, frag };
}

/** Reports the gap that the playlist of the level being loaded ends with, once for each time that level is chosen. */
export function leaveShedRungs(hls: Hls): void {
  let reported = false;
  const check = (details: LevelDetails | null): void => {
    const gap = openGap(details?.partList ?? []);
    if (reported || !gap || !details?.live || gap.fragment.level !== hls.loadLevel) return;
    const track = hls.audioTracks[hls.audioTrack];
    if (!isShed(gap.start, track ? (track.details?.partList ?? []) : null)) return;
    reported = true;
    // hls.js forgets an error of the level with its next playlist, which loads well; one of its media it remembers.
    const level = hls.levels[hls.loadLevel];
    if (level) level.fragmentError += 1;
    hls.trigger(Events.ERROR, gapError(gap.fragment));
  };
  hls.on(Events.LEVEL_SWITCHING, () => {
    reported = false;
  });
  hls.on(Events.LEVEL_UPDATED, (_, { details }) => check(details));
  hls.on(Events.AUDIO_TRACK_UPDATED, () => check(hls.latestLevelDetails));
}
