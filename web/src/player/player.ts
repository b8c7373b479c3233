/** One video element, one engine, and the phase they are in. Knows nothing of the page around it. */

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

/** How often the position is looked at, milliseconds: finer than the shortest stall that counts. */
const SAMPLE_MS = 100;

/** A moment this near to the live edge is the live edge, milliseconds. */
const LIVE_MS = 8_000;
/** What was paused for longer may have left the live window when it goes on, milliseconds. */
const PAUSE_MS_MAX = 20_000;

/** With less than this loaded ahead of both, pictures or sound are used up, seconds. */
const DRY_SECONDS = 0.05;

/** Nobody expects the picture to move; nor while it starts. */
const OVER: ReadonlySet<PlayerPhase> = new Set(['idle', 'finished', 'failed']);
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

/** How long the first frame took, milliseconds; null before it. */
export interface FirstFrame {
  /** Since the page was navigated to. */
  sinceNavigationMs: number;
  /** Since the multivariant playlist was asked for. */
  sincePlaylistMs: number;
}

export class Player {
  readonly video: HTMLVideoElement;
  readonly #onChange: () => void;
  readonly #meter = new StallMeter();
  readonly #watchdog = new Watchdog();
  readonly #edge = new EdgeKeeper();
  readonly #glass: GlassMeter;
  readonly #timer: ReturnType<typeof setInterval>;
  /** What was fetched before this was there; the first load uses it up. */
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
  /** The moment that is being gone to, while nothing of it is on screen; milliseconds since 1970. */
  #goingToMs: number | null = null;
  /** What is on screen is still from before that. */
  #isAsking = false;
  #isRecording = false;
  /** Where the picture is, and how many of its frames were shown by then. */
  #shown = { position: 0, frames: 0 };
  /** Where the picture stood when the watchdog began to act, seconds. */
  #stoodAt = 0;
  #paused: { atMs: number; positionMs: number } | null = null;
  /** As it was last known: it stands while a recording loads. */
  #span: Span | null = null;

  constructor(video: HTMLVideoElement, early: EarlyJoin | null, onChange: () => void) {
    this.video = video;
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

  /** From the clock in the picture to this screen, seconds; null when the picture has none. */
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

  /** Loads from the start, also after an end or a failure. Returns false when this browser cannot play HLS. */
  load(url: string): boolean {
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

  /** What can be gone back to, beyond the live window; null when nothing can. */
  setRecording(recording: Recording | null): void {
    this.#recording = recording;
  }

  /** The moments that can be gone to, and the one on screen; null when that is not known, or there is no recording. */
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

  /** Goes to a moment, milliseconds since 1970. What the playlist lists is a seek; further back the recording is loaded. */
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
    // Another moment was chosen meanwhile, or the live edge.
    if (!this.#isAsking || (this.#goingToMs ?? dateMs) !== dateMs) return;
    this.#isAsking = false;
    if (offsetSeconds === null) this.#goingToMs = null;
    else this.#switchTo(recording.url, { offsetSeconds, dateMs });
  }

  /** There is nothing to play: gives up what was begun, until the next load. */
  stop(): void {
    this.#engine?.destroy();
    this.#engine = null;
    this.#phase = 'idle';
  }

  async play(): Promise<void> {
    // Refused by the browser's autoplay policy: the controls then show the play button.
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
    if (mediaSource && avc) return new HlsEngine(this.video, events, early);
    if (nativeHls) return new NativeEngine(this.video, events);
    return null;
  }

  /** From the live edge of `url`, or from a moment of a recording. */
  #switchTo(url: string, begin: Begin | null): void {
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

  /** Goes on where it was paused, when that is in the recording only by now. */
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
    if (this.#phase === 'idle' || this.#phase === 'failed') return this.#phase;
    if (video.ended) return 'finished';
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      // The stream had ended before it was joined.
      if (this.#startupMs === null && this.stats().endOfStream) return 'finished';
      return this.#startupMs === null || this.#phase === 'starting' ? 'starting' : 'waiting';
    }
    if (video.paused) return 'paused';
    if (video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA || this.#meter.stats().now) {
      // The end of the stream ran dry without the element saying so.
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
      // What the watchdog does moves the position, and is no picture that moves.
      position: isActing ? this.#stoodAt : this.#picturePosition(),
      shouldMove: isActing || (this.#isExpected() && !video.seeking && !STILL.has(this.#phase)),
    });
    const after = this.#meter.stats();
    if (after.count > before.count) this.#engine?.onStall();
    if (before.now !== after.now) this.#update();
    // Who asked to go back is not live, though the picture still is.
    if (this.#phase !== 'playing' || this.#isAsking) return;
    const { latencySeconds, targetSeconds } = this.stats();
    const inputs = { nowMs: performance.now(), latencySeconds, targetSeconds, paused: video.paused };
    if (this.#edge.tick(inputs)) this.#engine?.seekToLive();
    video.playbackRate = this.#pace(latencySeconds, targetSeconds);
  }

  /** Who is behind by choice stays there. */
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

  /** Media time of the picture: sound may go on alone for seconds where pictures are missing. */
  #picturePosition(): number {
    const { currentTime } = this.video;
    const frames = this.video.getVideoPlaybackQuality().totalVideoFrames;
    const isSoundAlone = frames > 0 && frames === this.#shown.frames && this.bufferSeconds() < DRY_SECONDS;
    if (!isSoundAlone || document.hidden || currentTime < this.#shown.position) {
      this.#shown = { position: currentTime, frames };
    }
    return this.#shown.position;
  }

  /** Whether there is a picture that may be expected to move. */
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

  /** A new player, at the live edge or at the moment of the recording that is on screen. */
  #remake(): void {
    const positionMs = this.stats().span?.positionMs ?? null;
    if (!this.#isRecording) this.#switchTo(this.#liveUrl, null);
    else if (this.#recording && positionMs !== null) void this.#loadRecording(this.#recording, positionMs);
  }

  #atDryEnd(): boolean {
    return this.bufferSeconds() < 0.2 && this.stats().endOfStream;
  }
}
