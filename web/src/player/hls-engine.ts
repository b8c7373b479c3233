/** Plays with hls.js on Media Source Extensions, and heals what hls.js reports as fatal. */

import Hls, {
  type ErrorData,
  ErrorTypes,
  Events,
  type LoaderCallbacks,
  type LoaderConfiguration,
  type LoaderContext,
  type PlaylistLoaderContext,
} from 'hls.js';
import {
  type Engine,
  type EngineEvents,
  type EngineStats,
  ERRORS_KEPT,
  type Level,
  type PlayerError,
  plausibleDelay,
  renditionName,
} from './engine';
import { type Delivery, hlsConfig, liveDistance, withoutParts } from './hls-config';
import { type FatalKind, Recovery } from './recovery';

/** Shows the engine each media playlist before hls.js reads it; what the engine returns is what hls.js gets. */
function playlistLoader(
  onPlaylist: (text: string) => string,
): new (
  ...args: ConstructorParameters<typeof Hls.DefaultConfig.loader>
) => InstanceType<typeof Hls.DefaultConfig.loader> {
  return class extends Hls.DefaultConfig.loader {
    override load(
      context: LoaderContext,
      config: LoaderConfiguration,
      callbacks: LoaderCallbacks<LoaderContext>,
    ): void {
      const { onSuccess } = callbacks;
      callbacks.onSuccess = (response, stats, ctx, details) => {
        const isMedia = (ctx as PlaylistLoaderContext).type !== 'manifest';
        if (isMedia && typeof response.data === 'string') response.data = onPlaylist(response.data);
        onSuccess(response, stats, ctx, details);
      };
      super.load(context, config, callbacks);
    }
  };
}

export class HlsEngine implements Engine {
  readonly kind = 'hls.js';
  readonly #video: HTMLVideoElement;
  readonly #events: EngineEvents;
  readonly #delivery: Delivery;
  readonly #recovery = new Recovery();
  #hls: Hls | null = null;
  #url = '';
  #retry: ReturnType<typeof setTimeout> | undefined;
  #loadedOnce = false;
  #endOfStream = false;
  #wantedHeight: number | null = null;
  #fatalErrors = 0;
  #nonFatalErrors = 0;
  #errors: PlayerError[] = [];

  constructor(video: HTMLVideoElement, events: EngineEvents, delivery: Delivery) {
    this.#video = video;
    this.#delivery = delivery;
    this.#events = events;
  }

  static supported(): boolean {
    return Hls.isSupported();
  }

  load(url: string): void {
    this.#url = url;
    this.#recovery.reset();
    this.#start();
  }

  chooseLevel(index: number): void {
    if (!this.#hls) return;
    this.#wantedHeight = this.#hls.levels[index]?.height ?? null;
    // nextLevel keeps what is buffered until the new rung is there: no stall on a switch.
    this.#hls.nextLevel = index;
    this.#events.onChange();
  }

  seekToLive(): void {
    const position = this.#hls?.liveSyncPosition;
    if (typeof position === 'number') this.#video.currentTime = position;
  }

  stats(): EngineStats {
    const hls = this.#hls;
    const playing = hls?.playingDate;
    const details = hls?.latestLevelDetails;
    return {
      level: hls ? hls.currentLevel : -1,
      auto: hls ? hls.autoLevelEnabled : true,
      levels: this.#levels(),
      latencySeconds: details && !this.#endOfStream ? (hls?.latency ?? null) : null,
      targetSeconds: hls?.targetLatency ?? null,
      endToEndSeconds: playing ? plausibleDelay((Date.now() - playing.getTime()) / 1000) : null,
      bandwidth: hls && Number.isFinite(hls.bandwidthEstimate) ? Math.round(hls.bandwidthEstimate) : null,
      endOfStream: this.#endOfStream,
      fatalErrors: this.#fatalErrors,
      nonFatalErrors: this.#nonFatalErrors,
      errors: [...this.#errors],
    };
  }

  destroy(): void {
    clearTimeout(this.#retry);
    this.#hls?.destroy();
    this.#hls = null;
  }

  #levels(): Level[] {
    return (this.#hls?.levels ?? []).map((level) => ({
      name: renditionName(level.url[0] ?? '') ?? `${level.height}p`,
      width: level.width || null,
      height: level.height || null,
      frameRate: level.frameRate || null,
      bitrate: level.bitrate,
    }));
  }

  #start(): void {
    this.destroy();
    this.#loadedOnce = false;
    this.#endOfStream = false;
    const hls: Hls = new Hls({
      ...hlsConfig(this.#delivery),
      pLoader: playlistLoader((text) => this.#onPlaylist(hls, text)) as never,
    });
    this.#hls = hls;
    hls.on(Events.ERROR, (_, data) => this.#onError(data));
    hls.on(Events.MANIFEST_PARSED, () => this.#onLevels());
    hls.on(Events.LEVEL_SWITCHED, () => this.#events.onChange());
    hls.on(Events.LEVEL_LOADED, (_, { details }) => {
      this.#loadedOnce = true;
      if (this.#endOfStream === details.live) {
        this.#endOfStream = !details.live;
        this.#events.onChange();
      }
    });
    hls.attachMedia(this.#video);
    hls.loadSource(this.#url);
  }

  #onPlaylist(hls: Hls, text: string): string {
    const distance = this.#loadedOnce ? null : liveDistance(text, this.#delivery);
    if (distance !== null && hls.targetLatency !== distance) hls.targetLatency = distance;
    return this.#delivery === 'parts' ? text : withoutParts(text);
  }

  /** A stream that was loaded again keeps the rung the viewer chose, when it still has it. */
  #onLevels(): void {
    const hls = this.#hls;
    if (!hls) return;
    const index = hls.levels.findIndex((level) => level.height === this.#wantedHeight);
    if (this.#wantedHeight !== null && index >= 0) hls.nextLevel = index;
    this.#events.onChange();
  }

  #onError(data: ErrorData): void {
    if (data.fatal) this.#fatalErrors += 1;
    else this.#nonFatalErrors += 1;
    this.#errors.push({
      at: Date.now(),
      fatal: data.fatal,
      details: data.details,
      status: data.response?.code ?? null,
    });
    if (this.#errors.length > ERRORS_KEPT) this.#errors.shift();
    if (data.fatal) this.#heal(data);
  }

  #heal(data: ErrorData): void {
    const kinds: Partial<Record<string, FatalKind>> = {
      [ErrorTypes.NETWORK_ERROR]: 'network',
      [ErrorTypes.MEDIA_ERROR]: 'media',
    };
    const action = this.#recovery.onFatal(kinds[data.type] ?? 'other', performance.now(), this.#loadedOnce);
    clearTimeout(this.#retry);
    switch (action.kind) {
      case 'recover-media':
        this.#hls?.recoverMediaError();
        break;
      case 'resume':
        this.#retry = setTimeout(() => this.#hls?.startLoad(), action.afterMs);
        break;
      case 'reload':
        this.#retry = setTimeout(() => this.#start(), action.afterMs);
        break;
      case 'give-up':
        this.destroy();
        this.#events.onGaveUp();
        break;
    }
  }
}
