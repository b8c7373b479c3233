import { describe, expect, it } from 'vitest';
import { menuOrder } from '../src/components/quality-menu';
import { hash, rosette } from '../src/components/seal-art';
import { fraction, keyMoment, momentAt } from '../src/components/seek-bar';
import { behindText, watchdogText } from '../src/components/stats-panel';
import { cardLine, POSTER_MS, posterAt } from '../src/components/stream-card';
import { refusedReasons, STALE_MS, verifiedState } from '../src/components/verified-panel';
import { behindLive, bitrate, duration, rungLabel, short, timeSpan, topRung } from '../src/format';
import { arrange } from '../src/pages/home';
import { plausibleDelay, renditionName } from '../src/player/engine';
import { pageOf } from '../src/routes';

const summary = (name: string, state: 'live' | 'reconnecting' | 'ended', startedAt = 0) => ({
  name,
  state,
  live: state !== 'ended',
  startedAt,
  epoch: 1,
  ingest: 'i1',
  renditions: [],
  poster: null,
});
const verified = {
  node: 'b1',
  sequence: 9,
  epoch: 1,
  digest: 'ab',
  key: 'cd',
  algorithm: 'ML-DSA-44',
  issuedAt: null,
  admittedAt: null,
  sealsAdmitted: 10,
  refused: { digest: 2, key: 0, signature: 1_200 },
};

