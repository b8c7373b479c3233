import Hls, { Events, type LevelDetails, type LevelLoadedData } from 'hls.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { roundedVideo } from '../src/player/part-edges';

/** An unmerged delta update of a level that was left: it has holes for the segments that it skips. */
const orphan = () => ({ live: true, fragments: [null, { start: 4 }], skippedSegments: 1 });

describe('a delta update of a level that was left', () => {
  beforeEach(() => vi.stubGlobal('self', globalThis));
  afterEach(() => vi.unstubAllGlobals());

  it('does_not_reach_the_loading_of_sound', () => {
    const hls = new Hls({ streamController: roundedVideo() });
    const known = { live: true, fragments: [{ start: 0 }] } as LevelDetails;
    hls.trigger(Events.LEVEL_LOADED, {
      level: 1,
      levelInfo: { details: known },
      details: orphan(),
      deliveryDirectives: { skip: 'YES' },
      stats: { loading: { start: 0, first: 0, end: 0 } },
    } as unknown as LevelLoadedData);
    const sound: unknown = Reflect.get(hls, 'audioStreamController');
    expect(Reflect.get(sound as object, 'mainDetails')).toBe(known);
    hls.destroy();
  });
});
