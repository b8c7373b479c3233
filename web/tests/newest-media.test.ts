import { describe, expect, it } from 'vitest';
import { newestMedia, UNHEARD_SECONDS_MAX } from '../src/player/newest-media';

const segments = [{ end: 4 }, { end: 8 }];
const parts = [{ end: 8 }, { end: 8.5 }];
const playlist = (partList: { end: number; gap?: boolean }[] | null, live = true) => ({
  live,
  fragments: segments,
  partList,
});

describe('newestMedia', () => {
  it('is_the_end_of_the_newest_part_of_any_rendition', () => {
    expect(newestMedia([playlist(parts), playlist([{ end: 9 }])], 0)).toBe(9);
    expect(newestMedia([playlist(null), undefined], 0)).toBe(8);
  });

  it('leaves_gaps_out', () => {
    expect(newestMedia([playlist([{ end: 8 }, { end: 8.5, gap: true }])], 0)).toBe(8);
    expect(newestMedia([playlist([{ end: 8.5, gap: true }])], 0)).toBe(8);
  });

  it('grows_while_a_live_playlist_is_not_heard_of', () => {
    expect(newestMedia([playlist(parts)], UNHEARD_SECONDS_MAX + 2)).toBe(10.5);
    expect(newestMedia([playlist(parts, false)], UNHEARD_SECONDS_MAX + 2)).toBe(8.5);
  });

  it('is_null_without_a_playlist', () => {
    expect(newestMedia([null, undefined], 60)).toBeNull();
  });
});