describe('format', () => {
  it.each([
    [-5, '0 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [3_600_000 + 5 * 60_000, '1 h 5 min'],
    [26 * 3_600_000, '1 d 2 h'],
  ])('%i_ms_is_%s', (ms, text) => expect(duration(ms)).toBe(text));

  it('a_digest_is_shortened_at_both_ends', () => {
    expect(short('0123456789abcdef0123456789abcdef')).toBe('01234567…89abcdef');
    expect(short('abcd')).toBe('abcd');
  });

  it('a_rung_is_named_by_its_short_side', () => {
    expect(rungLabel({ width: 1920, height: 1080, frameRate: 30 })).toBe('1080p');
    expect(rungLabel({ width: 1080, height: 1920, frameRate: 59.94 })).toBe('1080p60');
    expect(rungLabel({ width: null, height: null, frameRate: null })).toBe('Audio');
  });

  it('bit_rates_have_a_unit', () =>
    expect([bitrate(802_000), bitrate(3_075_734)]).toEqual(['802 kbit/s', '3.1 Mbit/s']));

  it('a_ladder_without_pictures_has_no_top_rung', () => expect(topRung([])).toBeNull());
});

describe('home', () => {
  it('shows_live_first_then_the_newest_and_ended_apart', () => {
    const { live, ended } = arrange([
      summary('old', 'live', 1),
      summary('gone', 'ended', 9),
      summary('broken', 'reconnecting', 5),
      summary('new', 'live', 3),
    ]);
    expect(live.map(({ name }) => name)).toEqual(['new', 'old', 'broken']);
    expect(ended.map(({ name }) => name)).toEqual(['gone']);
  });

  it('a_card_says_since_when', () => {
    expect(cardLine(summary('a', 'live', 1_000), 61_000)).toBe('Live for 1 min');
    expect(cardLine(summary('a', 'ended', 1_000), 61_000)).toBe('Started 1 min ago');
    expect(cardLine({ ...summary('a', 'live'), startedAt: null }, 0)).toBe('');
  });

  it('the_picture_of_a_name_is_always_the_same_and_closed', () => {
    expect(hash('demo')).toBe(hash('demo'));
    expect(hash('demo')).not.toBe(hash('demp'));
    expect(rosette(7, 0.1, 0, 50)).toMatch(/^M[\d.]+ [\d.]+L.*Z$/);
  });
});

describe('verification', () => {
  it('says_verified_only_for_a_log_that_goes_on_or_a_stream_that_rests', () => {
    expect(verifiedState(verified, true, true, STALE_MS)).toBe('verified');
    expect(verifiedState(verified, true, true, STALE_MS + 1)).toBe('stale');
    expect(verifiedState(verified, true, false, 10 * STALE_MS)).toBe('verified');
  });

  it('never_says_verified_without_a_statement', () => {
    expect(verifiedState(null, false, true, 0)).toBe('checking');
    expect(verifiedState(null, true, true, 0)).toBe('none');
    expect(verifiedState({ ...verified, sealsAdmitted: 0 }, true, true, 0)).toBe('none');
  });

  it('lists_reasons_for_refusal_the_frequent_first', () => {
    expect(refusedReasons(verified)).toBe('1\u202f200 signature, 2 digest');
  });
});

describe('player', () => {
  it('the_menu_lists_the_best_picture_first', () => {
    const level = (height: number, rate: number) => ({
      name: '',
      width: null,
      height,
      frameRate: null,
      bitrate: rate,
    });
    expect(menuOrder({ levels: [level(360, 1), level(1080, 5), level(720, 3), level(1080, 9)] })).toEqual([
      3, 1, 2, 0,
    ]);
  });

  it('the_rendition_is_the_folder_of_its_playlist', () => {
    expect(renditionName('https://h/live/demo/720p/index.m3u8?_HLS_msn=4')).toBe('720p');
    expect(renditionName('')).toBeNull();
  });

  it('a_delay_of_clocks_that_disagree_is_not_shown', () => {
    expect([
      plausibleDelay(-0.4),
      plausibleDelay(5),
      plausibleDelay(-90),
      plausibleDelay(9e9),
      plausibleDelay(Number.NaN),
    ]).toEqual([0, 5, null, null, null]);
  });
});

describe('routes', () => {
  it.each([
    ['/', { kind: 'home' }],
    ['/watch/demo', { kind: 'watch', stream: 'demo' }],
    ['/watch/a%20b/', { kind: 'watch', stream: 'a b' }],
    ['/watch/', { kind: 'not-found' }],
    ['/watch/%E0%A4%A', { kind: 'not-found' }],
    ['/watch/a/b', { kind: 'not-found' }],
  ])('%s', (path, page) => expect(pageOf(path)).toEqual(page));
});

describe('timeSpan and behindLive', () => {
  it.each([
    [7, '0:07'],
    [754, '12:34'],
    [3_723, '1:02:03'],
    [-1, '0:00'],
    [59.6, '1:00'],
  ])('writes_%d_seconds_as_%s', (seconds, text) => {
    expect(timeSpan(seconds)).toBe(text);
  });

  it('counts_tenths_near_the_edge_and_time_further_back', () => {
    expect(behindLive(2.14)).toBe('2.1 s');
    expect(behindLive(754)).toBe('−12:34');
    expect(behindLive(null)).toBe('–.– s');
    expect(behindText(2.14, 1.6)).toBe('2.1 s (aim 1.6 s)');
    expect(behindText(null, 1.6)).toBe('–');
  });
});

describe('posterAt', () => {
  it('is_another_address_after_a_while_and_the_same_until_then', () => {
    expect(posterAt('/live/a/poster.jpg', POSTER_MS)).toBe(posterAt('/live/a/poster.jpg', 2 * POSTER_MS - 1));
    expect(posterAt('/live/a/poster.jpg', 0)).not.toBe(posterAt('/live/a/poster.jpg', POSTER_MS));
  });
});

describe('seek bar', () => {
  const span = { startMs: 1_000_000, endMs: 1_600_000, positionMs: 1_300_000 };

  it('places_a_moment_and_finds_it_again', () => {
    expect(fraction(span, 1_300_000)).toBe(0.5);
    expect(momentAt(span, 0.5)).toBe(1_300_000);
    expect([fraction(span, 0), fraction(span, 2_000_000)]).toEqual([0, 1]);
    expect([momentAt(span, -1), momentAt(span, 2)]).toEqual([span.startMs, span.endMs]);
    expect(fraction({ ...span, startMs: span.endMs }, span.endMs)).toBe(1);
  });

  it('keys_move_by_steps_and_stay_on_the_bar', () => {
    expect(keyMoment('ArrowLeft', span)).toBe(1_290_000);
    expect(keyMoment('PageUp', span)).toBe(1_360_000);
    expect(keyMoment('Home', span)).toBe(span.startMs);
    expect(keyMoment('ArrowLeft', { ...span, positionMs: 1_001_000 })).toBe(span.startMs);
    expect(keyMoment('a', span)).toBeNull();
  });

  it('the_right_end_is_the_live_edge', () => {
    expect(keyMoment('End', span)).toBe('live');
    expect(keyMoment('ArrowRight', { ...span, positionMs: 1_595_000 })).toBe('live');
  });
});

describe('watchdogText', () => {
  it('counts_what_there_was', () => {
    expect(watchdogText({ nudges: 2, reloads: 1, remakes: 0 })).toBe('2 nudges, 1 reload');
    expect(watchdogText({ nudges: 0, reloads: 0, remakes: 1 })).toBe('1 restart');
    expect(watchdogText({ nudges: 0, reloads: 0, remakes: 0 })).toBe('none');
  });
});
