import { describe, expect, it } from 'vitest';
import { STALL_MS_MIN, StallMeter } from '../src/player/stalls';

/** Feeds samples 100 ms apart: a number is a position, `p` is a pause. */
function run(samples: (number | 'p')[]): StallMeter {
  const meter = new StallMeter();
  let position = 0;
  samples.forEach((sample, index) => {
    if (sample !== 'p') position = sample;
    meter.sample({ nowMs: 1_000 + index * 100, position, shouldMove: sample !== 'p' });
  });
  return meter;
}

describe('StallMeter', () => {
  it('starting_up_is_no_stall', () => {
    expect(run(Array(50).fill(0)).stats()).toEqual({ count: 0, totalMs: 0, longestMs: 0, now: false });
  });

  it('a_standstill_shorter_than_the_threshold_does_not_count', () => {
    expect(STALL_MS_MIN).toBe(300);
    expect(run([0, 1, 1, 1, 2]).stats().count).toBe(0);
  });

  it('a_stall_counts_once_with_its_whole_length', () => {
    expect(run([0, 1, 1, 1, 1, 1, 1, 2]).stats()).toEqual({
      count: 1,
      totalMs: 500,
      longestMs: 500,
      now: false,
    });
  });

  it('a_stall_under_way_is_in_the_total', () => {
    expect(run([0, 1, 1, 1, 1, 1]).stats()).toEqual({ count: 1, totalMs: 400, longestMs: 400, now: true });
  });

  it('two_stalls_add_up', () => {
    const stats = run([0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]).stats();
    expect(stats).toEqual({ count: 2, totalMs: 700, longestMs: 400, now: false });
  });

  it('a_pause_is_no_stall', () => {
    expect(run([0, 1, 'p', 'p', 'p', 'p', 'p', 2, 3]).stats().count).toBe(0);
  });

  it('a_pause_ends_a_stall', () => {
    const stats = run([0, 1, 1, 1, 1, 'p', 'p', 'p', 'p', 2]).stats();
    expect(stats).toEqual({ count: 1, totalMs: 300, longestMs: 300, now: false });
  });
});
