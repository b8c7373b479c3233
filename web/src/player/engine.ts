/** The interface of what plays HLS: hls.js, or the browser itself. */

export interface Level {
  /** Rendition name, `720p`. */
  name: string;
  width: number | null;
  height: number | null;
  frameRate: number | null;
  /** Bits per second. */
  bitrate: number;
}

/** Wall-clock range of the media that a playlist lists, milliseconds since 1970. */
export interface Span {
  startMs: number;
  /** The live edge. */
  endMs: number;
  /** The moment on screen; null when nothing is. */
  positionMs: number | null;
}

/** Where to begin in a recording. */
export interface Begin {
  /** Media time from the start of its playlist, as last read, seconds. */
  offsetSeconds: number;
  /** The wanted moment, milliseconds since 1970. */
  dateMs: number;
}

export interface EngineStats {
  /** Index into `levels` of the rung on screen; -1 when unknown. */
  level: number;
  /** Origin of that rung's playlist, `https://b1.example.net:8443`; null when unknown. */
  origin: string | null;
  /** True when the bandwidth decides the rung. */
  auto: boolean;
  levels: Level[];
  /** Distance from the playhead to the live edge, seconds; null when unknown. */
  latencySeconds: number | null;
  /** The distance the player aims for, seconds; null when unknown. */
  targetSeconds: number | null;
  /** Seconds from the ingest's EXT-X-PROGRAM-DATE-TIME to the screen, by this device's clock; null when unknown or implausible. */
  endToEndSeconds: number | null;
  /** Null before the first playlist, or when it has no dates. */
  span: Span | null;
  /** Bandwidth estimate, bit/s; null when unknown. */
  bandwidth: number | null;
  /** Media time at which the newest listed media ends, seconds; null when nothing is listed. */
  newestSeconds: number | null;
  /** When bytes of media last arrived, by `performance.now()`; null when unknown. */
  receivedAtMs: number | null;
  /** True once the playlist says that nothing follows (EXT-X-ENDLIST). */
  endOfStream: boolean;
  fatalErrors: number;
  nonFatalErrors: number;
  /** The newest errors, oldest first. */
  errors: PlayerError[];
}

export interface PlayerError {
  /** Milliseconds since 1970. */
  at: number;
  fatal: boolean;
  /** hls.js error details, or a MediaError message. */
  details: string;
  status: number | null;
}

/** Errors kept for `window.sealcast` and the stats panel. */
export const ERRORS_KEPT = 32;

export interface Engine {
  readonly kind: 'hls.js' | 'native';
  /** Loads a playlist and plays from its live edge or, with `begin`, from a moment of a recording. */
  load(url: string, begin: Begin | null): void;
  /** Chooses a rung by its index; -1 lets the bandwidth decide. */
  chooseLevel(index: number): void;
  /** Seeks to the live edge, as near as is safe. */
  seekToLive(): void;
  /** Seeks to a moment, milliseconds since 1970; false when the playlist cannot serve it. */
  seekToDate(dateMs: number): boolean;
  /** Reports a stall: the engine stays a little further from the live edge for a while. */
  onStall(): void;
  /** Loads again: at the live edge, or from the position of the picture. */
  reload(atEdge: boolean): void;
  stats(): EngineStats;
  destroy(): void;
}

export interface EngineEvents {
  /** Recovery failed, and the stream does not play any more. */
  onGaveUp(): void;
  /** Rungs, the chosen rung or the end of the stream changed. */
  onChange(): void;
}

/** Name of the rendition in a playlist's URL: `/live/demo/720p/index.m3u8` is `720p`. */
export function renditionName(playlistUrl: string): string | null {
  const parts = playlistUrl.split(/[?#]/, 1)[0]?.split('/') ?? [];
  return parts.at(-2) || null;
}

/** The end-to-end delay in seconds, or null when the two clocks cannot both be right. */
export function plausibleDelay(seconds: number): number | null {
  return Number.isFinite(seconds) && seconds > -1 && seconds < 600 ? Math.max(0, seconds) : null;
}
