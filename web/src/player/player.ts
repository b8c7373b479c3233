/** One video element, one engine, and the phase they are in. Knows nothing of the page around it. */

import type { EarlyJoin } from './early';
import type { Engine, EngineStats } from './engine';
import { GlassMeter } from './glass';
import { HlsEngine } from './hls-engine';
import { EdgeKeeper, LIVE_SLACK_SECONDS } from './live-target';
import { NativeEngine } from './native-engine';
import { StallMeter, type StallStats } from './stalls';
import type { PlayerPhase } from './view-state';

/** How often the position is looked at, milliseconds: finer than the shortest stall that counts. */
const SAMPLE_MS = 100;

const NO_STATS: EngineStats = {
  level: -1,
  auto: true,
  levels: [],
  latencySeconds: null,
  targetSeconds: null,
  endToEndSeconds: null,
  bandwidth: null,
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

  constructor(video: HTMLVideoElement, early: EarlyJoin | null, onChange: () => void) {
    this.video = video;
    this.#early = early;
    this.#onChange = onChange;
    this.#glass = new GlassMeter(video);
    for (const event of ['playing', 'waiting', 'pause', 'ended', 'seeked', 'loadeddata', 'volumechange']) {
      video.addEventListener(event, () => this.#update());
    }
    video.addEventListener('pause', () => {
      if (!video.ended) this.#edge.onBehind();
    });
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
    this.#phase = 'starting';
    this.#glass.reset();
    this.#edge.onLive();
    this.#awaitFirstFrame();
    this.#engine.load(url);
    void this.play();
    return true;
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
    if (HlsEngine.supported()) return new HlsEngine(this.video, events, early);
    if (NativeEngine.supported(this.video)) return new NativeEngine(this.video, events);
    return null;
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
    if (phase === 'playing') this.#startupMs ??= performance.now() - this.#loadedAtMs;
    if (phase === 'finished') this.#finishedAtMs ??= performance.now();
    else this.#finishedAtMs = null;
    this.#phase = phase;
    this.#onChange();
  }

  #sample(): void {
    const { video } = this;
    const before = this.#meter.stats();
    const over =
      video.ended || this.#phase === 'failed' || this.#phase === 'idle' || this.#phase === 'finished';
    this.#meter.sample({
      nowMs: performance.now(),
      position: video.currentTime,
      shouldMove: !video.paused && !video.seeking && !over && !this.#atDryEnd(),
    });
    const after = this.#meter.stats();
    if (after.count > before.count) this.#engine?.onStall();
    if (before.now !== after.now) this.#update();
    if (this.#phase !== 'playing') return;
    const { latencySeconds, targetSeconds } = this.stats();
    const inputs = { nowMs: performance.now(), latencySeconds, targetSeconds, paused: video.paused };
    if (this.#edge.tick(inputs)) this.#engine?.seekToLive();
  }

  #atDryEnd(): boolean {
    return this.bufferSeconds() < 0.2 && this.stats().endOfStream;
  }
}
