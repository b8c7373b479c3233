import { describe, expect, it } from 'vitest';
import { edgeDistance, hlsConfig, retryLive } from '../src/player/hls-config';

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

describe('edgeDistance', () => {
  it('is_half_a_part_less_than_the_hold_back_where_that_leaves_time', () => {
    const edge = (partHoldBack: number, partTarget: number) =>
      edgeDistance({ partHoldBack, partTarget, holdBack: 12, targetduration: 4 });
    expect(edge(1.605, 0.535)).toBeCloseTo(1.3375);
    expect(edge(1.3, 0.535)).toBe(1.2);
    expect(edge(0.642, 0.214)).toBe(0.642);
  });

  it('is_hold_back_without_parts_and_three_target_durations_without_either', () => {
    const without = { partHoldBack: 0, partTarget: 0, targetduration: 4 };
    expect(edgeDistance({ ...without, holdBack: 13.5 })).toBe(13.5);
    expect(edgeDistance({ ...without, holdBack: 0 })).toBe(12);
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
