import { describe, expect, it } from 'vitest';
import {
  API_FAILURES_TO_ERROR,
  type ApiState,
  banner,
  type PlayerPhase,
  RETURN_GRACE_MS,
  shouldLoad,
  shouldStop,
  viewState,
} from '../src/player/view-state';

const view = (api: ApiState, player: PlayerPhase, apiFailures = 0) => viewState({ api, player, apiFailures });

describe('viewState', () => {
  it('never_covers_a_moving_picture', () => {
    const states: ApiState[] = [
      'unknown',
      'unreachable',
      'missing',
      'refused',
      'live',
      'reconnecting',
      'ended',
    ];
    for (const api of states) expect(view(api, 'playing', 99)).toBe('playing');
  });

  it.each([
    ['unknown', 'idle', 'connecting'],
    ['live', 'starting', 'connecting'],
    ['live', 'waiting', 'buffering'],
    ['live', 'failed', 'error'],
    ['live', 'finished', 'ended'],
    ['reconnecting', 'waiting', 'reconnecting'],
    ['reconnecting', 'finished', 'reconnecting'],
    ['reconnecting', 'failed', 'reconnecting'],
    ['ended', 'idle', 'ended'],
    ['ended', 'waiting', 'ended'],
    ['missing', 'idle', 'offline'],
    ['missing', 'failed', 'offline'],
    ['refused', 'starting', 'refused'],
    ['refused', 'waiting', 'refused'],
  ] as const)('%s_and_%s_shows_%s', (api, player, expected) => {
    expect(view(api, player)).toBe(expected);
  });

  it('silence_of_the_node_becomes_an_error_after_some_failures', () => {
    expect(view('unreachable', 'starting', API_FAILURES_TO_ERROR - 1)).toBe('connecting');
    expect(view('unreachable', 'starting', API_FAILURES_TO_ERROR)).toBe('error');
    expect(view('unreachable', 'waiting', API_FAILURES_TO_ERROR)).toBe('buffering');
  });

  it('a_banner_announces_a_broken_session_while_the_buffer_still_plays', () => {
    expect(banner({ api: 'reconnecting', player: 'playing', apiFailures: 0 })).toMatch(/reconnecting/);
    expect(banner({ api: 'reconnecting', player: 'waiting', apiFailures: 0 })).toBeNull();
    expect(banner({ api: 'live', player: 'playing', apiFailures: 0 })).toBeNull();
  });
});

describe('shouldLoad', () => {
  const ended = { api: 'live', player: 'finished', epoch: 3, endedEpoch: 3, finishedForMs: 0 } as const;

  it('loads_first_when_the_stream_is_there_or_the_node_cannot_say', () => {
    const idle = { player: 'idle', epoch: null, endedEpoch: null, finishedForMs: null } as const;
    expect(shouldLoad({ ...idle, api: 'live' })).toBe(true);
    expect(shouldLoad({ ...idle, api: 'reconnecting' })).toBe(true);
    expect(shouldLoad({ ...idle, api: 'unreachable' })).toBe(true);
    expect(shouldLoad({ ...idle, api: 'unknown' })).toBe(true);
    expect(shouldLoad({ ...idle, api: 'missing' })).toBe(false);
    expect(shouldLoad({ ...idle, api: 'ended' })).toBe(false);
  });

  it('loads_again_at_once_when_a_new_epoch_follows_an_end', () => {
    expect(shouldLoad({ ...ended, epoch: 4 })).toBe(true);
  });

  it('waits_before_believing_that_an_ended_epoch_goes_on', () => {
    expect(shouldLoad(ended)).toBe(false);
    expect(shouldLoad({ ...ended, finishedForMs: RETURN_GRACE_MS })).toBe(true);
  });

  it('leaves_a_stream_alone_that_has_not_ended', () => {
    expect(shouldLoad({ ...ended, player: 'playing', endedEpoch: null, epoch: 9 })).toBe(false);
    expect(shouldLoad({ ...ended, player: 'waiting', endedEpoch: null, epoch: 9 })).toBe(false);
  });
});

describe('shouldStop', () => {
  it('gives_up_what_was_begun_before_the_node_said_that_there_is_nothing', () => {
    expect(shouldStop({ api: 'missing', player: 'starting' })).toBe(true);
    expect(shouldStop({ api: 'ended', player: 'starting' })).toBe(true);
  });

  it('stops_asking_with_a_token_that_is_refused_once_the_buffer_has_run_out', () => {
    for (const player of ['starting', 'waiting', 'failed'] as const) {
      expect(shouldStop({ api: 'refused', player })).toBe(true);
    }
    expect(shouldStop({ api: 'refused', player: 'playing' })).toBe(false);
    const idle = { player: 'idle', epoch: null, endedEpoch: null, finishedForMs: null } as const;
    expect(shouldLoad({ ...idle, api: 'refused' })).toBe(false);
  });

  it('leaves_a_picture_alone', () => {
    for (const player of ['playing', 'waiting', 'paused', 'finished'] as const) {
      expect(shouldStop({ api: 'missing', player })).toBe(false);
    }
    expect(shouldStop({ api: 'unreachable', player: 'starting' })).toBe(false);
  });
});
