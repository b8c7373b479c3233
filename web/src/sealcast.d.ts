/** `window.sealcast`: the page's state, for tests and support. Read-only; each read gives the current state. */

import type { Checks } from '../verify/src';
import type { Verified } from './api/types';
import type { Level, PlayerError, Span } from './player/engine';
import type { FirstFrame } from './player/player';
import type { ApiState, PlayerPhase, ViewState } from './player/view-state';
import type { WatchdogStats } from './player/watchdog';

export interface SealcastPage {
  readonly page: 'home' | 'watch' | 'other';
  /** Home page: number of streams in the last answer; null before it, and on other pages. */
  readonly streamsListed: number | null;
  /** Watch page: the player. Null on other pages. */
  readonly player: SealcastPlayer | null;
}

export interface SealcastPlayer {
  readonly stream: string;
  readonly engine: 'hls.js' | 'native' | 'none';
  /** What covers the picture; with `playing`, nothing does. */
  readonly view: ViewState;
  /** State of the stream by the node's last answer. */
  readonly api: ApiState;
  readonly phase: PlayerPhase;
  /** Media time, seconds. It does not go back when the player changes node or reconnects. */
  readonly currentTime: number;
  readonly paused: boolean;
  readonly muted: boolean;
  /** Seconds from the playhead to the live edge; null when unknown. */
  readonly latencySeconds: number | null;
  /** The distance the player aims for, seconds. */
  readonly targetLatencySeconds: number | null;
  /** Seconds from the wall clock in the picture to the screen, by this device's clock; null when the picture has none. */
  readonly glassToGlassSeconds: number | null;
  /** Seconds from ingest to screen by this device's clock; null when implausible. */
  readonly endToEndSeconds: number | null;
  /** Seconds buffered ahead. */
  readonly bufferSeconds: number;
  /** Index into `levels` of the rung on screen; -1 when unknown. */
  readonly level: number;
  /** Origin of that rung's playlist, `https://b1.example.net:8443`; null when unknown. */
  readonly origin: string | null;
  /** True when the bandwidth decides the rung. */
  readonly autoLevel: boolean;
  readonly levels: readonly Level[];
  /** Pixels of the picture being shown. */
  readonly videoWidth: number;
  readonly videoHeight: number;
  /** Errors that hls.js called fatal, with those recovered from. A viewer of a healthy cluster sees 0. */
  readonly fatalErrors: number;
  readonly nonFatalErrors: number;
  /** The newest errors, oldest first. */
  readonly errors: readonly PlayerError[];
  /** Standstills of at least 300 ms after the first frame, without seeks and pauses. */
  readonly stalls: {
    readonly count: number;
    readonly totalMs: number;
    readonly longestMs: number;
    /** True while one is under way. */
    readonly now: boolean;
  };
  /** Number of each of the watchdog's measures against standstills. A viewer of a healthy cluster sees 0. */
  readonly watchdog: WatchdogStats;
  /** Milliseconds from loading to the first moving frame; null before it. */
  readonly startupMs: number | null;
  /** Time until the first frame, from the navigation and from the request for the multivariant playlist; null before it. */
  readonly firstFrame: FirstFrame | null;
  /** The moments that the seek bar reaches, and the moment on screen; null without a recording. */
  readonly span: Span | null;
  /** Above 1 while catching up with the live edge. */
  readonly playbackRate: number;
  readonly droppedFrames: number;
  readonly decodedFrames: number;
  /** How often the stream was loaded: 1, plus 1 for each return after its end and each retry. */
  readonly loads: number;
  /** What this browser has checked itself. */
  readonly checks: Checks;
  /** The node's own statement of what it verified; null before the first. */
  readonly verified: Verified | null;
  /** The same actions as the buttons'. */
  readonly actions: {
    /** Chooses a rung by its index; -1 lets the bandwidth decide. */
    chooseLevel(index: number): void;
    seekToLive(): void;
    /** Milliseconds since 1970. */
    seekTo(dateMs: number): void;
  };
}

declare global {
  interface Window {
    sealcast?: SealcastPage;
  }
}
