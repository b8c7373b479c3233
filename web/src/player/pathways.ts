/**
 * Leaves a failing node for another one at once, where the playlist lists several pathways (content steering, RFC 8216bis 7).
 *
 * hls.js alone tries each rung of a pathway, each with all its retries, before it takes another pathway. That suits a server that lacks
 * a file; when the server is gone, it takes far longer than the buffer lasts. Without another pathway, hls.js retries as usual.
 */

import Hls, {
  type ErrorActionFlags,
  type ErrorController,
  type ErrorData,
  ErrorDetails,
  Events,
  type NetworkErrorAction,
} from 'hls.js';

/** How long hls.js stays away from a failed pathway, milliseconds. */
const PENALTY_MS = 300_000;
/** `NetworkErrorAction.SendAlternateToPenaltyBox` and `ErrorActionFlags.MoveAllAlternatesMatchingHost`: hls.js exports their types only. */
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

/** Whether an error means that the server is gone or cannot serve, not that one object is missing. Pure. */
export function isServerGone(details: string, status: number): boolean {
  return TIMEOUTS.has(details) || (FAILURES.has(details) && (status === 0 || status >= 500));
}

/** A failed request, and the pathways at that time. */
export interface Failure {
  /** The pathway in use, and all pathways. */
  current: string;
  all: readonly string[];
  /** Origins of the pathway in use and of the failed request. */
  currentOrigin: string;
  failedOrigin: string;
  nowMs: number;
}

/** Remembers which pathways have failed. Pure: time comes in. */
export class FailedPathways {
  readonly #failedAtMs = new Map<string, number>();

  /** Whether to leave the pathway in use; if so, remembers that it failed. Late failures of an earlier pathway do not count. */
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

/** hls.js's error controller, which also leaves failed pathways. This listener runs after its own, and before content steering's. */
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
