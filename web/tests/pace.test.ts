import { describe, expect, it } from 'vitest';
import { pace } from '../src/player/pace';

/** A viewer who joined long ago, with much media buffered, `behind` seconds behind the target. */
const at = (behind: number, more: object = {}) => ({
  latencySeconds: 2 + behind,
  targetSeconds: 2,
  bufferSeconds: 1.5,
  playedMs: 60_000,
  ...more,
});

describe('pace', () => {
  it('is_one_near_the_aim', () => {
    for (const behind of [-0.09, 0, 0.04]) expect(pace(1, at(behind))).toBe(1);
  });

  it('catches_up_faster_after_a_join', () => {
    expect(pace(1, at(2))).toBe(1.05);
    expect(pace(1, at(2, { playedMs: 3_000 }))).toBe(1.15);
    expect(pace(1, at(0.1))).toBeCloseTo(1.05);
  });

  it('does_not_catch_up_out_of_an_empty_buffer_or_from_far_away', () => {
    expect(pace(1, at(2, { bufferSeconds: 0.9 }))).toBe(1);
    expect(pace(1.05, at(6))).toBe(1);
  });

  it('saves_what_there_is_when_that_is_next_to_nothing', () => {
    expect(pace(1, at(-0.5, { bufferSeconds: 0.1 }))).toBe(0.85);
    expect(pace(0.85, at(-0.5, { bufferSeconds: 0.6 }))).toBe(0.95);
    expect(pace(1, at(0.5, { bufferSeconds: 0.1 }))).toBe(1);
  });

  it('falls_back_until_the_aim_is_reached', () => {
    const rates: number[] = [];
    let rate = 1;
    for (let behind = -0.6; behind < 0.02; behind += 0.005) {
      rate = pace(rate, at(behind, { bufferSeconds: 0.4 }));
      rates.push(rate);
    }
    const reached = rates.indexOf(1);
    expect(rates.slice(0, reached).every((each) => each === 0.95)).toBe(true);
    expect(rates.slice(reached).every((each) => each === 1)).toBe(true);
    expect(-0.6 + reached * 0.005).toBeGreaterThan(-0.05);
  });
});
