import { describe, expect, it } from 'vitest';
import { isLoaded, roundedEnd } from '../src/player/part-edges';

describe('roundedEnd', () => {
  it('is_past_the_fragment_before_where_only_rounding_is_between', () => {
    expect(roundedEnd(15.999999, 16.000002)).toBeGreaterThan(16.000002);
    expect(roundedEnd(15.999999, 16.001)).toBeGreaterThan(16.001);
  });

  it('is_the_end_of_the_buffer_otherwise', () => {
    expect(roundedEnd(15.99, 16)).toBe(15.99);
    expect(roundedEnd(16, 16)).toBe(16);
    expect(roundedEnd(16.5, 16)).toBe(16.5);
    expect(roundedEnd(3, undefined)).toBe(3);
  });
});

describe('isLoaded', () => {
  const previous = { sn: 3, level: 0 };

  it('is_true_of_a_whole_segment_that_another_rung_has_brought', () => {
    expect(isLoaded({ sn: 3, level: 1, end: 16 }, previous, 15.999_9)).toBe(true);
  });

  it('is_false_of_what_is_loaded_in_part_and_of_the_same_rung', () => {
    expect(isLoaded({ sn: 3, level: 1, end: 16 }, previous, 15.5)).toBe(false);
    expect(isLoaded({ sn: 3, level: 0, end: 16 }, previous, 16)).toBe(false);
    expect(isLoaded({ sn: 4, level: 1, end: 16 }, previous, 16)).toBe(false);
    expect(isLoaded({ sn: 3, level: 1, end: 16 }, null, 16)).toBe(false);
  });
});
