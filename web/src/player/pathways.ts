/**
 * Leaves a node that fails for another one at once, where the playlist lists several (content steering, RFC 8216bis 7).
 *
 * hls.js alone tries each rung of a pathway, each with all its retries, before it takes another pathway: right for a server that
 * lacks a file, and far longer than the buffer lasts when the server is gone. Where there is nowhere else to go it retries as ever.
 */

import Hls, {
  type ErrorActionFlags,
  type ErrorController,
  type ErrorData,
  ErrorDetails,
  Events,
  type NetworkErrorAction,
} from 'hls.js';

/** hls.js comes back to a pathway no sooner, milliseconds. */
const PENALTY_MS = 300_000;
/** hls.js's `NetworkErrorAction.SendAlternateToPenaltyBox` and `ErrorActionFlags.MoveAllAlternatesMatchingHost`: types only. */
const PENALTY_BOX = 2 as NetworkErrorAction.SendAlternateToPenaltyBox;
const WHOLE_HOST = 1 as ErrorActionFlags.MoveAllAlternatesMatchingHost;

const TIMEOUTS = new Set<string>([
  ErrorDetails.FRAG_LOAD_TIMEOUT,
  ErrorDetails.LEVEL_LOAD_TIMEOUT,
  ErrorDetails.AUDIO_TRACK_LOAD_TIMEOUT,
]);
const FAILURES = new Set<string>([
  ErrorDetails.FRAG_LOAD_ERROR,
  ErrorDetails.LEVEL_LOAD_ERROR,
  ErrorDetails.AUDIO_TRACK_LOAD_ERROR,
]);

/** Whether an error tells that the server is gone or cannot serve, not that it lacks one thing. Pure. */
export function isServerGone(details: string, status: number): boolean {
  return TIMEOUTS.has(details) || (FAILURES.has(details) && (status === 0 || status >= 500));
}

/** What is known when something failed. */
export interface Failure {
  /** The pathway in use, and all there are. */
  current: string;
  all: readonly string[];
  /** Where the pathway in use leads, and where the request went that failed. */
  currentOrigin: string;
  failedOrigin: string;
  nowMs: number;
}

/** Which pathways have failed. Pure: time comes in. */
export class FailedPathways {
  readonly #failedAtMs = new Map<string, number>();

  /** Whether to leave the pathway in use; remembers that it failed. Not for requests that had gone elsewhere before. */
  leave({ current, all, currentOrigin, failedOrigin, nowMs }: Failure): boolean {
    if (currentOrigin !== failedOrigin) return false;
    const isOpen = (pathway: string): boolean =>
      nowMs - (this.#failedAtMs.get(pathway) ?? Number.NEGATIVE_INFINITY) > PENALTY_MS;
    if (!all.some((pathway) => pathway !== current && isOpen(pathway))) return false;
    this.#failedAtMs.set(current, nowMs);
    return true;
  }
}

function origin(url: string | undefined): string {
  return url !== undefined && URL.canParse(url) ? new URL(url).origin : '';
}

/** hls.js's decisions about errors, with that. Its own listener comes first, and that of content steering after this one. */
export function leavingErrors(): typeof ErrorController {
  return class extends Hls.DefaultConfig.errorController {
    constructor(hls: Hls) {
      super(hls);
      const failed = new FailedPathways();
      hls.on(Events.ERROR, (_, data: ErrorData) => {
        const level = hls.levels[Math.max(hls.loadLevel, 0)];
        if (data.fatal || !level || !isServerGone(data.details, data.response?.code ?? 0)) return;
        const leaves = failed.leave({
          current: level.pathwayId,
          all: hls.pathways,
          currentOrigin: origin(level.uri),
          failedOrigin: origin(data.frag?.url ?? data.context?.url ?? data.url),
          nowMs: performance.now(),
        });
        if (leaves) data.errorAction = { action: PENALTY_BOX, flags: WHOLE_HOST };
      });
    }
  };
}
