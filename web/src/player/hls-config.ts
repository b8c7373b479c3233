/** hls.js set up for a live stream whose nodes may die: wait for the next one, never skip, never give up early. */

import type { HlsConfig, LoaderResponse, LoadPolicy, RetryConfig } from 'hls.js';

/**
 * `parts` plays EXT-X-PARTs a few seconds behind the edge; `segments` plays whole segments at HOLD-BACK,
 * and hls.js does not see that there are parts (`withoutParts`). Pages play segments: hls.js 1.7.4 moves its
 * timeline when it joins a stream inside a segment, in either mode, as soon as a playlist lists parts.
 */
export type Delivery = 'segments' | 'parts';

/**
 * Least distance to the live edge for a playlist with parts, seconds. A server may allow three part
 * targets (1.5 s); a node that dies needs detecting and its request retrying elsewhere, and that must
 * fit in the buffer.
 */
export const LIVE_DISTANCE_SECONDS_MIN = 4;
/** Kept behind the playhead, seconds: enough to step back once, bounded for phones. */
const BACK_BUFFER_SECONDS = 20;
/** Loaded ahead at most, seconds; the live window is 48 s. */
const FORWARD_BUFFER_SECONDS = 30;
/** Speed-up at most while catching up with the live edge: 6 % is not heard in speech. */
const CATCH_UP_RATE = 1.06;
/** Further behind than this the player jumps to the live edge, seconds. Within the live window. */
const LIVE_DISTANCE_SECONDS_MAX = 40;
/** A rung that failed may be chosen again after this long, milliseconds. */
const RUNG_PENALTY_MS = 15_000;
/** First guess of the bandwidth, bit/s: starts on a middle rung instead of the lowest. */
const BANDWIDTH_GUESS = 3_000_000;

/** First and longest wait before a request is repeated, milliseconds: well within the buffer. */
const RETRY_MS = 150;
const RETRY_MS_MAX = 1_000;
/** Repetitions before hls.js calls an error fatal: about 15 s, longer than a node switch takes. */
const RETRIES_MAX = 16;

/** Statuses that say "this address is wrong for ever" rather than "not here yet" or "not now". */
const FINAL_STATUSES = new Set([400, 401, 403, 410, 414]);

/**
 * hls.js alone gives up at once on a 404 and on a refused connection (status 0). At the live edge both
 * pass: a node that has just taken over does not hold the newest part yet, a node that died refuses
 * until the load balancer has seen it.
 */
export function retryLive(
  config: RetryConfig | null | undefined,
  retryCount: number,
  _isTimeout: boolean,
  response: LoaderResponse | undefined,
  _default: boolean,
): boolean {
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

export function hlsConfig(delivery: Delivery): Partial<HlsConfig> {
  return {
    // Fragmented MP4 goes to the decoder as it is, so a worker would only copy bytes about.
    enableWorker: false,
    lowLatencyMode: delivery === 'parts',
    liveDurationInfinity: true,
    backBufferLength: BACK_BUFFER_SECONDS,
    maxBufferLength: FORWARD_BUFFER_SECONDS,
    maxMaxBufferLength: FORWARD_BUFFER_SECONDS,
    maxLiveSyncPlaybackRate: CATCH_UP_RATE,
    liveMaxLatencyDuration: LIVE_DISTANCE_SECONDS_MAX,
    liveSyncDuration: LIVE_DISTANCE_SECONDS_MIN,
    errorPenaltyExpireMs: RUNG_PENALTY_MS,
    abrEwmaDefaultEstimate: BANDWIDTH_GUESS,
    capLevelToPlayerSize: false,
    enableInterstitialPlayback: false,
    // A blocking playlist reload answers within three target durations at the latest.
    manifestLoadPolicy: policy(6_000, 10_000),
    playlistLoadPolicy: policy(13_000, 16_000),
    fragLoadPolicy: policy(6_000, 20_000),
  };
}

/** Distance to the live edge to aim for, seconds, from what a media playlist says. */
export function liveDistance(playlist: string, delivery: Delivery): number | null {
  const control = /^#EXT-X-SERVER-CONTROL:(.*)$/m.exec(playlist)?.[1] ?? '';
  const hasParts = /^#EXT-X-PART-INF:/m.test(playlist);
  if (hasParts && delivery === 'parts') {
    const partHoldBack = Number(/PART-HOLD-BACK=([\d.]+)/.exec(control)?.[1] ?? 0);
    return Math.max(partHoldBack, LIVE_DISTANCE_SECONDS_MIN);
  }
  const holdBack = Number(/(?:^|,)HOLD-BACK=([\d.]+)/.exec(control)?.[1] ?? 0);
  const target = Number(/^#EXT-X-TARGETDURATION:(\d+)/m.exec(playlist)?.[1] ?? 0);
  if (holdBack > 0) return holdBack;
  // RFC 8216bis 4.4.3.8: without HOLD-BACK, three target durations.
  return target > 0 ? 3 * target : null;
}

const PART_TAGS = /^#EXT-X-(?:PART|PART-INF|PRELOAD-HINT|RENDITION-REPORT):.*\n?/gm;

/** The same playlist as a player without low latency reads it: no parts, no blocking or delta reloads. */
export function withoutParts(playlist: string): string {
  return playlist.replace(PART_TAGS, '').replace(/^#EXT-X-SERVER-CONTROL:(.*)$/m, (_, attributes: string) => {
    const holdBack = /(?:^|,)(HOLD-BACK=[\d.]+)/.exec(attributes)?.[1];
    return holdBack ? `#EXT-X-SERVER-CONTROL:${holdBack}` : '#';
  });
}
