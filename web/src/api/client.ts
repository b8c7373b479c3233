/** The two questions the page asks a broadcast node. Same origin, no credentials, bounded waits. */

import { readStream, readStreams, type StreamDetail, type StreamSummary } from './types';

/** An answer that takes longer counts as none; the next poll asks again, perhaps another node. */
const REQUEST_TIMEOUT_MS = 6_000;

/** The node answered, and knows no such stream. */
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
