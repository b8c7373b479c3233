/** Owns one video element, one engine and the playback phase. Does not touch the page around them. */

import type { StreamVerifier } from '../../verify/src';
import { abilities } from './browser-limits';
import type { EarlyJoin } from './early';
import type { Begin, Engine, EngineStats, Span } from './engine';
import { GlassMeter } from './glass';
import { HlsEngine } from './hls-engine';
import { EdgeKeeper, LIVE_SLACK_SECONDS } from './live-target';
import { NativeEngine } from './native-engine';
import { pace } from './pace';
import type { Recording } from './recording';
import { StallMeter, type StallStats } from './stalls';
import type { PlayerPhase } from './view-state';
import { type Measure, nudgeTarget, Watchdog, type WatchdogStats } from './watchdog';

/** Interval at which the position is sampled, milliseconds: shorter than the shortest stall that counts. */
const SAMPLE_MS = 100;

/** A seek to a moment this near to the live edge goes to the live edge, milliseconds. */
const LIVE_MS = 8_000;
/** After a longer pause, the position may have left the live window, milliseconds. */
const PAUSE_MS_MAX = 20_000;

/** With less than this buffered ahead, video or audio has run out, seconds. */
const DRY_SECONDS = 0.05;

/** Phases in which the picture is not expected to move at all; `STILL` adds the start. */
const OVER: ReadonlySet<PlayerPhase> = new Set(['idle', 'finished', 'failed', 'halted']);
const STILL: ReadonlySet<PlayerPhase> = new Set([...OVER, 'starting']);

const NO_STATS: EngineStats = {
  level: -1,
  origin: null,
  auto: true,
  levels: [],
  latencySeconds: null,
  targetSeconds: null,
  endToEndSeconds: null,
  span: null,
  bandwidth: null,
  newestSeconds: null,
  receivedAtMs: null,
  endOfStream: false,
  fatalErrors: 0,
  nonFatalErrors: 0,
  errors: [],
};

/** Time until the first frame, milliseconds. */
export interface FirstFrame {
  /** Since the navigation to the page. */
  sinceNavigationMs: number;
  /** Since the request for the multivariant playlist. */
  sincePlaylistMs: number;
}

export class Player {
  readonly video: HTMLVideoElement;
  readonly #onChange: () => void;
  readonly #verifier: StreamVerifier | null;
  readonly #meter = new StallMeter();
  readonly #watchdog = new Watchdog();
  readonly #edge = new EdgeKeeper();
  readonly #glass: GlassMeter;
  readonly #timer: ReturnType<typeof setInterval>;
  /** What was fetched before the player's code was loaded; the first load uses it up. */
  #early: EarlyJoin | null;
  #engine: Engine | null = null;
  #phase: PlayerPhase = 'idle';
  #finishedAtMs: number | null = null;
  #loadedAtMs = 0;
  #askedAtMs = 0;
  #startupMs: number | null = null;
  #firstFrame: FirstFrame | null = null;
  #liveUrl = '';
  #recording: Recording | null = null;
  /** Target of a seek, until the picture from there is on screen; milliseconds since 1970. */
  #goingToMs: number | null = null;
  /** The recording's index is being read for the seek; the old picture plays on. */
  #isAsking = false;
  #isRecording = false;
  /** Media time of the picture in seconds, and the frames shown by then. */
  #shown = { position: 0, frames: 0 };
  /** Media time of the picture when the watchdog began to act, seconds. */
  #stoodAt = 0;
  #paused: { atMs: number; positionMs: number } | null = null;
  /** The last known span; it stays while a recording loads. */
  #span: Span | null = null;

