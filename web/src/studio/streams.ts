/** The tenant's streams, read every two seconds while a page shows them, and what was seen of each since the studio was opened. */

import { type Signal, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { getStreams, getStreamsStream, type Stream } from '../api/generated/api';
import { ask } from '../api/request';
import { type Watched, watch } from '../api/resource';
import { EMPTY, type History, seen } from './history';

/** How often what an ingest reports is read, milliseconds: it reports that often. */
const INTERVAL_MS = 2_000;
const INCLUDE = 'live,input';
const INCLUDE_OF_ONE = `${INCLUDE},publish_urls`;
/** Most streams on one page. */
const STREAMS_MAX = 200;

const histories = new Map<string, Signal<History>>();

export function historyOf(stream: string): Signal<History> {
  const known = histories.get(stream);
  if (known) return known;
  const history = signal(EMPTY);
  if (histories.size < STREAMS_MAX) histories.set(stream, history);
  return history;
}

function look(stream: Stream): void {
  const history = historyOf(stream.name);
  history.value = seen(history.value, stream, Date.now());
}

/** What a page watches, for as long as it is shown. */
export function useWatched<T>(make: () => Watched<T>, of: readonly unknown[]): Watched<T> {
  // What is watched is said by `of`.
  const watched = useMemo(make, of);
  useEffect(() => watched.stop, [watched]);
  return watched;
}

export interface Streams {
  items: Stream[];
  /** There are more than one page has. */
  hasMore: boolean;
}

export function useStreams(): Watched<Streams> {
  return useWatched(
    () =>
      watch(async (signal) => {
        const { value } = await ask(getStreams, { query: { include: INCLUDE, limit: STREAMS_MAX }, signal });
        for (const stream of value.items) look(stream);
        return { items: value.items, hasMore: value.next_cursor !== null };
      }, INTERVAL_MS),
    [],
  );
}

export function useStream(name: string): Watched<Stream> {
  return useWatched(
    () =>
      watch(async (signal) => {
        const { value } = await ask(getStreamsStream, {
          path: { stream: name },
          query: { include: INCLUDE_OF_ONE },
          signal,
        });
        look(value);
        return value;
      }, INTERVAL_MS),
    [name],
  );
}

/** A row and its ETag: without what is live, so that the version stands for all of it. */
export async function readStreamRow(name: string): Promise<{ value: Stream; etag: string | null }> {
  return ask(getStreamsStream, { path: { stream: name } });
}

const RANK: Record<string, number> = { live: 0, reconnecting: 1 };

/** What is on the air first, then what was made last. Pure. */
export function arranged(streams: readonly Stream[]): Stream[] {
  const rank = (stream: Stream): number => RANK[stream.live?.state ?? ''] ?? 2;
  return [...streams].sort(
    (a, b) => rank(a) - rank(b) || b.created_at - a.created_at || a.name.localeCompare(b.name),
  );
}

/** The stream that `/studio` opens by itself: the only one on the air. Pure. */
export function onlyLive(streams: readonly Stream[]): Stream | null {
  const live = streams.filter(({ live }) => live?.state === 'live' || live?.state === 'reconnecting');
  return live.length === 1 ? (live[0] ?? null) : null;
}
