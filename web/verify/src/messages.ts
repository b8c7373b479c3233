/** What the page and the worker say to each other. */

import type { Checks, Place } from './session';

export type ToWorker =
  | { kind: 'begin'; place: Place; root: string | null; skipped: number }
  | { kind: 'object'; place: string; bytes: ArrayBuffer };

export type FromWorker = { kind: 'checks'; checks: Checks };
