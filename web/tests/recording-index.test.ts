import { describe, expect, it } from 'vitest';
import { entryAt, offsetAt, readIndex, thumbnailUrl } from '../src/player/recording-index';

const START = Date.parse('2026-01-01T00:00:00.000Z');

const PLAYLIST = `#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-MAP:URI="1/init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z
#EXTINF:4.000000,
1/10.m4s
#EXTINF:4.000000,
1/11.m4s
#EXT-X-GAP
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:08.000Z
#EXTINF:2.000000,
1/12.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="2/init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T01:00:00.000Z
#EXT-X-PART:DURATION=0.5,URI="2/13.0.m4s",INDEPENDENT=YES
#EXTINF:4.000000,
2/13.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T01:00:04.000Z
#EXT-X-PART:DURATION=0.5,URI="2/14.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="2/14.1.m4s"
`;

describe('readIndex', () => {
  const entries = readIndex(PLAYLIST);

  it('lists_closed_segments_with_their_times', () => {
    expect(entries.map(({ msn, epoch }) => [epoch, msn])).toEqual([
      [1, 10],
      [1, 11],
      [1, 12],
      [2, 13],
    ]);
    expect(entries.map(({ startMs }) => (startMs - START) / 1_000)).toEqual([0, 4, 8, 3_600]);
    expect(entries.map(({ offsetSeconds }) => offsetSeconds)).toEqual([0, 4, 8, 10]);
    expect(entries.map(({ isGap }) => isGap)).toEqual([false, false, true, false]);
  });

  it('finds_nothing_in_what_is_not_a_playlist', () => {
    expect(readIndex('')).toEqual([]);
    expect(readIndex('<p>1/2.m4s')).toEqual([]);
    expect(readIndex('#EXTINF:4,\n1/2.m4s')).toEqual([]);
    expect(readIndex('#EXT-X-PROGRAM-DATE-TIME:yesterday\n#EXTINF:4,\n1/2.m4s')).toEqual([]);
  });

  it('a_moment_is_in_the_segment_that_holds_it', () => {
    expect(entryAt(entries, START)?.msn).toBe(10);
    expect(entryAt(entries, START + 3_999)?.msn).toBe(10);
    expect(entryAt(entries, START + 4_000)?.msn).toBe(11);
    expect(entryAt(entries, START - 60_000)?.msn).toBe(10);
  });

  it('a_moment_between_two_sessions_is_where_the_next_begins', () => {
    expect(entryAt(entries, START + 600_000)?.msn).toBe(13);
    expect(offsetAt(entries, START + 600_000)).toBe(10);
    expect(entryAt(entries, START + 3_604_000)).toBeNull();
    expect(offsetAt(entries, START + 3_604_000)).toBeNull();
  });

  it('media_time_goes_on_over_a_break', () => {
    expect(offsetAt(entries, START + 6_500)).toBe(6.5);
    expect(offsetAt(entries, START + 3_601_000)).toBe(11);
  });
});

describe('thumbnailUrl', () => {
  const template = '/live/demo/360p/{epoch}/{msn}.jpg';

  it('fills_in_epoch_and_segment_and_knows_that_a_gap_has_none', () => {
    const entries = readIndex(PLAYLIST);
    const urls = entries.map((entry) => thumbnailUrl(template, entry));
    expect(urls).toEqual([
      '/live/demo/360p/1/10.jpg',
      '/live/demo/360p/1/11.jpg',
      null,
      '/live/demo/360p/2/13.jpg',
    ]);
  });
});
