import { describe, expect, it } from 'vitest';
import { positionOf, spanOf } from '../src/player/playlist-dates';

const T = Date.parse('2026-01-01T00:00:00Z');
const segment = (start: number, atMs: number | null, duration = 4) => ({
  start,
  duration,
  programDateTime: atMs,
});
/** Two segments, an hour without the stream, one segment, and an open one. */
const playlist = {
  fragments: [segment(100, T), segment(104, T + 4_000), segment(108, T + 3_600_000)],
  fragmentHint: segment(112, T + 3_604_000, 1.5),
};

describe('spanOf', () => {
  it('goes_from_the_first_segment_to_the_newest_part', () => {
    expect(spanOf(playlist, T + 1)).toEqual({ startMs: T, endMs: T + 3_605_500, positionMs: T + 1 });
    expect(spanOf({ fragments: playlist.fragments }, null)?.endMs).toBe(T + 3_604_000);
  });

  it('is_nothing_without_dates', () => {
    expect(spanOf(null, null)).toBeNull();
    expect(spanOf({ fragments: [] }, null)).toBeNull();
    expect(spanOf({ fragments: [segment(0, null)] }, null)).toBeNull();
  });
});

describe('positionOf', () => {
  it('finds_a_moment', () => {
    expect(positionOf(playlist, T)).toBe(100);
    expect(positionOf(playlist, T + 5_500)).toBe(105.5);
    expect(positionOf(playlist, T + 3_605_000)).toBe(113);
  });

  it('goes_to_the_next_segment_where_there_is_none', () => {
    expect(positionOf(playlist, T + 600_000)).toBe(108);
  });

  it('finds_nothing_before_and_after', () => {
    expect(positionOf(playlist, T - 1)).toBeNull();
    expect(positionOf(playlist, T + 3_606_000)).toBeNull();
    expect(positionOf(null, T)).toBeNull();
  });
});
