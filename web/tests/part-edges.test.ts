import { describe, expect, it } from 'vitest';
import { roundedEnd } from '../src/player/part-edges';

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
