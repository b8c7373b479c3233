/** hls.js set up for a live stream whose nodes may die: play at the edge, wait for the next node, never give up early. */

import type { HlsConfig, LoaderResponse, LoadPolicy, RetryConfig } from 'hls.js';

/** Kept behind the playhead, seconds: enough to step back once, bounded for phones. */
const BACK_BUFFER_SECONDS = 20;
/** Loaded ahead at most, seconds; the live window is 48 s. */
const FORWARD_BUFFER_SECONDS = 30;
/**
 * Behind this a picture may be gone from the live window: hls.js jumps by itself. Target durations; the window has twelve.
 * Set after hls.js is made: as part of its configuration it would want the distance to the edge set too, which is the playlist's
 * to say.
 */
export const LIVE_DISTANCE_TARGETS_MAX = 10;
/**
 * A rung may take this share of the measured bandwidth (`abrBandWidthFactor`). A link that is full of one rung leaves nothing to catch up
 * with: with hls.js's own 0.95 a viewer behind 3 Mbit/s watched 2.9 Mbit/s and fell 5 s behind.
 */
export const BANDWIDTH_SHARE = 0.8;
/** A rung that failed may be chosen again after this long, milliseconds. */
const RUNG_PENALTY_MS = 15_000;

/** First and longest wait before a request is repeated, milliseconds: well within the buffer. */
const RETRY_MS = 150;
const RETRY_MS_MAX = 1_000;
/** Repetitions before hls.js calls an error fatal: about 15 s, longer than a node switch takes. */
const RETRIES_MAX = 16;
/**
 * Longest wait for a first byte, milliseconds. What hls.js asks for is there or comes within a part; a node that says nothing for so
 * long is gone, and only asking again finds another.
 */
const FIRST_BYTE_MS_MAX = 3_000;

/** Statuses that say "this address is wrong for ever" rather than "not here yet" or "not now". */
const FINAL_STATUSES = new Set([400, 401, 403, 410, 414]);

/**
 * hls.js alone gives up at once on a 404 and on a refused connection (status 0). At the live edge both
 * pass: a node that has just taken over does not hold the newest part yet, a node that died refuses
 * until the load balancer has seen it. What is not about the network (a gap, media that cannot be parsed)
 * is hls.js's to decide: asking again for a gap would keep the player on a rung that the ingest has shed.
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
    // Fragmented MP4 goes to the decoder as it is, so a worker would only copy bytes about.
    enableWorker: false,
    lowLatencyMode: true,
    // Loading does not wait for the element to be ready: 100 ms and more of every join.
    startFragPrefetch: true,
    liveDurationInfinity: true,
    backBufferLength: BACK_BUFFER_SECONDS,
    maxBufferLength: FORWARD_BUFFER_SECONDS,
    maxMaxBufferLength: FORWARD_BUFFER_SECONDS,
    // Both are decided here: in `pace.ts`, which can also fall back, and in `live-target.ts`.
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

/** On top, for a recording played from a moment of it: nothing pulls to the live edge. */
export function recordingConfig(offsetSeconds: number): Partial<HlsConfig> {
  return { startPosition: offsetSeconds, lowLatencyMode: false };
}

/** What a media playlist says about its live edge, of hls.js's `LevelDetails`. Seconds; 0 where it says nothing. */
export interface EdgeRules {
  partHoldBack: number;
  partTarget: number;
  holdBack: number;
  targetduration: number;
}

/** Nearer than this only where the playlist recommends it, seconds: with 0.2 s parts, joins nearer than that began with a wait and ended further away. */
const NEARER_SECONDS_MIN = 1.2;

/**
 * Distance to the live edge to aim for, seconds (RFC 8216bis 4.4.3.8). With parts half a part less than the playlist recommends to any
 * player: this player keeps away further after its first stall. Pure.
 */
export function edgeDistance({ partHoldBack, partTarget, holdBack, targetduration }: EdgeRules): number {
  if (partHoldBack === 0) return holdBack || 3 * targetduration;
  return Math.max(partHoldBack - partTarget / 2, Math.min(partHoldBack, NEARER_SECONDS_MIN));
}
