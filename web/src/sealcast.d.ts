/** `window.sealcast`: the page's state for tests and for support. Read-only; every read is fresh. */

import type { Verified } from './api/types';
import type { Level, PlayerError, Span } from './player/engine';
import type { FirstFrame } from './player/player';
import type { ApiState, PlayerPhase, ViewState } from './player/view-state';
import type { WatchdogStats } from './player/watchdog';

export interface SealcastPage {
  readonly page: 'home' | 'watch' | 'other';
  /** Home page: streams listed by the last answer; null before it. */
  readonly streamsListed: number | null;
  /** Watch page: the player. Null on other pages. */
  readonly player: SealcastPlayer | null;
}

export interface SealcastPlayer {
  readonly stream: string;
  readonly engine: 'hls.js' | 'native' | 'none';
  /** What stands over the picture; `playing` means nothing does. */
  readonly view: ViewState;
  /** What the node says of the stream. */
  readonly api: ApiState;
  readonly phase: PlayerPhase;
  /** Media time, seconds. Does not go back over a node switch or a reconnect. */
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
  /** Where its playlist comes from, `https://b1.example.net:8443`; null when unknown. */
  readonly origin: string | null;
  /** True when the rung is chosen by bandwidth. */
  readonly autoLevel: boolean;
  readonly levels: readonly Level[];
  /** Pixels of the picture being shown. */
  readonly videoWidth: number;
  readonly videoHeight: number;
  /** Errors hls.js called fatal, healed ones included. A viewer of a healthy cluster sees 0. */
  readonly fatalErrors: number;
  readonly nonFatalErrors: number;
  /** The newest errors, oldest first. */
  readonly errors: readonly PlayerError[];
  /** Standstills of 300 ms and more after the first frame, seeks and pauses not counted. */
  readonly stalls: {
    readonly count: number;
    readonly totalMs: number;
    readonly longestMs: number;
    /** True while one is under way. */
    readonly now: boolean;
  };
  /** What the page did about standstills while there was more to play. A viewer of a healthy cluster sees 0. */
  readonly watchdog: WatchdogStats;
  /** Milliseconds from loading to the first moving frame; null before it. */
  readonly startupMs: number | null;
  /** How long the first frame took, from navigation and from asking for the multivariant playlist; null before it. */
  readonly firstFrame: FirstFrame | null;
  /** The moments that the seek bar reaches, and the one on screen; null without a recording. */
  readonly span: Span | null;
  /** Above 1 while catching up with the live edge. */
  readonly playbackRate: number;
  readonly droppedFrames: number;
  readonly decodedFrames: number;
  /** How often the stream was loaded: 1, and 1 more for each return after an end or retry. */
  readonly loads: number;
  /** The node's own statement of what it verified; null while it has made none. */
  readonly verified: Verified | null;
  /** As the buttons do. */
  readonly actions: {
    /** -1 chooses by bandwidth. */
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
