/** What a page knows of something at the server: loading, ready, stale or failed. The transitions are pure; `watch` polls. */

import { type Signal, signal } from '@preact/signals';
import { poll } from './poll';
import { ApiError } from './request';

/** An answer that is this many intervals old is shown as old: one lost request says nothing yet. */
export const MISSED_MAX = 3;

export type Resource<T> =
  | { state: 'loading' }
  /** `at` is when the answer came, Unix milliseconds. */
  | { state: 'ready'; value: T; at: number; failures: number }
  /** The last answer, and why there is no newer one. */
  | { state: 'stale'; value: T; at: number; failures: number; error: ApiError }
  | { state: 'failed'; error: ApiError };

export type Outcome<T> = { value: T; at: number } | { error: ApiError };

/** What is known after one more request. Pure. */
export function after<T>(known: Resource<T>, outcome: Outcome<T>): Resource<T> {
  if ('value' in outcome) return { state: 'ready', value: outcome.value, at: outcome.at, failures: 0 };
  const { error } = outcome;
  if (known.state === 'loading' || known.state === 'failed') return { state: 'failed', error };
  // A refusal is an answer: what was there is gone, or no longer ours.
  if (error.kind === 'refused') return { state: 'failed', error };
  const failures = known.failures + 1;
  if (failures < MISSED_MAX) return { ...known, failures };
  return { state: 'stale', value: known.value, at: known.at, failures, error };
}

/** The last answer; null when there is none. */
export function latest<T>(known: Resource<T>): T | null {
  return known.state === 'ready' || known.state === 'stale' ? known.value : null;
}

export interface Watched<T> {
  readonly resource: Signal<Resource<T>>;
  /** Asks now. */
  again(): void;
  /** Shows a newer value, such as the answer to a change. */
  set(value: T): void;
  stop(): void;
}

function asError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError('malformed', String(error), 0, '', '');
}

/** How often a hidden tab asks: not at all, in effect; it asks at once when it is shown. */
const HIDDEN_INTERVAL_MS = 86_400_000;
/** A resource that nothing but a change makes old. */
export const ON_DEMAND_MS = 86_400_000;

/** Reads something again and again. */
export function watch<T>(load: (signal: AbortSignal) => Promise<T>, intervalMs: number): Watched<T> {
  const resource = signal<Resource<T>>({ state: 'loading' });
  const polling = poll({
    ask: load,
    onAnswer: (value) => {
      resource.value = after(resource.value, { value, at: Date.now() });
    },
    onFailure: (error) => {
      resource.value = after(resource.value, { error: asError(error) });
    },
    intervalMs,
    hiddenIntervalMs: HIDDEN_INTERVAL_MS,
  });
  return {
    resource,
    again: () => polling.now(),
    set: (value) => {
      resource.value = { state: 'ready', value, at: Date.now(), failures: 0 };
    },
    stop: () => polling.stop(),
  };
}
