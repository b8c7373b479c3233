import { describe, expect, it } from 'vitest';
import { FailedPathways, type Failure, isServerGone } from '../src/player/pathways';

describe('isServerGone', () => {
  it('when_nothing_answers_or_it_says_so', () => {
    expect(isServerGone('fragLoadError', 0)).toBe(true);
    expect(isServerGone('levelLoadError', 503)).toBe(true);
    expect(isServerGone('audioTrackLoadTimeOut', 0)).toBe(true);
  });

  it('not_when_one_thing_is_missing_or_something_else_is_wrong', () => {
    expect(isServerGone('fragLoadError', 404)).toBe(false);
    expect(isServerGone('fragParsingError', 0)).toBe(false);
    expect(isServerGone('manifestLoadError', 0)).toBe(false);
  });
});

describe('FailedPathways', () => {
  const all = ['b1', 'b2', '.balancer'];
  const at = (current: string, nowMs: number, failedOrigin = `https://${current}`): Failure => ({
    current,
    all,
    currentOrigin: `https://${current}`,
    failedOrigin,
    nowMs,
  });

  it('leaves_one_after_the_other_and_stays_on_the_last', () => {
    const failed = new FailedPathways();
    expect(failed.leave(at('b1', 0))).toBe(true);
    expect(failed.leave(at('b2', 100))).toBe(true);
    expect(failed.leave(at('.balancer', 200))).toBe(false);
    expect(failed.leave(at('.balancer', 300_001))).toBe(true);
  });

  it('does_not_blame_a_pathway_for_what_was_asked_for_elsewhere', () => {
    const failed = new FailedPathways();
    expect(failed.leave(at('b1', 0))).toBe(true);
    expect(failed.leave(at('b2', 1, 'https://b1'))).toBe(false);
    expect(failed.leave(at('b2', 2))).toBe(true);
  });

  it('stays_where_there_is_one_way_only', () => {
    expect(new FailedPathways().leave({ ...at('.', 0), all: ['.'] })).toBe(false);
  });
});
