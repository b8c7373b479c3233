/** Plays with hls.js on Media Source Extensions, and recovers from errors that hls.js reports as fatal. */

import Hls, { type ErrorData, ErrorTypes, Events, type LevelDetails } from 'hls.js';
import type { StreamVerifier } from '../../verify/src';
import { rememberBandwidth, rememberedBandwidth } from './bandwidth';
import type { EarlyJoin } from './early';
import { earlyLoader } from './early-loader';
import {
  type Begin,
  type Engine,
  type EngineEvents,
  type EngineStats,
  ERRORS_KEPT,
  type Level,
  type PlayerError,
  plausibleDelay,
  renditionName,
} from './engine';
import { edgeDistance, hlsConfig, LIVE_DISTANCE_TARGETS_MAX, recordingConfig } from './hls-config';
import { LiveTarget } from './live-target';
import { newestMedia } from './newest-media';
import { roundedVideo } from './part-edges';
import { leavingErrors } from './pathways';
import { positionOf, spanOf } from './playlist-dates';
import { promptAudio } from './prompt-audio';
import { type FatalKind, Recovery } from './recovery';
import { patientRises } from './rises';
import { leaveShedRungs } from './shed-rungs';
import { watchTransfers } from './transfers';

/** Smallest change of the target latency that is passed on to hls.js, seconds. */
const TARGET_STEP = 0.05;

/** Largest distance between the first picture and the wanted moment that is not corrected, milliseconds. */
const BEGIN_ERROR_MS_MAX = 1_500;
/** Smallest skip after a join (the playback rate catches up less), and the least that stays buffered after it. Seconds. */
const SETTLE_SECONDS = 0.4;
const SETTLE_RESERVE_SECONDS = 1;
/** A seek further behind the live edge uses the recording instead of the live playlist, milliseconds. */
const SEEK_BACK_MS_MAX = 30_000;

export class HlsEngine implements Engine {
  readonly kind = 'hls.js';
  readonly #video: HTMLVideoElement;
  readonly #events: EngineEvents;
  readonly #verifier: StreamVerifier | null;
  readonly #recovery = new Recovery();
  readonly #target = new LiveTarget();
  /** What was fetched before the player's code was loaded; used once. */
  #early: EarlyJoin | null;
  #hls: Hls | null = null;
  #url = '';
  /** Where the recording begins; null at the live edge. */
  #begin: Begin | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #loadedOnce = false;
  /** No frame yet: the target latency stays as it was at the start of the join. */
  #isJoining = true;
  /** When a media playlist was last loaded, by `performance.now()`. */
  #heardAtMs = 0;
  /** When bytes of media last arrived, by `performance.now()`. */
  #receivedAtMs = 0;
  #endOfStream = false;
  #wantedHeight: number | null = null;
  #fatalErrors = 0;
  #nonFatalErrors = 0;
  #errors: PlayerError[] = [];

