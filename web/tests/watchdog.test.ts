import { describe, expect, it } from 'vitest';
import { type Measure, nudgeTarget, type StandstillSample, Watchdog } from '../src/player/watchdog';

const SAMPLE_MS = 100;

/** Feeds a sample every 100 ms, and records the measures and their times. */
class Watched {
  readonly watchdog = new Watchdog();
  readonly done: [Measure, number][] = [];
  #sample: StandstillSample = {
    nowMs: 0,
    position: 10,
    bufferSeconds: 2,
    receivedAtMs: null,
    newest: 20,
    shouldMove: true,
    isBeginning: false,
  };

  /** Feeds samples for `forMs`, with `change` from the start on; the picture moves at `speed`. */
  run(forMs: number, speed: number, change: Partial<StandstillSample> = {}): this {
    for (let at = 0; at < forMs; at += SAMPLE_MS) {
      const { nowMs, position, newest } = this.#sample;
      const seconds = (speed * SAMPLE_MS) / 1_000;
      this.#sample = { ...this.#sample, ...change };
      this.#sample.nowMs = nowMs + SAMPLE_MS;
      this.#sample.position = position + seconds;
      if (change.newest === undefined) this.#sample.newest = newest === null ? null : newest + seconds;
      const measure = this.watchdog.sample(this.#sample);
      if (measure) this.done.push([measure, this.#sample.nowMs]);
    }
    return this;
  }

  /** The measures without their times. */
  get measures(): Measure[] {
    return this.done.map(([measure]) => measure);
  }
}

describe('Watchdog', () => {
  it('leaves_a_picture_alone_that_moves_or_stands_for_less_than_a_second', () => {
    expect(new Watched().run(5_000, 1).run(900, 0).run(5_000, 1).done).toEqual([]);
  });

  it('nudges_after_a_second_then_loads_again_then_makes_the_player_anew', () => {
    const { done } = new Watched().run(1_000, 1).run(2_000, 0);
    expect(done).toEqual([
      ['nudge', 2_000],
      ['reload', 2_400],
      ['remake', 2_800],
    ]);
  });

  it('waits_twice_as_long_after_each_new_player_and_not_for_ever', () => {
    const { done } = new Watched().run(1_000, 1).run(90_000, 0);
    const made = done.filter(([measure]) => measure === 'remake').map(([, at]) => at);
    const waits = made.map((at, index) => at - (made[index - 1] ?? 1_000));
    expect(waits.slice(0, 5)).toEqual([1_800, 3_600, 7_200, 14_400, 14_400]);
  });

  it('is_as_quick_as_ever_once_the_picture_has_moved_for_ten_seconds', () => {
    const watched = new Watched().run(1_000, 1).run(2_000, 0).run(11_000, 1);
    watched.done.length = 0;
    expect(watched.run(2_000, 0).measures).toEqual(['nudge', 'reload', 'remake']);
  });

  it('does_not_take_its_own_nudge_for_a_picture_that_moves', () => {
    const watched = new Watched().run(1_000, 1).run(1_000, 0);
    expect(watched.measures).toEqual(['nudge']);
    // The nudge moves the position once.
    watched.run(100, 1).run(1_500, 0);
    expect(watched.measures).toEqual(['nudge', 'reload', 'remake']);
  });

  it('counts_and_is_acting_until_the_picture_moves_by_itself', () => {
    const watched = new Watched().run(1_000, 1).run(1_600, 0);
    expect(watched.watchdog.isActing).toBe(true);
    expect(watched.watchdog.stats()).toEqual({ nudges: 1, reloads: 1, remakes: 0 });
    expect(watched.run(1_000, 1).watchdog.isActing).toBe(false);
  });

  it.each([
    ['paused_over_or_hidden', { shouldMove: false }],
    ['at_the_end_of_what_is_listed', { newest: 11.2 }],
    ['without_a_playlist', { newest: null }],
  ] as const)('does_nothing_%s', (_, change) => {
    expect(new Watched().run(1_000, 1).run(20_000, 0, change).done).toEqual([]);
  });

  it('begins_to_count_when_something_newer_is_listed', () => {
    const watched = new Watched().run(1_000, 1).run(10_000, 0, { newest: 11 });
    expect(watched.run(900, 0, { newest: 30 }).done).toEqual([]);
    expect(watched.run(200, 0).measures).toEqual(['nudge']);
  });

  it('is_five_times_as_patient_at_the_begin_and_while_the_viewer_seeks', () => {
    const { done } = new Watched().run(100, 0, { isBeginning: true }).run(9_000, 0);
    expect(done.map(([measure, at]) => [measure, at - 100])).toEqual([
      ['nudge', 5_000],
      ['reload', 7_000],
      ['remake', 9_000],
    ]);
  });

  it('leaves_a_slow_network_alone_for_a_while', () => {
    const watched = new Watched().run(1_000, 1);
    let bufferSeconds = 0;
    for (let at = 0; at < 2_400; at += SAMPLE_MS) {
      bufferSeconds += 0.02;
      watched.run(SAMPLE_MS, 0, { bufferSeconds });
    }
    expect(watched.measures).toEqual(['nudge']);
  });

  it('lets_come_what_comes_slowly_before_it_loads_again_or_makes_the_player_anew', () => {
    const watched = new Watched().run(1_000, 1, { bufferSeconds: 0 });
    for (let at = 1_000; at < 5_900; at += SAMPLE_MS) watched.run(SAMPLE_MS, 0, { receivedAtMs: at });
    expect(watched.done).toEqual([
      ['nudge', 2_000],
      ['reload', 3_500],
    ]);
  });

  it('says_nothing_of_time_in_which_the_page_slept', () => {
    const watched = new Watched().run(1_000, 1);
    expect(watched.run(SAMPLE_MS, 0, {}).done).toEqual([]);
    const asleep = {
      position: 11,
      bufferSeconds: 2,
      receivedAtMs: null,
      newest: 20,
      shouldMove: true,
      isBeginning: false,
    };
    expect(watched.watchdog.sample({ ...asleep, nowMs: 60_000 })).toBeNull();
  });
});

describe('nudgeTarget', () => {
  it('is_a_little_further_in_what_is_loaded', () => {
    expect(nudgeTarget([[0, 10]], 5)).toBeCloseTo(5.1);
  });

  it('is_the_next_thing_loaded_at_a_hole', () => {
    const ranges = [
      [0, 5],
      [6, 10],
    ] as const;
    expect(nudgeTarget(ranges, 5)).toBeCloseTo(6.05);
    expect(nudgeTarget(ranges, 4.95)).toBeCloseTo(6.05);
  });

  it('is_null_when_nothing_is_loaded_ahead', () => {
    expect(nudgeTarget([[0, 5]], 5)).toBeNull();
    expect(nudgeTarget([], 5)).toBeNull();
  });
});