  constructor(
    video: HTMLVideoElement,
    early: EarlyJoin | null,
    verifier: StreamVerifier | null,
    onChange: () => void,
  ) {
    this.video = video;
    this.#verifier = verifier;
    this.#early = early;
    this.#onChange = onChange;
    this.#glass = new GlassMeter(video);
    for (const event of ['playing', 'waiting', 'pause', 'ended', 'seeked', 'loadeddata', 'volumechange']) {
      video.addEventListener(event, () => this.#update());
    }
    video.addEventListener('pause', () => this.#onPause());
    video.addEventListener('play', () => this.#onPlay());
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  get phase(): PlayerPhase {
    return this.#phase;
  }

  get engineKind(): Engine['kind'] | 'none' {
    return this.#engine?.kind ?? 'none';
  }

  /** Milliseconds from loading to the first moving frame; null before it. */
  get startupMs(): number | null {
    return this.#startupMs;
  }

  get firstFrame(): FirstFrame | null {
    return this.#firstFrame;
  }

  /** Delay from the clock in the picture to this screen, seconds; null when the picture has no clock. */
  get glassToGlassSeconds(): number | null {
    return this.#phase === 'playing' ? this.#glass.seconds : null;
  }

  get finishedForMs(): number | null {
    return this.#finishedAtMs === null ? null : performance.now() - this.#finishedAtMs;
  }

  stats(): EngineStats {
    return this.#engine?.stats() ?? NO_STATS;
  }

  stalls(): StallStats {
    return this.#meter.stats();
  }

  watchdog(): WatchdogStats {
    return this.#watchdog.stats();
  }

  /** Seconds buffered ahead of the playhead. */
  bufferSeconds(): number {
    const { buffered, currentTime } = this.video;
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) <= currentTime + 0.1 && buffered.end(index) > currentTime) {
        return buffered.end(index) - currentTime;
      }
    }
    return 0;
  }

  /** True when the playhead is as near to the live edge as the player wants it. */
  atLiveEdge(): boolean {
    const { latencySeconds, targetSeconds, endOfStream } = this.stats();
    if (latencySeconds === null || endOfStream || this.video.paused) return false;
    return latencySeconds <= (targetSeconds ?? latencySeconds) + LIVE_SLACK_SECONDS;
  }

  /** Loads the stream anew, also after its end or a failure. Returns false when this browser cannot play HLS. */
  load(url: string): boolean {
    if (this.#phase === 'halted') return true;
    const early = this.#early;
    this.#early = null;
    this.#engine ??= this.#makeEngine(early);
    if (!this.#engine) {
      this.#phase = 'failed';
      return false;
    }
    this.#finishedAtMs = null;
    this.#loadedAtMs = performance.now();
    this.#askedAtMs = early?.startedMs ?? this.#loadedAtMs;
    this.#liveUrl = url;
    this.#awaitFirstFrame();
    this.#switchTo(url, null);
    return true;
  }

  /** Sets the recording for seeks behind the live window; null when there is none. */
  setRecording(recording: Recording | null): void {
    this.#recording = recording;
  }

  /** The moments that a seek can reach, and the moment on screen; null when unknown or without a recording. */
  span(): Span | null {
    if (!this.#recording) return null;
    const { span } = this.stats();
    if (span) {
      const startMs = this.#recording.startMs(span.endMs) ?? span.startMs;
      this.#span = { ...span, startMs: Math.min(startMs, span.startMs) };
    } else if (this.#goingToMs === null) {
      this.#span = null;
    }
    return this.#span && { ...this.#span, positionMs: this.#goingToMs ?? this.#span.positionMs };
  }

  /** Seeks to a moment, milliseconds since 1970, within the playlist in use or else by loading the recording. */
  async seekTo(dateMs: number): Promise<void> {
    this.#paused = null;
    const { span } = this.stats();
    if (span && dateMs > span.endMs - LIVE_MS) {
      this.seekToLive();
      return;
    }
    this.#edge.onBehind();
    this.#isAsking = false;
    this.#goingToMs = dateMs;
    if (this.#engine?.seekToDate(dateMs)) {
      void this.play();
      return;
    }
    if (this.#recording) await this.#loadRecording(this.#recording, dateMs);
  }

  async #loadRecording(recording: Recording, dateMs: number): Promise<void> {
    this.#isAsking = true;
    const offsetSeconds = await recording.offset(dateMs).catch(() => null);
    // Meanwhile the viewer chose another moment, or the live edge.
    if (!this.#isAsking || (this.#goingToMs ?? dateMs) !== dateMs) return;
    this.#isAsking = false;
    if (offsetSeconds === null) this.#goingToMs = null;
    else this.#switchTo(recording.url, { offsetSeconds, dateMs });
  }

  /** Stops loading, because there is nothing to play, until the next load. */
  stop(): void {
    this.#engine?.destroy();
    this.#engine = null;
    this.#phase = 'idle';
  }

  /** Stops for good: what was loaded is not what was sealed, so nothing of it stays on screen. */
  halt(): void {
    this.#engine?.destroy();
    this.#engine = null;
    this.#phase = 'halted';
    this.video.pause();
    this.video.removeAttribute('src');
    this.video.removeAttribute('poster');
    this.video.load();
    this.#onChange();
  }

  async play(): Promise<void> {
    if (this.#phase === 'halted') return;
    // When the browser's autoplay policy refuses, the controls show the play button.
    await this.video.play().catch(() => undefined);
    this.#update();
  }

  seekToLive(): void {
    this.#edge.onLive();
    this.#goingToMs = null;
    this.#isAsking = false;
    this.#paused = null;
    if (this.#isRecording) {
      this.#switchTo(this.#liveUrl, null);
      return;
    }
    this.#engine?.seekToLive();
    void this.play();
  }

  chooseLevel(index: number): void {
    this.#engine?.chooseLevel(index);
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.#glass.destroy();
    this.#engine?.destroy();
  }

  #makeEngine(early: EarlyJoin | null): Engine | null {
    const events = {
      onGaveUp: () => {
        this.#phase = 'failed';
        this.#onChange();
      },
      onChange: () => this.#update(),
    };
    const { mediaSource, avc, nativeHls } = abilities(this.video);
    if (mediaSource && avc) return new HlsEngine(this.video, events, early, this.#verifier);
    if (!nativeHls) return null;
    this.#verifier?.cannot(
      'This browser plays with its own player, which does not show its media to the page.',
    );
    return new NativeEngine(this.video, events);
  }

  /** Plays from the live edge of `url`, or from a moment of a recording. */
  #switchTo(url: string, begin: Begin | null): void {
    if (this.#phase === 'halted') return;
    this.#isRecording = begin !== null;
    this.#phase = 'starting';
    this.#glass.reset();
    if (begin) this.#edge.onBehind();
    else this.#edge.onLive();
    this.#engine?.load(url, begin);
    void this.play();
  }

  #onPause(): void {
    if (this.video.ended) return;
    this.#edge.onBehind();
    const positionMs = this.stats().span?.positionMs ?? null;
    this.#paused = positionMs === null ? null : { atMs: performance.now(), positionMs };
  }

  /** Resumes a long pause from the recording, because its position may have left the live window. */
  #onPlay(): void {
    const paused = this.#paused;
    this.#paused = null;
    if (!paused || this.#isRecording || performance.now() - paused.atMs < PAUSE_MS_MAX) return;
    if (this.#recording) void this.seekTo(paused.positionMs);
  }

  #awaitFirstFrame(): void {
    if (this.#firstFrame || !('requestVideoFrameCallback' in this.video)) return;
    this.video.requestVideoFrameCallback((shownMs) => {
      this.#firstFrame ??= { sinceNavigationMs: shownMs, sincePlaylistMs: shownMs - this.#askedAtMs };
    });
  }

  #readPhase(): PlayerPhase {
    const { video } = this;
    if (this.#phase === 'idle' || this.#phase === 'failed' || this.#phase === 'halted') return this.#phase;
    if (video.ended) return 'finished';
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      // The stream ended before this viewer joined.
      if (this.#startupMs === null && this.stats().endOfStream) return 'finished';
      return this.#startupMs === null || this.#phase === 'starting' ? 'starting' : 'waiting';
    }
    if (video.paused) return 'paused';
    if (video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA || this.#meter.stats().now) {
      // At the end of the stream the buffer may run out without an `ended` event.
      return this.stats().endOfStream && this.bufferSeconds() < 0.2 ? 'finished' : 'waiting';
    }
    return 'playing';
  }

  #update(): void {
    const phase = this.#readPhase();
    if (phase === 'playing' && !this.#isAsking) this.#goingToMs = null;
    if (phase === 'playing') this.#startupMs ??= performance.now() - this.#loadedAtMs;
    if (phase === 'finished') this.#finishedAtMs ??= performance.now();
    else this.#finishedAtMs = null;
    this.#phase = phase;
    this.#onChange();
  }

  #sample(): void {
    this.#watch();
    const { video } = this;
    const before = this.#meter.stats();
    const isActing = this.#watchdog.isActing;
    this.#meter.sample({
      nowMs: performance.now(),
      // While the watchdog acts, its seeks move the position, but the picture does not play.
      position: isActing ? this.#stoodAt : this.#picturePosition(),
      shouldMove: isActing || (this.#isExpected() && !video.seeking && !STILL.has(this.#phase)),
    });
    const after = this.#meter.stats();
    if (after.count > before.count) this.#engine?.onStall();
    if (before.now !== after.now) this.#update();
    // A viewer who seeks back is no longer live, though the picture still is.
    if (this.#phase !== 'playing' || this.#isAsking) return;
    const { latencySeconds, targetSeconds } = this.stats();
    const inputs = { nowMs: performance.now(), latencySeconds, targetSeconds, paused: video.paused };
    if (this.#edge.tick(inputs)) this.#engine?.seekToLive();
    video.playbackRate = this.#pace(latencySeconds, targetSeconds);
  }

  /** Playback rate. It is 1 for a viewer who is behind by choice. */
  #pace(latencySeconds: number | null, targetSeconds: number | null): number {
    const isBehind = this.#isRecording || this.#edge.isBehind || this.stats().endOfStream;
    if (isBehind || latencySeconds === null || targetSeconds === null || this.#startupMs === null) return 1;
    return pace(this.video.playbackRate, {
      latencySeconds,
      targetSeconds,
      bufferSeconds: this.bufferSeconds(),
      playedMs: performance.now() - this.#loadedAtMs - this.#startupMs,
    });
  }

  /** Media time of the picture, seconds. Audio may play on alone for seconds where video is missing. */
  #picturePosition(): number {
    const { currentTime } = this.video;
    const frames = this.video.getVideoPlaybackQuality().totalVideoFrames;
    const isSoundAlone = frames > 0 && frames === this.#shown.frames && this.bufferSeconds() < DRY_SECONDS;
    if (!isSoundAlone || document.hidden || currentTime < this.#shown.position) {
      this.#shown = { position: currentTime, frames };
    }
    return this.#shown.position;
  }

  /** Whether the picture should move: not paused, not over, and media is left to play. */
  #isExpected(): boolean {
    return !this.video.paused && !this.video.ended && !OVER.has(this.#phase) && !this.#atDryEnd();
  }

  #watch(): void {
    const { video } = this;
    const { isActing } = this.#watchdog;
    const measure = this.#watchdog.sample({
      nowMs: performance.now(),
      position: this.#picturePosition(),
      bufferSeconds: this.bufferSeconds(),
      newest: this.stats().newestSeconds,
      receivedAtMs: this.stats().receivedAtMs,
      shouldMove: this.#isExpected() && !document.hidden,
      isBeginning: !isActing && (video.seeking || this.#phase === 'starting'),
    });
    if (measure === null) return;
    if (!isActing) this.#stoodAt = video.currentTime;
    this.#take(measure);
  }

  #take(measure: Measure): void {
    const { buffered, currentTime } = this.video;
    if (measure === 'nudge') {
      const ranges = Array.from({ length: buffered.length }, (_, index) => index).map(
        (index) => [buffered.start(index), buffered.end(index)] as const,
      );
      const target = nudgeTarget(ranges, currentTime);
      if (target !== null) this.video.currentTime = target;
    } else if (measure === 'reload') {
      this.#engine?.reload(!this.#isRecording && !this.#edge.isBehind);
    } else {
      this.#remake();
    }
  }

  /** Makes the player anew, at the live edge or at the recording's moment on screen. */
  #remake(): void {
    const positionMs = this.stats().span?.positionMs ?? null;
    if (!this.#isRecording) this.#switchTo(this.#liveUrl, null);
    else if (this.#recording && positionMs !== null) void this.#loadRecording(this.#recording, positionMs);
  }

  #atDryEnd(): boolean {
    return this.bufferSeconds() < 0.2 && this.stats().endOfStream;
  }
}
