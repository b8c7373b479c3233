/**
 * Where the next part begins, without hls.js's rounding.
 *
 * While hls.js 1.7.4 loads parts it takes the next fragment once the buffer reaches to within 1.5 µs of the end of the one before. After a
 * change of pathway that end is known from the playlist alone, and nearly always off by more: a playlist states parts in whole
 * microseconds, eight to a segment, a browser cuts its buffer off to whole ones, and hls.js moves sound along pictures with each playlist
 * by their dates, which are in whole milliseconds. Then nothing is loaded until the next fragment is complete, or no more at all until the
 * pathway changes again. To be left out when hls.js allows for more.
 */

import Hls, { type Fragment, type LevelDetails, type MediaFragment, type StreamController } from 'hls.js';
import { keepKnownPlaylists } from './left-levels';

/** Two roundings of dates and sixteen of parts, and far less than a frame. Seconds. */
const ROUNDING = 0.002_016;

/** The end of the buffer, or that of the fragment before where the two are the same but for rounding. Pure. */
export function roundedEnd(bufferEnd: number, previousEnd: number | undefined): number {
  const beyond = (previousEnd ?? Number.NEGATIVE_INFINITY) - bufferEnd;
  return beyond > 0 && beyond < ROUNDING ? bufferEnd + ROUNDING : bufferEnd;
}

/**
 * Whether what is loaded ends with a whole segment that hls.js takes up again only because it changed rung there: the next one is not listed
 * yet. Loading it would put old pictures where those are that the browser decodes. Pure.
 */
export function isLoaded(
  segment: Pick<Fragment, 'sn' | 'level' | 'end'>,
  previous: Pick<Fragment, 'sn' | 'level'> | null,
  bufferEnd: number,
): boolean {
  const isSame = segment.sn === previous?.sn && segment.level !== previous.level;
  return isSame && segment.end - bufferEnd < ROUNDING;
}

/** hls.js's loading of pictures with that; its loading of sound is in `prompt-audio.ts`. */
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
      // Listed lengths and loaded ones differ: the next may be there.
      const next = at(segment.end + ROUNDING);
      return next && !isDone(next) ? next : null;
    }
  };
}
