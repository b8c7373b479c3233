import { describe, expect, it } from 'vitest';
import { isShed, openGap } from '../src/player/shed-rungs';

/** Parts of half a second, from time zero on: `m` is media, `g` a gap. */
const parts = (kinds: string) =>
  [...kinds].map((kind, index) => ({ start: index / 2, end: (index + 1) / 2, gap: kind === 'g' }));

describe('openGap', () => {
  it('is_the_first_part_of_the_gap_at_the_end', () => {
    expect(openGap(parts('mmgmgg'))?.start).toBe(2);
    expect(openGap(parts('gg'))?.start).toBe(0);
  });

  it('is_null_when_the_newest_part_is_media', () => {
    expect(openGap(parts('mggm'))).toBeNull();
    expect(openGap([])).toBeNull();
  });
});

describe('isShed', () => {
  it('holds_where_sound_goes_on', () => {
    expect(isShed(1, parts('mmm'))).toBe(true);
  });

  it('does_not_hold_in_an_outage_of_all_renditions', () => {
    expect(isShed(1, parts('mmgg'))).toBe(false);
  });

  it('waits_until_sound_is_as_far', () => {
    expect(isShed(1, parts('mm'))).toBe(false);
    expect(isShed(1, [])).toBe(false);
  });

  it('holds_for_a_stream_without_sound', () => {
    expect(isShed(1, null)).toBe(true);
  });
});
