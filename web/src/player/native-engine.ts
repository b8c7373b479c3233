/** Plays with the browser's own HLS player, where Media Source Extensions are missing (older iPhones). */

import {
  type Begin,
  type Engine,
  type EngineEvents,
  type EngineStats,
  ERRORS_KEPT,
  type PlayerError,
  plausibleDelay,
} from './engine';
import { Recovery } from './recovery';

/** Distance to the live edge after a seek to it, seconds: the element does not expose the playlist's hold-back. */
const LIVE_DISTANCE_SECONDS = 4;

type DatedVideo = HTMLVideoElement & { getStartDate?: () => Date };

export class NativeEngine implements Engine {
  readonly kind = 'native';
  readonly #video: DatedVideo;
  readonly #events: EngineEvents;
  readonly #recovery = new Recovery();
  readonly #stop = new AbortController();
  #url = '';
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ended = false;
  #fatalErrors = 0;
  #errors: PlayerError[] = [];

  constructor(video: HTMLVideoElement, events: EngineEvents) {
    this.#video = video;
    this.#events = events;
    const { signal } = this.#stop;
    video.addEventListener('error', () => this.#onError(), { signal });
    video.addEventListener('ended', () => this.#onEnded(), { signal });
  }

  load(url: string, begin: Begin | null): void {
    this.#url = url;
    if (begin) {
      const { signal } = this.#stop;
      this.#video.addEventListener('loadedmetadata', () => this.seekToDate(begin.dateMs), {
        once: true,
        signal,
      });
    }
    this.#recovery.reset();
    this.#start();
  }

  /** Does nothing: the browser chooses the rung, and offers no control. */
  chooseLevel(): void {}

  seekToLive(): void {
    const edge = this.#edge();
    if (edge !== null) this.#video.currentTime = Math.max(0, edge - LIVE_DISTANCE_SECONDS);
  }

  seekToDate(dateMs: number): boolean {
    const at = (dateMs - (this.#video.getStartDate?.().getTime() ?? Number.NaN)) / 1000;
    const { seekable } = this.#video;
    const last = seekable.length - 1;
    if (last < 0 || !(at >= seekable.start(0) && at <= seekable.end(last))) return false;
    this.#video.currentTime = at;
    return true;
  }

  /** Does nothing: the browser manages its buffer itself. */
  onStall(): void {}

  reload(atEdge: boolean): void {
    if (atEdge) this.seekToLive();
  }

  stats(): EngineStats {
    const edge = this.#edge();
    const start = this.#video.getStartDate?.().getTime() ?? Number.NaN;
    const date = (seconds: number): number => start + seconds * 1000;
    const shown = date(this.#video.currentTime);
    const first = this.#video.seekable.length > 0 ? this.#video.seekable.start(0) : Number.NaN;
    const isDated = edge !== null && Number.isFinite(start);
    return {
      level: -1,
      origin: null,
      auto: true,
      levels: [],
      latencySeconds: edge === null || this.#ended ? null : Math.max(0, edge - this.#video.currentTime),
      targetSeconds: null,
      endToEndSeconds: plausibleDelay((Date.now() - shown) / 1000),
      span: isDated ? { startMs: date(first), endMs: date(edge), positionMs: shown } : null,
      bandwidth: null,
      newestSeconds: edge,
      receivedAtMs: null,
      endOfStream: this.#ended,
      fatalErrors: this.#fatalErrors,
      nonFatalErrors: 0,
      errors: [...this.#errors],
    };
  }

  destroy(): void {
    clearTimeout(this.#retry);
    this.#stop.abort();
    this.#video.removeAttribute('src');
    this.#video.load();
  }

  #edge(): number | null {
    const { seekable } = this.#video;
    return seekable.length > 0 ? seekable.end(seekable.length - 1) : null;
  }

  #start(): void {
    this.#ended = false;
    this.#video.src = this.#url;
    this.#video.load();
  }

  #onEnded(): void {
    this.#ended = true;
    this.#events.onChange();
  }

  #onError(): void {
    const error = this.#video.error;
    if (!error) return;
    this.#fatalErrors += 1;
    this.#errors.push({
      at: Date.now(),
      fatal: true,
      details: error.message || `code ${error.code}`,
      status: null,
    });
    if (this.#errors.length > ERRORS_KEPT) this.#errors.shift();
    // The element offers no smaller remedy than to load again.
    const action = this.#recovery.onFatal('other', performance.now(), false);
    clearTimeout(this.#retry);
    if (action.kind === 'reload') this.#retry = setTimeout(() => this.#start(), action.afterMs);
    else this.#events.onGaveUp();
  }
}
