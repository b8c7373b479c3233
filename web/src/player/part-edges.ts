/**
 * Finds where the next part begins, with room for the rounding of times.
 *
 * While hls.js 1.7.4 loads parts, it takes the next fragment once the buffer reaches to within 1.5 µs of the end of the one before. After
 * a change of pathway, only the playlist states that end, and it is nearly always off by more. A playlist states parts in whole
 * microseconds, eight to a segment. A browser cuts the end of its buffer to whole microseconds. hls.js aligns audio with video by their
 * dates, which are in whole milliseconds. hls.js then loads nothing until the next fragment is complete, or until the pathway changes
 * again. Remove this when hls.js allows for more.
 */

import Hls, { type Fragment, type LevelDetails, type MediaFragment, type StreamController } from 'hls.js';
import { keepKnownPlaylists } from './left-levels';

/** Two roundings of dates and sixteen of parts; far less than a frame. Seconds. */
const ROUNDING = 0.002_016;

/** The end of the buffer; moved past the end of the previous fragment where only rounding separates the two. Pure. */
export function roundedEnd(bufferEnd: number, previousEnd: number | undefined): number {
  const beyond = (previousEnd ?? Number.NEGATIVE_INFINITY) - bufferEnd;
  return beyond > 0 && beyond < ROUNDING ? bufferEnd + ROUNDING : bufferEnd;
}

/**
 * Whether `segment` is already loaded from another rung, to the end of the buffer. hls.js chooses it again because it changed rung there
 * and the next segment is not listed yet. Loading it would replace frames that the browser is decoding. Pure.
 */
export function isLoaded(
  segment: Pick<Fragment, 'sn' | 'level' | 'end'>,
  previous: Pick<Fragment, 'sn' | 'level'> | null,
  bufferEnd: number,
): boolean {
  const isSame = segment.sn === previous?.sn && segment.level !== previous.level;
  return isSame && segment.end - bufferEnd < ROUNDING;
}

/** hls.js's loading of video, with that rounding. `prompt-audio.ts` has its loading of audio. */
export function roundedVideo(): typeof StreamController {
  return class extends Hls.DefaultConfig.streamController {
    constructor(...args: ConstructorParameters<typeof StreamController>) {
      super(...args);
      keepKnownPlaylists(args[0]);
    }

    protected override getFragmentAtPosition(
      bufferEnd: number,
      end: number,
      details: LevelDetails,
    ): MediaFragment | null {
      const previous = this.fragPrevious;
      const at = (position: number): MediaFragment | null =>
        super.getFragmentAtPosition(position, end, details);
      const rounded = roundedEnd(bufferEnd, previous?.end);
      const isDone = (segment: MediaFragment): boolean =>
        segment !== details.fragmentHint && isLoaded(segment, previous, rounded);
      const segment = at(rounded);
      if (!segment || !isDone(segment)) return segment;
      // Listed and loaded durations differ, so the next segment may be listed.
      const next = at(segment.end + ROUNDING);
      return next && !isDone(next) ? next : null;
    }
  };
}
