/** Configures hls.js for a live stream whose nodes may die: play at the live edge, wait for another node, do not give up early. */

import type { HlsConfig, LoaderResponse, LoadPolicy, RetryConfig } from 'hls.js';

/** Media kept behind the playhead, seconds: enough for one step back, and little enough for phones. */
const BACK_BUFFER_SECONDS = 20;
/** Most media loaded ahead, seconds; the live window is 48 s. */
const FORWARD_BUFFER_SECONDS = 30;
/**
 * Further behind the live edge than this, hls.js jumps by itself, because the media may leave the live window. In target durations;
 * the window has twelve. It is set after hls.js is made: in the configuration, hls.js would also require the distance to the edge,
 * which the playlist states.
 */
export const LIVE_DISTANCE_TARGETS_MAX = 10;
/**
 * A rung may take this share of the measured bandwidth (`abrBandWidthFactor`). A rung that fills the link leaves nothing for catching
 * up: with hls.js's default of 0.95, a viewer on a link of 3 Mbit/s watched 2.9 Mbit/s and fell 5 s behind.
 */
export const BANDWIDTH_SHARE = 0.8;
/** hls.js may choose a rung that failed again after this time, milliseconds. */
const RUNG_PENALTY_MS = 15_000;

/** First and longest wait before a request is repeated, milliseconds: shorter than the buffer lasts. */
const RETRY_MS = 150;
const RETRY_MS_MAX = 1_000;
/** Repetitions before hls.js calls an error fatal: about 15 s, longer than a node switch takes. */
const RETRIES_MAX = 16;
/**
 * Longest wait for a first byte, milliseconds. What hls.js requests exists or comes within a part. A node that is silent for this
 * long is gone, and only another request reaches another node.
 */
const FIRST_BYTE_MS_MAX = 3_000;

/** Statuses that mean "this URL stays wrong", not "not yet" or "not now". */
const FINAL_STATUSES = new Set([400, 401, 403, 410, 414]);

/**
 * hls.js alone gives up at once on a 404 and on a refused connection (status 0). At the live edge both
 * pass: a node that has just taken over does not hold the newest part yet, and a dead node refuses
 * connections until the load balancer notices. For errors other than the network's (a gap, media that
 * cannot be parsed), hls.js decides: retrying a gap would keep the player on a rung that the ingest has shed.
 */
export function retryLive(
  config: RetryConfig | null | undefined,
  retryCount: number,
  isTimeout: boolean,
  response: LoaderResponse | undefined,
  byDefault: boolean,
): boolean {
  if (!response && !isTimeout) return byDefault;
  if (!config || retryCount >= config.maxNumRetry) return false;
  return !FINAL_STATUSES.has(response?.code ?? 0);
}

function policy(firstByteMs: number, loadMs: number): { default: LoadPolicy['default'] } {
  const retry: RetryConfig = {
    maxNumRetry: RETRIES_MAX,
    retryDelayMs: RETRY_MS,
    maxRetryDelayMs: RETRY_MS_MAX,
    shouldRetry: retryLive,
  };
  return {
    default: {
      maxTimeToFirstByteMs: firstByteMs,
      maxLoadTimeMs: loadMs,
      timeoutRetry: { ...retry, retryDelayMs: 0 },
      errorRetry: retry,
    },
  };
}

export function hlsConfig(bandwidthGuess: number): Partial<HlsConfig> {
  return {
    // Fragmented MP4 goes to the decoder as it is, so a worker would only copy bytes.
    enableWorker: false,
    lowLatencyMode: true,
    // Loading does not wait for the element to be ready, which saves 100 ms and more of every join.
    startFragPrefetch: true,
    liveDurationInfinity: true,
    backBufferLength: BACK_BUFFER_SECONDS,
    maxBufferLength: FORWARD_BUFFER_SECONDS,
    maxMaxBufferLength: FORWARD_BUFFER_SECONDS,
    // The page decides both: the rate in `pace.ts`, which can also slow down, and the distance in `live-target.ts`.
    maxLiveSyncPlaybackRate: 1,
    liveSyncOnStallIncrease: 0,
    errorPenaltyExpireMs: RUNG_PENALTY_MS,
    abrEwmaDefaultEstimate: bandwidthGuess,
    abrBandWidthFactor: BANDWIDTH_SHARE,
    capLevelToPlayerSize: false,
    enableInterstitialPlayback: false,
    manifestLoadPolicy: policy(6_000, 10_000),
    playlistLoadPolicy: policy(FIRST_BYTE_MS_MAX, 10_000),
    fragLoadPolicy: policy(FIRST_BYTE_MS_MAX, 20_000),
  };
}

/** Additional settings to play a recording from a position in it, without a pull to the live edge. */
export function recordingConfig(offsetSeconds: number): Partial<HlsConfig> {
  return { startPosition: offsetSeconds, lowLatencyMode: false };
}

/** Hold-backs and durations of a media playlist, from hls.js's `LevelDetails`. Seconds; 0 where the playlist has none. */
export interface EdgeRules {
  partHoldBack: number;
  partTarget: number;
  holdBack: number;
  targetduration: number;
}

/**
 * The player is nearer than this only where the playlist recommends it, seconds. With 0.2 s parts, joins nearer than that began with a
 * wait and ended further away.
 */
const NEARER_SECONDS_MIN = 1.2;

/**
 * Distance to the live edge to aim for, seconds (RFC 8216bis 4.4.3.8). With parts, it is half a part less than the playlist recommends
 * to any player, because this player moves further away after its first stall. Pure.
 */
export function edgeDistance({ partHoldBack, partTarget, holdBack, targetduration }: EdgeRules): number {
  if (partHoldBack === 0) return holdBack || 3 * targetduration;
  return Math.max(partHoldBack - partTarget / 2, Math.min(partHoldBack, NEARER_SECONDS_MIN));
}
