import { describe, expect, it } from 'vitest';
import { FATAL_MAX, MEMORY_MS, Recovery } from '../src/player/recovery';

describe('Recovery', () => {
  it('a_network_error_resumes_where_it_stopped', () => {
    expect(new Recovery().onFatal('network', 0, true)).toEqual({ kind: 'resume', afterMs: 500 });
  });

  it('a_network_error_before_the_first_playlist_loads_again', () => {
    expect(new Recovery().onFatal('network', 0, false).kind).toBe('reload');
  });

  it('a_second_media_error_soon_after_the_first_loads_again', () => {
    const recovery = new Recovery();
    expect(recovery.onFatal('media', 0, true).kind).toBe('recover-media');
    expect(recovery.onFatal('media', 3_000, true).kind).toBe('reload');
    expect(recovery.onFatal('media', 60_000, true).kind).toBe('recover-media');
  });

  it('waits_longer_each_time_and_at_most_eight_seconds', () => {
    const recovery = new Recovery();
    const waits = [0, 1, 2, 3, 4, 5].map((at) => {
      const action = recovery.onFatal('network', at, true);
      return action.kind === 'resume' ? action.afterMs : null;
    });
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000]);
  });

  it('gives_up_after_the_limit_and_not_before', () => {
    const recovery = new Recovery();
    for (let index = 0; index < FATAL_MAX; index += 1) {
      expect(recovery.onFatal('network', index, true).kind).toBe('resume');
    }
    expect(recovery.onFatal('network', FATAL_MAX, true).kind).toBe('give-up');
  });

  it('forgets_old_errors', () => {
    const recovery = new Recovery();
    for (let index = 0; index < FATAL_MAX; index += 1) recovery.onFatal('network', index, true);
    expect(recovery.onFatal('network', MEMORY_MS + FATAL_MAX, true)).toEqual({
      kind: 'resume',
      afterMs: 500,
    });
  });

  it('begins_anew_when_the_viewer_tries_again', () => {
    const recovery = new Recovery();
    for (let index = 0; index <= FATAL_MAX; index += 1) recovery.onFatal('network', index, true);
    recovery.reset();
    expect(recovery.onFatal('network', 99, true).kind).toBe('resume');
  });
});
