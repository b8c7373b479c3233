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
    // One picture is missing.
    expect(endsSegment(7.967, details)).toBe(false);
  });
});

describe('RiseWait', () => {
  it('lets_falls_and_rises_between_segments_pass', () => {
    const wait = new RiseWait();
    expect(wait.waits(false, false, 0)).toBe(false);
    expect(wait.waits(true, true, 0)).toBe(false);
    expect(wait.waits(true, false, 0)).toBe(true);
  });

  it('waits_ten_seconds_at_most_and_anew_for_the_next', () => {
    const wait = new RiseWait();
    expect(wait.waits(true, false, 1_000)).toBe(true);
    expect(wait.waits(true, false, 10_999)).toBe(true);
    expect(wait.waits(true, false, 11_000)).toBe(false);
    expect(wait.waits(true, true, 11_100)).toBe(false);
    expect(wait.waits(true, false, 12_000)).toBe(true);
  });
});
