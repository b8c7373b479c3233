import { describe, expect, it } from 'vitest';
import { hlsConfig, holdBack, retryLive } from '../src/player/hls-config';

const retry = { maxNumRetry: 3, retryDelayMs: 1, maxRetryDelayMs: 1 };
const response = (code: number) => ({ url: '', data: '', code });

describe('retryLive', () => {
  it.each([0, 404, 408, 416, 429, 500, 502, 503, 504])('tries_again_after_status_%i', (code) => {
    expect(retryLive(retry, 0, false, response(code), false)).toBe(true);
  });

  it.each([400, 401, 403, 410])('does_not_try_again_after_status_%i', (code) => {
    expect(retryLive(retry, 0, false, response(code), true)).toBe(false);
  });

  it('leaves_a_gap_to_hls_js', () => {
    expect(retryLive(retry, 0, false, undefined, false)).toBe(false);
  });

  it('tries_again_after_a_timeout', () => {
    expect(retryLive(retry, 0, true, undefined, true)).toBe(true);
  });

  it('stops_at_the_limit', () => {
    expect(retryLive(retry, 2, false, response(503), true)).toBe(true);
    expect(retryLive(retry, 3, false, response(503), true)).toBe(false);
    expect(retryLive(null, 0, false, response(503), true)).toBe(false);
  });
});

describe('holdBack', () => {
  it('is_the_parts_hold_back_where_there_are_parts', () => {
    expect(holdBack({ partHoldBack: 1.572, holdBack: 12, targetduration: 4 })).toBe(1.572);
  });

  it('is_hold_back_without_parts_and_three_target_durations_without_either', () => {
    expect(holdBack({ partHoldBack: 0, holdBack: 13.5, targetduration: 4 })).toBe(13.5);
    expect(holdBack({ partHoldBack: 0, holdBack: 0, targetduration: 4 })).toBe(12);
  });
});

describe('hlsConfig', () => {
  it('starts_with_the_bandwidth_it_is_told', () => {
    expect(hlsConfig(7_000_000).abrEwmaDefaultEstimate).toBe(7_000_000);
  });

  it('leaves_the_distance_to_the_edge_to_the_playlist', () => {
    expect(hlsConfig(1).liveSyncDuration).toBeUndefined();
    expect(hlsConfig(1).lowLatencyMode).toBe(true);
  });
});
