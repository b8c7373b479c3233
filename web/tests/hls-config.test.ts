import { describe, expect, it } from 'vitest';
import { LIVE_DISTANCE_SECONDS_MIN, liveDistance, retryLive, withoutParts } from '../src/player/hls-config';

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
    expect(liveDistance(text, 'parts')).toBe(LIVE_DISTANCE_SECONDS_MIN);
  });

  it('follows_the_server_when_it_asks_for_more', () => {
    const text = playlist(['#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=6.25', '#EXT-X-PART-INF:PART-TARGET=2']);
    expect(liveDistance(text, 'parts')).toBe(6.25);
  });

  it('uses_hold_back_without_parts', () => {
    const control = '#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=1.5,HOLD-BACK=13.5';
    expect(liveDistance(playlist([control]), 'parts')).toBe(13.5);
    expect(liveDistance(playlist([control, '#EXT-X-PART-INF:PART-TARGET=0.5']), 'segments')).toBe(13.5);
  });

  it('is_three_target_durations_when_the_server_says_nothing', () => {
    expect(liveDistance(playlist([]), 'segments')).toBe(12);
    expect(liveDistance('#EXTM3U', 'segments')).toBeNull();
  });
});

describe('withoutParts', () => {
  const lines = [
    '#EXTM3U',
    '#EXT-X-TARGETDURATION:4',
    '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24,PART-HOLD-BACK=1.5,HOLD-BACK=12',
    '#EXT-X-PART-INF:PART-TARGET=0.52',
    '#EXT-X-PART:DURATION=0.5,URI="7.0.m4s",INDEPENDENT=YES',
    '#EXTINF:4,',
    '7.m4s',
    '#EXT-X-PART:DURATION=0.5,URI="8.0.m4s"',
    '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="8.1.m4s"',
    '#EXT-X-RENDITION-REPORT:URI="../720p/index.m3u8",LAST-MSN=8',
  ];

  it('leaves_whole_segments_and_the_hold_back', () => {
    expect(withoutParts(lines.join('\n')).trimEnd()).toBe(
      [
        '#EXTM3U',
        '#EXT-X-TARGETDURATION:4',
        '#EXT-X-SERVER-CONTROL:HOLD-BACK=12',
        '#EXTINF:4,',
        '7.m4s',
      ].join('\n'),
    );
  });

  it('leaves_a_playlist_without_parts_as_it_is', () => {
    const plain =
      '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n#EXTINF:4,\n7.m4s\n';
    expect(withoutParts(plain)).toBe(plain);
  });

  it('takes_no_part_hold_back_for_a_hold_back', () => {
    expect(withoutParts('#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=1.5')).toBe('#');
  });
});
