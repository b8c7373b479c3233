/** What the page and the worker say to each other. */

import type { Checks, Place } from './session';

export type ToWorker =
  | { kind: 'begin'; place: Place; root: string | null; skipped: number }
  | ({ kind: 'object' } & Loaded);

/** What the player has loaded: an object, or a range of one that begins at a byte. */
export interface Loaded {
  place: string;
  rangeStart: number | null;
  bytes: ArrayBuffer;
}

export type FromWorker = { kind: 'checks'; checks: Checks };
