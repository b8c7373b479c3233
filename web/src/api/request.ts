/**
 * Asks the API: same origin with its cookie, bounded waits and answers, and refusals as `ApiError`. What proves that a change comes from our
 * page (`x-sealcast-csrf`) stays in memory.
 */

import { apiRequest as t } from '../text/en';
import { list, Malformed, type Operation, object, text } from './read';

/** Longest wait for an answer, milliseconds. */
const REQUEST_TIMEOUT_MS = 8_000;
/** Longest answer that is read, bytes: a page of 200 audit records has some 300 kB. */
const ANSWER_BYTES_MAX = 4 << 20;
/** Longest sentence of a refusal that is shown, characters. */
const DETAIL_LENGTH_MAX = 500;
const ERRORS_MAX = 50;

/** What is wrong with one member of a request's body. */
export interface Invalid {
  /** Such as `#/name`. */
  pointer: string;
  code: string;
}

/**
 * `refused`: the API said no. `away`: nobody who could say answered; the request can be sent again. `malformed`: the answer is not what the
 * document says.
 */
export type ErrorKind = 'refused' | 'away' | 'malformed';

export class ApiError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
    /** HTTP status; 0 without an answer. */
    readonly status: number,
    /** The last part of the problem's type, such as `name-taken`. */
    readonly type: string,
    /** Finds the refusal in the log and in the audit; empty without an answer. */
    readonly requestId: string,
    readonly errors: readonly Invalid[] = [],
  ) {
    super(message);
  }

  /** What is wrong with this member of the body; null when nothing is. */
  of(member: string): string | null {
    return this.errors.find(({ pointer }) => pointer === `#/${member}`)?.code ?? null;
  }
}

/** What the page knows of its session, and what it does when the session or control is gone. */
export interface Context {
  csrf: string | null;
  /** The slug of the tenant in whose name a person with several acts. */
  tenant: string | null;
  onSignedOut: () => void;
  /** Called with every outcome: whether control answered. */
  onAnswer: (isThere: boolean) => void;
}

export const context: Context = {
  csrf: null,
  tenant: null,
  onSignedOut: () => undefined,
  onAnswer: () => undefined,
};

export interface Asked<Path, Query, Body> {
  path?: Path;
  query?: Query;
  body?: Body;
  /** The ETag of the version that a change is for. */
  ifMatch?: string | null;
  /** The same for a request that is sent again, so that it is answered once. */
  idempotencyKey?: string;
  /** The request outlives the page. */
  keepalive?: boolean;
  signal?: AbortSignal;
}

export interface Answer<T> {
  value: T;
  /** The version of the row; null for lists. */
  etag: string | null;
}

/** 30 random characters: enough to make a repeated request one request. */
export function newIdempotencyKey(): string {
  return crypto.randomUUID();
}

function headersOf<P, Q, B>(method: string, asked: Asked<P, Q, B>): Headers {
  const headers = new Headers({ accept: 'application/json' });
  if (asked.body !== undefined) headers.set('content-type', 'application/json');
  if (asked.ifMatch) headers.set('if-match', asked.ifMatch);
  if (method === 'POST') headers.set('idempotency-key', asked.idempotencyKey ?? newIdempotencyKey());
  if (method !== 'GET' && context.csrf !== null) headers.set('x-sealcast-csrf', context.csrf);
  if (context.tenant !== null) headers.set('x-sealcast-tenant', context.tenant);
  return headers;
}

/** Query of a request, without what is not said. Pure. */
export function queryOf(query: object | undefined): string {
  const said = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== '');
  return said.length === 0
    ? ''
    : `?${new URLSearchParams(said.map(([name, value]) => [name, String(value)]))}`;
}

/** Reads a body of bounded length. */
async function bodyOf(response: Response): Promise<string> {
  if (!response.body) return '';
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let body = '';
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return body + decoder.decode();
    bytes += value.byteLength;
    if (bytes > ANSWER_BYTES_MAX) {
      await reader.cancel();
      throw new Malformed('', `answer of ${ANSWER_BYTES_MAX} bytes at most`);
    }
    body += decoder.decode(value, { stream: true });
  }
}

const readProblem = object(
  {},
  {
    type: text(200),
    detail: text(DETAIL_LENGTH_MAX),
    request_id: text(100),
    errors: list(object({ pointer: text(200), code: text(100) }, {}), ERRORS_MAX),
  },
);

/** The refusal that an answer is (RFC 9457). Pure. */
export function refusalOf(status: number, requestId: string, body: string): ApiError {
  let problem: ReturnType<typeof readProblem> = {};
  try {
    problem = readProblem(JSON.parse(body), '');
  } catch {
    // Something between the page and the API said no, in words of its own.
  }
  const type = problem.type?.split('/').at(-1) ?? '';
  const id = problem.request_id ?? requestId;
  // Who says 502, 503 or 504 without a problem of the API is a balancer or a proxy that reaches no control.
  const isAway = type === 'control-away' || (type === '' && status >= 502 && status <= 504);
  const detail =
    problem.detail ?? (isAway ? t.controlDoesNotAnswer : t.theServerAnsweredWithStatusStatus(status));
  return new ApiError(isAway ? 'away' : 'refused', detail, status, type, id, problem.errors ?? []);
}

/** What went wrong before there was an answer. */
function failure(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof Malformed || error instanceof SyntaxError)
    return new ApiError('malformed', t.cannotBeRead(error.message), 0, '', '');
  const said =
    error instanceof DOMException && error.name === 'TimeoutError'
      ? t.theServerDidNotAnswerWithin(REQUEST_TIMEOUT_MS / 1_000)
      : t.theServerCannotBeReached;
  return new ApiError('away', said, 0, '', '');
}

async function exchange<P, Q, B, A>(
  operation: Operation<P, Q, B, A>,
  asked: Asked<P, Q, B>,
): Promise<Answer<A>> {
  const signals = [AbortSignal.timeout(REQUEST_TIMEOUT_MS), ...(asked.signal ? [asked.signal] : [])];
  const response = await fetch(operation.path((asked.path ?? {}) as P) + queryOf(asked.query as object), {
    method: operation.method,
    headers: headersOf(operation.method, asked),
    credentials: 'same-origin',
    cache: 'no-store',
    redirect: 'error',
    ...(asked.keepalive ? { keepalive: true } : { signal: AbortSignal.any(signals) }),
    ...(asked.body === undefined ? {} : { body: JSON.stringify(asked.body) }),
  });
  const body = await bodyOf(response);
  if (!response.ok) throw refusalOf(response.status, response.headers.get('x-request-id') ?? '', body);
  const value = operation.read(body === '' ? null : JSON.parse(body), '');
  return { value, etag: response.headers.get('etag') };
}

/**
 * Asks, and reads the answer.
 *
 * @throws ApiError; an aborted request throws what its signal says.
 */
export async function ask<P, Q, B, A>(
  operation: Operation<P, Q, B, A>,
  asked: Asked<P, Q, B> = {},
): Promise<Answer<A>> {
  try {
    const answer = await exchange(operation, asked);
    context.onAnswer(true);
    return answer;
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    const failed = failure(error);
    context.onAnswer(failed.kind !== 'away');
    if (failed.status === 401) context.onSignedOut();
    throw failed;
  }
}
