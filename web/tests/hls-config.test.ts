import { describe, expect, it } from 'vitest';
import { LIVE_DISTANCE_SECONDS_MIN, liveDistance, retryLive } from '../src/player/hls-config';

const retry = { maxNumRetry: 3, retryDelayMs: 1, maxRetryDelayMs: 1 };
const response = (code: number) => ({ url: '', data: '', code });

describe('retryLive', () => {
  it.each([0, 404, 408, 416, 429, 500, 502, 503, 504])('tries_again_after_status_%i', (code) => {
    expect(retryLive(retry, 0, false, response(code), false)).toBe(true);
  });

  it.each([400, 401, 403, 410])('does_not_try_again_after_status_%i', (code) => {
    expect(retryLive(retry, 0, false, response(code), true)).toBe(false);
  });

  it('stops_at_the_limit', () => {
    expect(retryLive(retry, 2, false, response(503), true)).toBe(true);
    expect(retryLive(retry, 3, false, response(503), true)).toBe(false);
    expect(retryLive(null, 0, false, response(503), true)).toBe(false);
  });
});

describe('liveDistance', () => {
  const playlist = (lines: string[]) => ['#EXTM3U', '#EXT-X-TARGETDURATION:4', ...lines].join('\n');

  it('keeps_a_reserve_when_parts_allow_less', () => {
    const text = playlist([
      '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=12',
      '#EXT-X-PART-INF:PART-TARGET=0.5',
    ]);
    expect(liveDistance(text)).toBe(LIVE_DISTANCE_SECONDS_MIN);
  });

  it('follows_the_server_when_it_asks_for_more', () => {
    const text = playlist(['#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=6.25', '#EXT-X-PART-INF:PART-TARGET=2']);
    expect(liveDistance(text)).toBe(6.25);
  });

  it('uses_hold_back_without_parts', () => {
    expect(liveDistance(playlist(['#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=1.5,HOLD-BACK=13.5']))).toBe(13.5);
  });

  it('is_three_target_durations_when_the_server_says_nothing', () => {
    expect(liveDistance(playlist([]))).toBe(12);
    expect(liveDistance('#EXTM3U')).toBeNull();
  });
});
