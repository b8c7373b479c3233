/** One video element, one engine, and the phase they are in. Knows nothing of the page around it. */

import type { Engine, EngineStats } from './engine';
import type { Delivery } from './hls-config';
import { HlsEngine } from './hls-engine';
import { NativeEngine } from './native-engine';
import { StallMeter, type StallStats } from './stalls';
import type { PlayerPhase } from './view-state';

/** How often the position is looked at, milliseconds: finer than the shortest stall that counts. */
const SAMPLE_MS = 100;
/** This much nearer to the edge than the target still counts as at the live edge, seconds. */
const LIVE_SLACK_SECONDS = 3;

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

export class Player {
  readonly video: HTMLVideoElement;
  readonly #delivery: Delivery;
  readonly #onChange: () => void;
  readonly #meter = new StallMeter();
  readonly #timer: ReturnType<typeof setInterval>;
  #engine: Engine | null = null;
  #phase: PlayerPhase = 'idle';
  #finishedAtMs: number | null = null;
  #loadedAtMs = 0;
  #startupMs: number | null = null;

  constructor(video: HTMLVideoElement, delivery: Delivery, onChange: () => void) {
    this.video = video;
    this.#delivery = delivery;
    this.#onChange = onChange;
    for (const event of ['playing', 'waiting', 'pause', 'ended', 'seeked', 'loadeddata', 'volumechange']) {
      video.addEventListener(event, () => this.#update());
    }
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  get phase(): PlayerPhase {
    return this.#phase;
  }

  get engineKind(): Engine['kind'] | 'none' {
    return this.#engine?.kind ?? 'none';
  }

  /** Milliseconds from loading to the first frame; null before it. */
  get startupMs(): number | null {
    return this.#startupMs;
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
    this.#engine ??= this.#makeEngine();
    if (!this.#engine) {
      this.#phase = 'failed';
      return false;
    }
    this.#finishedAtMs = null;
    this.#loadedAtMs = performance.now();
    this.#phase = 'starting';
    this.#engine.load(url);
    void this.play();
    return true;
  }

  async play(): Promise<void> {
    // Refused by the browser's autoplay policy: the controls then show the play button.
    await this.video.play().catch(() => undefined);
    this.#update();
  }

  seekToLive(): void {
    this.#engine?.seekToLive();
    void this.play();
  }

  chooseLevel(index: number): void {
    this.#engine?.chooseLevel(index);
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.#engine?.destroy();
  }

  #makeEngine(): Engine | null {
    const events = {
      onGaveUp: () => {
        this.#phase = 'failed';
        this.#onChange();
      },
      onChange: () => this.#update(),
    };
    if (HlsEngine.supported()) return new HlsEngine(this.video, events, this.#delivery);
    if (NativeEngine.supported(this.video)) return new NativeEngine(this.video, events);
    return null;
  }

  #readPhase(): PlayerPhase {
    const { video } = this;
    if (this.#phase === 'idle' || this.#phase === 'failed') return this.#phase;
    if (video.ended) return 'finished';
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
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
    const before = this.#meter.stats().now;
    const over =
      video.ended || this.#phase === 'failed' || this.#phase === 'idle' || this.#phase === 'finished';
    this.#meter.sample({
      nowMs: performance.now(),
      position: video.currentTime,
      shouldMove: !video.paused && !video.seeking && !over && !this.#atDryEnd(),
    });
    if (before !== this.#meter.stats().now) this.#update();
  }

  #atDryEnd(): boolean {
    return this.bufferSeconds() < 0.2 && this.stats().endOfStream;
  }
}
