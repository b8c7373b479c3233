import { describe, expect, it } from 'vitest';
import { levelBelow, QuickParts, tooSlow } from '../src/player/transfers';

/** Half a second of 2.4 Mbit/s. */
const BYTES = 150_000;

const HALF_SECOND = 0.5;
const RUNG = 2_400_000;

describe('tooSlow', () => {
  it('says_what_a_link_carries_that_fell_in_the_middle_of_a_part', () => {
    const fell = { bytes: 45_000, total: BYTES, ms: 300, recent: 1_200_000 };
    expect(tooSlow(fell, HALF_SECOND, RUNG)).toBe(1_200_000);
    expect(tooSlow({ bytes: BYTES, total: BYTES, ms: 1_000, recent: 0 }, HALF_SECOND, RUNG)).toBe(1_200_000);
  });

  it('does_not_judge_what_has_just_begun_or_grows_its_window', () => {
    expect(tooSlow({ bytes: 0, total: 0, ms: 900, recent: 0 }, HALF_SECOND, RUNG)).toBeNull();
    expect(tooSlow({ bytes: 15_000, total: BYTES, ms: 200, recent: 600_000 }, HALF_SECOND, RUNG)).toBeNull();
    expect(
      tooSlow({ bytes: 98_000, total: BYTES, ms: 310, recent: 3_000_000 }, HALF_SECOND, RUNG),
    ).toBeNull();
  });

  it('takes_no_pause_for_a_slow_link', () => {
    expect(tooSlow({ bytes: 4_000, total: BYTES, ms: 320, recent: 0 }, HALF_SECOND, RUNG)).toBeNull();
    expect(
      tooSlow({ bytes: 40_000, total: BYTES, ms: 400, recent: 8_000_000 }, HALF_SECOND, RUNG),
    ).toBeNull();
    // A part that does not end is slow, too.
    expect(tooSlow({ bytes: 4_000, total: BYTES, ms: 640, recent: 0 }, HALF_SECOND, RUNG)).toBe(50_000);
  });

  it('goes_by_the_bandwidth_of_the_rung_where_a_part_has_no_length_yet', () => {
    const unknown = { bytes: 45_000, total: 0, ms: 300, recent: 1_200_000 };
    expect(tooSlow(unknown, HALF_SECOND, RUNG)).toBe(1_200_000);
    expect(tooSlow(unknown, HALF_SECOND, 800_000)).toBeNull();
  });
});

describe('QuickParts', () => {
  /** A part of 60 kB that takes `ms`. */
  const part = (ms: number) => ({ bytes: 60_000, ms });

  it('believes_six_quick_parts_in_a_row', () => {
    const quick = new QuickParts();
    const said = [60, 60, 60, 80, 60, 60].map((ms) => quick.add(part(ms), 1_200_000));
    expect(said).toEqual([null, null, null, null, null, 6_000_000]);
    expect(quick.add(part(60), 6_000_000)).toBeNull();
  });

  it('does_not_believe_them_when_one_was_slow_and_bounds_what_took_no_time', () => {
    const quick = new QuickParts();
    const said = [60, 60, 60, 400, 60, 60, 60, 60, 60].map((ms) => quick.add(part(ms), 1_200_000));
    expect(said.every((rate) => rate === null)).toBe(true);
    const local = new QuickParts();
    expect(Array.from({ length: 6 }, () => local.add(part(0), 1_000_000)).at(-1)).toBe(9_600_000);
  });
});

describe('levelBelow', () => {
  const BITRATES = [900_000, 1_400_000, 2_900_000];

  it('is_the_highest_that_leaves_a_fifth_of_the_link_free', () => {
    expect(levelBelow(BITRATES, 2, 2_000_000)).toBe(1);
    expect(levelBelow(BITRATES, 2, 1_500_000)).toBe(0);
  });

  it('is_always_lower_and_at_least_the_lowest', () => {
    expect(levelBelow(BITRATES, 2, 100_000_000)).toBe(1);
    expect(levelBelow(BITRATES, 1, 100_000)).toBe(0);
  });
});
