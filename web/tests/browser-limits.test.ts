import { describe, expect, it } from 'vitest';
import { browserLimits, cannotPlay } from '../src/player/browser-limits';

const ALL = { mediaSource: true, avc: true, nativeHls: false, frameTimes: true };

describe('cannotPlay', () => {
  it('is_silent_where_either_player_can', () => {
    expect(cannotPlay(ALL)).toBeNull();
    expect(cannotPlay({ ...ALL, mediaSource: false, avc: false, nativeHls: true })).toBeNull();
  });

  it('tells_a_missing_decoder_from_a_missing_player', () => {
    expect(cannotPlay({ ...ALL, avc: false })).toMatch(/no decoder for H\.264/);
    expect(cannotPlay({ ...ALL, mediaSource: false, avc: false })).toMatch(/cannot play HLS/);
  });
});

describe('browserLimits', () => {
  it('says_nothing_of_a_browser_that_has_everything', () => {
    expect(browserLimits(ALL)).toEqual([]);
  });

  it('leaves_a_browser_that_plays_nothing_to_the_message', () => {
    expect(browserLimits({ ...ALL, avc: false })).toEqual([]);
  });

  it('names_what_is_missing_a_sentence_each', () => {
    expect(browserLimits({ ...ALL, frameTimes: false })).toEqual([
      expect.stringMatching(/glass to glass is not measured/),
    ]);
    const native = { ...ALL, mediaSource: false, avc: false, nativeHls: true };
    expect(browserLimits(native)).toEqual([expect.stringMatching(/its own player: it chooses the quality/)]);
    expect(browserLimits({ ...native, frameTimes: false })).toHaveLength(2);
  });
});
