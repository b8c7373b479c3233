import { describe, expect, it } from 'vitest';
import { endsSegment, RiseWait } from '../src/player/rises';

describe('endsSegment', () => {
  const details = { fragments: [{ end: 4 }, { end: 8.000_1 }] } as Parameters<typeof endsSegment>[1];

  it('is_true_where_the_buffer_ends_with_a_segment', () => {
    expect(endsSegment(8, details)).toBe(true);
    expect(endsSegment(3.999, details)).toBe(true);
  });

  it('is_false_in_the_middle_of_one_and_beyond_all', () => {
    expect(endsSegment(7.8, details)).toBe(false);
    expect(endsSegment(8.5, details)).toBe(false);
    // One frame is missing.
    expect(endsSegment(7.967, details)).toBe(false);
    expect(endsSegment(1, details)).toBe(false);
  });
});

describe('RiseWait', () => {
  it('lets_falls_and_rises_between_segments_pass', () => {
    const wait = new RiseWait();
    expect(wait.waits('none', 0)).toBe(false);
    expect(wait.waits('between-segments', 0)).toBe(false);
    expect(wait.waits('within-a-segment', 0)).toBe(true);
  });

  it('waits_ten_seconds_at_most_and_anew_for_the_next', () => {
    const wait = new RiseWait();
    const waited = (from: number, to: number): boolean[] =>
      Array.from({ length: (to - from) / 500 + 1 }, (_, look) =>
        wait.waits('within-a-segment', from + 500 * look),
      );
    expect(waited(1_000, 10_500).every(Boolean)).toBe(true);
    expect(waited(11_000, 12_000).some(Boolean)).toBe(false);
    expect(wait.waits('between-segments', 12_100)).toBe(false);
    expect(wait.waits('within-a-segment', 12_200)).toBe(true);
  });

  it('begins_anew_where_nobody_asked_for_a_while', () => {
    const wait = new RiseWait();
    expect(wait.waits('within-a-segment', 1_000)).toBe(true);
    expect(wait.waits('within-a-segment', 20_000)).toBe(true);
  });
});
