/**
 * Leaves a rung that the ingest has shed as soon as its playlist says so.
 *
 * The playlist lists the parts of a rung that an overloaded ingest sheds as gaps. hls.js 1.7.4 waits for a gap of a whole segment before
 * it changes level; near the live edge, the buffer is empty by then. In an outage every rendition has gaps, and no level is better than
 * another. Audio tells the two apart, because it goes on when a rung is shed.
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

/** Renditions are cut at the same times, up to a frame of audio. Seconds. */
const CUT_DIFFERENCE = 0.1;

/** The fields used of hls.js's `Part`; seconds on the player's timeline. */
export interface ListedPart {
  start: number;
  end: number;
  gap: boolean;
}

/** The first part of the gap at the end of a list; null when the newest part is media. Pure. */
export function openGap<P extends ListedPart>(parts: readonly P[]): P | null {
  return parts[parts.findLastIndex(({ gap }) => !gap) + 1] ?? null;
}

/** Whether only this rung has the gap that begins at `start`. `sound` is null for a stream without an audio rendition. Pure. */
export function isShed(start: number, sound: readonly ListedPart[] | null): boolean {
  const newest = sound?.findLast(({ gap }) => !gap);
  return sound === null || (newest !== undefined && newest.end > start + CUT_DIFFERENCE);
}

/** The error that hls.js reports at a gap as long as a segment. It then changes level and avoids the old one for a while. */
function gapError(frag: MediaFragment): ErrorData {
  const error = new Error(`rendition ${frag.level} ends in a gap`);
  return { type: ErrorTypes.MEDIA_ERROR, details: ErrorDetails.FRAG_GAP, fatal: false, error, frag };
}

/** Reports the gap at the end of the playlist that is being loaded, once each time that a level is chosen. */
export function leaveShedRungs(hls: Hls): void {
  let reported = false;
  const check = (details: LevelDetails | null): void => {
    const gap = openGap(details?.partList ?? []);
    if (reported || !gap || !details?.live || gap.fragment.level !== hls.loadLevel) return;
    const track = hls.audioTracks[hls.audioTrack];
    if (!isShed(gap.start, track ? (track.details?.partList ?? []) : null)) return;
    reported = true;
    // hls.js forgets a level's load errors when its next playlist loads, but remembers errors of its media.
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
