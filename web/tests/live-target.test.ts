import { describe, expect, it } from 'vitest';
import {
  CALM_MS,
  EdgeKeeper,
  JUMP_SECONDS,
  LiveTarget,
  RESERVE_SECONDS_MAX,
  RETURN_SECONDS,
  START_MS,
  START_SECONDS_MAX,
  STEP_SECONDS,
  startReserve,
} from '../src/player/live-target';

describe('LiveTarget', () => {
  it('is_what_the_playlist_asks_for', () => {
    const target = new LiveTarget();
    expect(target.seconds(0)).toBeNull();
    target.setFloor(1.572);
    expect(target.seconds(0)).toBe(1.572);
    expect(target.seconds(10 * CALM_MS)).toBe(1.572);
  });

  it('grows_with_stalls_and_is_bounded', () => {
    const target = new LiveTarget();
    target.setFloor(1.5);
    target.onStall(0);
    expect(target.seconds(0)).toBe(1.5 + STEP_SECONDS);
    for (let stall = 0; stall < 50; stall += 1) target.onStall(stall);
    expect(target.seconds(50)).toBe(1.5 + RESERVE_SECONDS_MAX);
  });

  it('leaves_room_on_a_link_that_takes_long_to_bring_a_part', () => {
    const target = new LiveTarget();
    target.setFloor(1.5);
    // A server nearby with one slow part adds nothing.
    for (const seconds of [0.01, 0.02, 0.2, 0.01, 0.02]) target.onPart(seconds);
    expect(target.seconds(0)).toBe(1.5);
    // A rung of 2.9 Mbit/s on a link of 8 Mbit/s leaves room for a fall to a quarter.
    for (let part = 0; part < 40; part += 1) target.onPart(0.18);
    expect(target.seconds(0)).toBeCloseTo(1.5 + 4 * 0.13);
    // On a link that has fallen, the distance has a limit.
    for (let part = 0; part < 40; part += 1) target.onPart(3);
    expect(target.seconds(0)).toBe(3);
    for (let part = 0; part < 400; part += 1) target.onPart(0.02);
    expect(target.seconds(0)).toBe(1.5);
  });

  it('begins_further_away_after_a_slow_start_and_comes_back_within_a_minute', () => {
    expect([0.2, 0.5, 1.25, 60].map(startReserve)).toEqual([0, 0, 0.75, START_SECONDS_MAX]);
    const target = new LiveTarget();
    target.setFloor(1.5);
    target.begin(1, 5_000);
    expect(target.seconds(5_000)).toBe(2.5);
    expect(target.seconds(5_000 + START_MS / 2)).toBe(2);
    expect(target.seconds(5_000 + 2 * START_MS)).toBe(1.5);
    // A stall meanwhile counts by itself, and not on top.
    target.begin(1, 5_000);
    target.onStall(5_000);
    expect(target.seconds(5_000)).toBe(2.5);
  });

  it('comes_back_slowly_and_not_below_what_the_playlist_asks_for', () => {
    const target = new LiveTarget();
    target.setFloor(1.5);
    target.onStall(1_000);
    expect(target.seconds(1_000 + CALM_MS - 1)).toBe(1.5 + STEP_SECONDS);
    expect(target.seconds(1_000 + CALM_MS)).toBe(1.5 + STEP_SECONDS - RETURN_SECONDS);
    expect(target.seconds(1_000 + 20 * CALM_MS)).toBe(1.5);
  });

  it('a_stall_on_the_way_back_starts_the_wait_again', () => {
    const target = new LiveTarget();
    target.setFloor(1.5);
    target.onStall(0);
    target.onStall(CALM_MS - 1);
    expect(target.seconds(CALM_MS)).toBe(1.5 + 2 * STEP_SECONDS);
  });
});

describe('EdgeKeeper', () => {
  const at = (nowMs: number, behind: number, paused = false) => ({
    nowMs,
    latencySeconds: 1.5 + behind,
    targetSeconds: 1.5,
    paused,
  });

  it('leaves_a_small_lag_to_the_playback_rate', () => {
    const edge = new EdgeKeeper();
    expect(edge.tick(at(0, JUMP_SECONDS))).toBe(false);
    expect(edge.tick({ nowMs: 0, latencySeconds: null, targetSeconds: null, paused: false })).toBe(false);
  });

  it('jumps_when_too_far_behind_and_not_again_at_once', () => {
    const edge = new EdgeKeeper();
    expect(edge.tick(at(0, JUMP_SECONDS + 1))).toBe(true);
    expect(edge.tick(at(100, JUMP_SECONDS + 1))).toBe(false);
    expect(edge.tick(at(6_000, JUMP_SECONDS + 1))).toBe(true);
  });

  it('leaves_a_viewer_alone_who_paused_or_went_back', () => {
    const edge = new EdgeKeeper();
    edge.onBehind();
    expect(edge.tick(at(0, 30))).toBe(false);
    edge.onLive();
    expect(edge.tick(at(0, 30))).toBe(true);
  });

  it('a_viewer_who_came_back_to_the_edge_is_kept_there', () => {
    const edge = new EdgeKeeper();
    edge.onBehind();
    expect(edge.tick(at(0, 0.2))).toBe(false);
    expect(edge.tick(at(1_000, 20))).toBe(true);
  });

  it('does_not_move_a_paused_picture', () => {
    expect(new EdgeKeeper().tick(at(0, 30, true))).toBe(false);
  });
});