  constructor(
    video: HTMLVideoElement,
    events: EngineEvents,
    early: EarlyJoin | null,
    verifier: StreamVerifier | null,
  ) {
    this.#video = video;
    this.#verifier = verifier;
    this.#early = early;
    if (early) this.#target.begin(early.reserveSeconds, performance.now());
    this.#events = events;
    // hls.js must not seek a paused picture to the live edge. After the pause it may, when the position is too far behind.
    for (const event of ['pause', 'play']) video.addEventListener(event, () => this.#keepInWindow());
  }

  load(url: string, begin: Begin | null): void {
    this.#url = url;
    this.#begin = begin;
    this.#recovery.reset();
    this.#start();
  }

  chooseLevel(index: number): void {
    if (!this.#hls) return;
    this.#wantedHeight = this.#hls.levels[index]?.height ?? null;
    // nextLevel keeps the buffer until the new rung has loaded, so that a switch does not stall.
    this.#hls.nextLevel = index;
    this.#events.onChange();
  }

  seekToLive(): void {
    const position = this.#hls?.liveSyncPosition;
    if (typeof position === 'number') this.#video.currentTime = position;
  }

  seekToDate(dateMs: number): boolean {
    const details = this.#hls?.latestLevelDetails ?? null;
    const endMs = spanOf(details, null)?.endMs ?? Number.NEGATIVE_INFINITY;
    // The oldest media of the live window leaves it too soon to play.
    if (!this.#begin && endMs - dateMs > SEEK_BACK_MS_MAX) return false;
    const position = positionOf(details, dateMs);
    if (position !== null) this.#video.currentTime = position;
    return position !== null;
  }

  onStall(): void {
    this.#target.onStall(performance.now());
    this.#aim();
  }

  reload(atEdge: boolean): void {
    const hls = this.#hls;
    hls?.stopLoad();
    hls?.startLoad(this.#video.currentTime);
    const edge = hls?.liveSyncPosition ?? null;
    if (atEdge && edge !== null && edge > this.#video.currentTime) this.#video.currentTime = edge;
  }

  stats(): EngineStats {
    const hls = this.#hls;
    const playing = hls?.playingDate;
    const details = hls?.latestLevelDetails;
    return {
      level: hls ? hls.currentLevel : -1,
      origin: this.#origin(),
      auto: hls ? hls.autoLevelEnabled : true,
      levels: this.#levels(),
      latencySeconds: details && !this.#endOfStream ? (hls?.latency ?? null) : null,
      targetSeconds: hls?.targetLatency ?? null,
      endToEndSeconds: playing ? plausibleDelay((Date.now() - playing.getTime()) / 1000) : null,
      span: spanOf(details ?? null, playing?.getTime() ?? null),
      bandwidth: hls && Number.isFinite(hls.bandwidthEstimate) ? Math.round(hls.bandwidthEstimate) : null,
      newestSeconds: this.#newestSeconds(),
      receivedAtMs: this.#receivedAtMs,
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

  #newestSeconds(): number | null {
    const hls = this.#hls;
    if (!hls) return null;
    const unheard = (performance.now() - this.#heardAtMs) / 1_000;
    return newestMedia([hls.latestLevelDetails, hls.audioTracks[hls.audioTrack]?.details], unheard);
  }

  #origin(): string | null {
    const hls = this.#hls;
    const url = hls?.levels[hls.loadLevel]?.uri ?? '';
    return URL.canParse(url) ? new URL(url).origin : null;
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
    // The bandwidth that this player measured is better than what the last visit stored.
    const measured = this.#hls?.bandwidthEstimate ?? Number.NaN;
    this.destroy();
    this.#loadedOnce = false;
    this.#isJoining = true;
    this.#endOfStream = false;
    const config = hlsConfig(Number.isFinite(measured) ? measured : rememberedBandwidth());
    const early = this.#early;
    this.#early = null;
    const plain = early ? earlyLoader(early) : Hls.DefaultConfig.loader;
    const audioStreamController = promptAudio();
    const hls: Hls = new Hls({
      ...config,
      ...(this.#begin ? recordingConfig(this.#begin.offsetSeconds) : {}),
      abrController: patientRises(),
      errorController: leavingErrors(),
      streamController: roundedVideo(),
      ...(audioStreamController ? { audioStreamController } : {}),
      loader: this.#verifier?.loader(plain) ?? plain,
    });
    this.#hls = hls;
    this.#keepInWindow();
    hls.on(Events.ERROR, (_, data) => this.#onError(data));
    hls.on(Events.MANIFEST_PARSED, () => this.#onLevels(early));
    hls.on(Events.LEVEL_SWITCHED, () => this.#events.onChange());
    hls.on(Events.LEVEL_LOADED, (_, { details }) => this.#onPlaylist(details));
    hls.on(Events.FRAG_LOADED, (_, { frag, part }) => {
      const { first, end } = (part ?? frag).stats.loading;
      if (part && frag.type === 'main' && first > 0) this.#target.onPart((end - first) / 1_000);
    });
    hls.once(Events.FRAG_CHANGED, () => {
      early?.end();
      this.#correct();
    });
    this.#video.addEventListener('playing', () => this.#settle(hls), { once: true });
    leaveShedRungs(hls);
    watchTransfers(hls, () => {
      this.#receivedAtMs = performance.now();
    });
    hls.attachMedia(this.#video);
    hls.loadSource(early?.url ?? this.#url);
  }

  /** A slow join begins too far behind the live edge. Skips buffered media with the first picture, when a jump does not disturb yet. */
  #settle(hls: Hls): void {
    if (hls !== this.#hls || this.#begin) return;
    this.#isJoining = false;
    this.#aim();
    const to = hls.liveSyncPosition;
    const { currentTime, buffered } = this.#video;
    if (to === null || to - currentTime < SETTLE_SECONDS || buffered.length === 0) return;
    const end = buffered.end(buffered.length - 1) - SETTLE_RESERVE_SECONDS;
    const target = Math.min(to, end);
    if (target - currentTime >= SETTLE_SECONDS) this.#video.currentTime = target;
  }

  #keepInWindow(): void {
    if (!this.#hls) return;
    const isFree = this.#begin !== null || this.#video.paused;
    this.#hls.config.liveMaxLatencyDurationCount = isFree
      ? Number.POSITIVE_INFINITY
      : LIVE_DISTANCE_TARGETS_MAX;
  }

  /** Corrects the starting point in a recording, whose window may have moved between reading its index and loading it. */
  #correct(): void {
    const begin = this.#begin;
    const shownMs = this.#hls?.playingDate?.getTime();
    if (!begin || shownMs === undefined) return;
    if (Math.abs(begin.dateMs - shownMs) > BEGIN_ERROR_MS_MAX) this.seekToDate(begin.dateMs);
  }

  #onPlaylist(details: LevelDetails): void {
    this.#heardAtMs = performance.now();
    if (!this.#loadedOnce && !details.live && !this.#begin) {
      // The stream ended before this viewer joined: there is nothing to play.
      this.#hls?.stopLoad();
    }
    this.#loadedOnce = true;
    if (!this.#begin) {
      this.#target.setFloor(edgeDistance(details));
      this.#aim();
    }
    if (this.#endOfStream === details.live) {
      this.#endOfStream = !details.live;
      this.#events.onChange();
    }
    if (this.#hls && details.live) rememberBandwidth(this.#hls.bandwidthEstimate);
  }

  #aim(): void {
    const hls = this.#hls;
    const seconds = this.#target.seconds(performance.now());
    if (!hls || seconds === null || this.#begin || this.#isJoining) return;
    if (Math.abs((hls.targetLatency ?? 0) - seconds) >= TARGET_STEP) hls.targetLatency = seconds;
  }

  /**
   * Starts on the rung that was fetched ahead. When a stream loads again, the rung that the viewer chose stays, if the stream
   * still has it.
   */
  #onLevels(early: EarlyJoin | null): void {
    const hls = this.#hls;
    if (!hls) return;
    const ahead = early?.variant ?? null;
    if (early?.beginSeconds) hls.targetLatency = early.beginSeconds;
    const first = hls.levels.findIndex((level) => level.url.includes(ahead ?? ''));
    if (ahead !== null && first >= 0) hls.startLevel = first;
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
