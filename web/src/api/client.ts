/** The page's two API requests to a broadcast node: same origin, with its cookies, bounded waits. */

import { readStream, readStreams, type StreamDetail, type StreamSummary } from './types';

/** Longest wait for an answer, milliseconds; the next poll may reach another node. */
const REQUEST_TIMEOUT_MS = 6_000;

/** The node answered that it knows no such stream. */
export class NotFound extends Error {}

/** The node does not take the viewer's token. */
export class Refused extends Error {}

/** Longest sentence of a refusal that is shown, characters. */
const DETAIL_LENGTH_MAX = 200;

/** What a problem says (RFC 9457). */
async function detailOf(response: Response): Promise<string> {
  const problem: unknown = await response.json().catch(() => null);
  const said = typeof problem === 'object' && problem !== null && 'detail' in problem ? problem.detail : null;
  return typeof said === 'string' ? said.slice(0, DETAIL_LENGTH_MAX) : '';
}

async function getJson(path: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(path, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    headers: { accept: 'application/json' },
    credentials: 'same-origin',
    cache: 'no-store',
  });
  if (response.status === 404) throw new NotFound(`${path}: no such stream`);
  if (response.status === 403) throw new Refused(await detailOf(response));
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

export async function fetchStreams(signal: AbortSignal): Promise<StreamSummary[]> {
  // What everybody sees, also for somebody who is signed in.
  return readStreams(await getJson('/api/v1/streams?view=public', signal));
}

/** A stream, with its paths below the viewer's token, if there is one (`tokenPath`). */
export async function fetchStream(name: string, token: string, signal: AbortSignal): Promise<StreamDetail> {
  const view = token === '' ? '?view=public' : '';
  const stream = readStream(
    await getJson(`${token}/api/v1/streams/${encodeURIComponent(name)}${view}`, signal),
  );
  const below = (path: string | null): string | null => path && token + path;
  const dvr = stream.dvr && { ...stream.dvr, url: token + stream.dvr.url };
  return { ...stream, dvr, poster: below(stream.poster), thumbnails: below(stream.thumbnails) };
}
