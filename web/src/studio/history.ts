/** What the studio has seen of a stream since it was opened: a tick a second for the log line, and the bit rate. Pure. */

import type { Stream } from '../api/generated/api';

/** A second of a stream: media came, media was missing, nothing was on the air, or a session began. */
export type Tick = 'media' | 'gap' | 'idle' | 'break';

export interface Sample {
  at: number;
  tick: Tick;
  /** Bits per second; null while no publisher is connected. */
  bitRate: number | null;
}

export interface History {
  epoch: number | null;
  samples: readonly Sample[];
}

export const EMPTY: History = { epoch: null, samples: [] };
/** Longest time that is remembered, milliseconds. */
export const SPAN_MS = 120_000;
/** Seconds on the log line. */
export const TICKS = 60;

function tickOf(stream: Stream, isNewSession: boolean): Tick {
  if (stream.live?.state === 'reconnecting') return 'gap';
  if (stream.live?.state !== 'live') return 'idle';
  if (isNewSession) return 'break';
  // The ingest says when its publisher has left: until the grace is over, viewers get gaps.
  return stream.input?.away_since === undefined ? 'media' : 'gap';
}

/** The history with one more look at the stream. */
export function seen(history: History, stream: Stream, at: number): History {
  const epoch = stream.live?.epoch ?? null;
  const isNew = history.epoch !== null && epoch !== null && epoch > history.epoch;
  // Without a pace there is no measurement yet, and the bit rate says nothing.
  const isMeasured = stream.input?.connected_at !== undefined && stream.input.pace_permille !== undefined;
  const bitRate = isMeasured ? (stream.input?.bit_rate ?? null) : null;
  const sample: Sample = { at, tick: tickOf(stream, isNew), bitRate };
  const kept = history.samples.filter((one) => one.at > at - SPAN_MS && one.at < at);
  return { epoch: epoch ?? history.epoch, samples: [...kept, sample] };
}

/** Longest time for which one look stands, seconds. */
const LOOK_S = 5;
/** The line ends with the newest look while that is this young, milliseconds: between two looks nothing is missing. */
const FRESH_MS = 3_000;

/** The last seconds, the newest last; null where nobody has looked. A look stands for the seconds since the one before it. */
export function ticks(history: History, nowMs: number): Array<Tick | null> {
  const line: Array<Tick | null> = Array.from({ length: TICKS }, () => null);
  const newest = history.samples.at(-1)?.at ?? nowMs;
  const end = nowMs - newest <= FRESH_MS ? newest : nowMs;
  const placeOf = (at: number): number => TICKS - 1 - Math.floor((end - at) / 1_000);
  let before: number | null = null;
  for (const { at, tick } of history.samples) {
    const last = placeOf(at);
    const first = before === null ? last : Math.max(before + 1, last - LOOK_S + 1);
    for (let place = Math.max(0, first); place <= last; place += 1) {
      // Only the first of a session's seconds is its beginning.
      line[place] = tick === 'break' && place > first ? 'media' : tick;
    }
    before = last;
  }
  return line;
}
