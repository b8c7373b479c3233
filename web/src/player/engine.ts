/** What the page needs from whatever plays HLS: hls.js, or the browser itself. */

export interface Level {
  /** Rendition name, `720p`. */
  name: string;
  width: number | null;
  height: number | null;
  frameRate: number | null;
  /** Bits per second. */
  bitrate: number;
}

/** Wall-clock moments of what the playlist lists, milliseconds since 1970. */
export interface Span {
  startMs: number;
  /** The live edge. */
  endMs: number;
  /** What is on screen; null when nothing is. */
  positionMs: number | null;
}

/** Where to begin in a recording. */
export interface Begin {
  /** Media time from the begin of its playlist, seconds, when that was last read. */
  offsetSeconds: number;
  /** The moment meant, milliseconds since 1970. */
  dateMs: number;
}

export interface EngineStats {
  /** Index into `levels` of the rung on screen; -1 when unknown. */
  level: number;
  /** Where its playlist comes from, `https://b1.example.net:8443`; null when unknown. */
  origin: string | null;
  /** True when the rung is chosen by bandwidth. */
  auto: boolean;
  levels: Level[];
  /** Distance from the playhead to the live edge, seconds; null when unknown. */
  latencySeconds: number | null;
  /** The distance the player aims for, seconds; null when unknown. */
  targetSeconds: number | null;
  /** From the moment stamped by the ingest (EXT-X-PROGRAM-DATE-TIME) to the screen, by this device's clock. */
  endToEndSeconds: number | null;
  /** Null while no playlist is there, or when it has no dates. */
  span: Span | null;
  /** Bandwidth estimate, bit/s; null when unknown. */
  bandwidth: number | null;
  /** Where the newest listed media ends, seconds of media time; null when nothing is listed. */
  newestSeconds: number | null;
  /** When media last came, finished or not, by `performance.now()`; null when that is not known. */
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
  /** From the live edge, or from a moment of a recording. */
  load(url: string, begin: Begin | null): void;
  /** -1 chooses by bandwidth. */
  chooseLevel(index: number): void;
  /** Jumps to the live edge, as near as is safe. */
  seekToLive(): void;
  /** Jumps to a moment; false when the playlist does not list it. */
  seekToDate(dateMs: number): boolean;
  /** The picture stood still: stay a little further from the edge for a while. */
  onStall(): void;
  /** Begins to load again: at the live edge, or where the picture stands. */
  reload(atEdge: boolean): void;
  stats(): EngineStats;
  destroy(): void;
}

export interface EngineEvents {
  /** The engine could not help itself; the stream does not play any more. */
  onGaveUp(): void;
  /** Rungs, the chosen rung or the end of the stream changed. */
  onChange(): void;
}

/** `/live/demo/720p/index.m3u8` is rendition `720p`. */
export function renditionName(playlistUrl: string): string | null {
  const parts = playlistUrl.split(/[?#]/, 1)[0]?.split('/') ?? [];
  return parts.at(-2) || null;
}

/** The end-to-end delay is shown only when the two clocks can be right. Seconds. */
export function plausibleDelay(seconds: number): number | null {
  return Number.isFinite(seconds) && seconds > -1 && seconds < 600 ? Math.max(0, seconds) : null;
}
