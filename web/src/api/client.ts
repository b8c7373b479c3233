/** The page's two API requests to a broadcast node: same origin, with its cookies, bounded waits. */

import { readStream, readStreams, type StreamDetail, type StreamSummary } from './types';

/** Longest wait for an answer, milliseconds; the next poll may reach another node. */
const REQUEST_TIMEOUT_MS = 6_000;

/** The node answered that it knows no such stream. */
export class NotFound extends Error {}

async function getJson(path: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(path, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    headers: { accept: 'application/json' },
    credentials: 'same-origin',
    cache: 'no-store',
  });
  if (response.status === 404) throw new NotFound(`${path}: no such stream`);
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

export async function fetchStreams(signal: AbortSignal): Promise<StreamSummary[]> {
  return readStreams(await getJson('/api/v1/streams', signal));
}

export async function fetchStream(name: string, signal: AbortSignal): Promise<StreamDetail> {
  return readStream(await getJson(`/api/v1/streams/${encodeURIComponent(name)}`, signal));
}
