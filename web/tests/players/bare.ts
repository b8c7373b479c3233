/**
 * An unmodified player alone on a page, as others may play Sealcast's streams. Publishes its state as
 * `window.sealcast.player`, in the shape of Sealcast's page as far as it applies.
 */

import Hls, { Events } from 'hls.js';
import { GlassMeter } from '../../src/player/glass';
import { StallMeter } from '../../src/player/stalls';
import { Changes } from './changes';

/** Interval at which the position is sampled, milliseconds. */
const SAMPLE_MS = 100;

interface Failure {
  /** Whether the player cannot recover by itself. */
  fatal: boolean;
  details: string;
}

interface Bare {
  /** Seconds behind the live edge, as the player computes it. */
  latency(): number | null;
  /** Target latency, seconds. */
  target(): number | null;
  /** Height of the rung on screen. */
  height(): number | null;
  /** Heights of all rungs; empty until they are known. */
  heights(): number[];
  /** Plays the rung of this height from now on. */
  chooseHeight(height: number): void;
  /** BANDWIDTH of the rung of this height; 0 while it is unknown. */
  bitsPerSecond(height: number): number;
  /** Loads the rung of this height from now on, and plays the buffer first, as on a change by bandwidth. */
  loadHeight(height: number): void;
}

interface ShakaError {
  severity: number;
  code: number;
  /** For a request: its URL, and the status. */
  data?: unknown[];
}

/** The parts of Shaka that are used; it comes as a plain script. */
interface Shaka {
  polyfill: { installAll(): void };
  Player: new () => {
    attach(video: HTMLVideoElement): Promise<void>;
    configure(config: object): void;
    load(url: string): Promise<void>;
    addEventListener(type: string, listener: (event: { detail: ShakaError }) => void): void;
    getStats(): { liveLatency?: number; height?: number };
    getVariantTracks(): { height: number | null; bandwidth: number }[];
    selectVariantTrack(track: { height: number | null; bandwidth: number }, clearBuffer: boolean): void;
  };
}
declare const shaka: Shaka;
/** Function of the driver that limits the link, for `narrow`: bits per second, or null for no limit. */
declare const linkTo: (bitsPerSecond: number | null) => Promise<void>;

/** Limits the link to the BANDWIDTH of the rung above this height, too little to stay on that rung; no limit for the highest rung. */
function narrowTo(bare: Bare, height: number): void {
  const above = bare.heights().filter((each) => each > height);
  void linkTo(above.length === 0 ? null : bare.bitsPerSecond(Math.min(...above)));
}

function playHls(
  video: HTMLVideoElement,
  url: string,
  config: object,
  failed: (failure: Failure) => void,
): Bare {
  const hls = new Hls({ lowLatencyMode: true, ...config });
  hls.on(Events.ERROR, (_, { fatal, details, response, url }) => {
    failed({ fatal, details: [details, response?.code, url].filter(Boolean).join(' ') });
  });
  hls.attachMedia(video);
  hls.loadSource(url);
  void video.play().catch(() => undefined);
  return {
    latency: () => (hls.latestLevelDetails ? hls.latency : null),
    target: () => hls.targetLatency,
    height: () => hls.levels[hls.currentLevel]?.height ?? null,
    heights: () => hls.levels.map((level) => level.height),
    chooseHeight: (height) => {
      hls.nextLevel = hls.levels.findIndex((level) => level.height === height);
    },
    bitsPerSecond: (height) => hls.levels.find((level) => level.height === height)?.bitrate ?? 0,
    loadHeight: (height) => {
      hls.loadLevel = hls.levels.findIndex((level) => level.height === height);
    },
  };
}

function playShaka(
  video: HTMLVideoElement,
  url: string,
  config: object,
  failed: (failure: Failure) => void,
): Bare {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  // For a live stream, Shaka first reports CRITICAL, then lowers the severity and retries, so the final severity counts.
  const onError = (error: ShakaError): void =>
    queueMicrotask(() => {
      const about = error.code ? JSON.stringify(error.data?.slice(0, 2)) : String(error);
      failed({ fatal: error.severity === 2, details: `Shaka ${error.code} ${about}` });
    });
  player.addEventListener('error', ({ detail }) => onError(detail));
  const load = async (): Promise<void> => {
    await player.attach(video);
    player.configure({ streaming: { lowLatencyMode: true }, ...config });
    await player.load(url);
    await video.play();
  };
  load().catch((error: unknown) => onError(error as ShakaError));
  // A rendition with a missing segment is not listed for a second. The choice then waits, as a viewer would.
  let wanted: number | null = null;
  const select = (height: number, clearBuffer: boolean): void => {
    const track = player.getVariantTracks().find((each) => each.height === height);
    if (!track) {
      if (wanted !== height) failed({ fatal: false, details: `Shaka lists no rendition ${height} high` });
      wanted = height;
      setTimeout(() => wanted === height && select(height, clearBuffer), SAMPLE_MS);
      return;
    }
    wanted = null;
    player.configure({ abr: { enabled: false } });
    player.selectVariantTrack(track, clearBuffer);
  };
  return {
    latency: () => player.getStats().liveLatency ?? null,
    target: () => null,
    height: () => player.getStats().height ?? null,
    heights: () => player.getVariantTracks().flatMap(({ height }) => height ?? []),
    chooseHeight: (height) => select(height, true),
    bitsPerSecond: (height) =>
      player.getVariantTracks().find((track) => track.height === height)?.bandwidth ?? 0,
    loadHeight: (height) => select(height, false),
  };
}

function start(video: HTMLVideoElement): void {
  const query = new URLSearchParams(location.search);
  const kind = query.get('player') === 'shaka' ? 'shaka' : 'hls.js';
  const errors: (Failure & { at: number })[] = [];
  const askedMs = performance.now();
  let firstFrame: { sinceNavigationMs: number; sincePlaylistMs: number } | null = null;
  video.requestVideoFrameCallback((shownMs) => {
    firstFrame = { sinceNavigationMs: shownMs, sincePlaylistMs: shownMs - askedMs };
  });
  const failed = (failure: Failure): void => void errors.push({ at: Date.now(), ...failure });
  // The message of the browser's own pipeline, because players report only the kind of error.
  video.addEventListener('error', () =>
    failed({ fatal: true, details: `media element: ${video.error?.code} ${video.error?.message}` }),
  );
  const config = JSON.parse(query.get('config') ?? '{}') as object;
  const play = kind === 'shaka' ? playShaka : playHls;
  const bare = play(video, query.get('url') ?? '', config, failed);

  const glass = new GlassMeter(video);
  const stalls = new StallMeter();
  const asked = Number(query.get('changes') ?? 0);
  const isNarrow = query.get('narrow') === '1';
  const change = (height: number): void => (isNarrow ? narrowTo(bare, height) : bare.loadHeight(height));
  const changes = new Changes(asked, bare.heights, change);
  setInterval(() => {
    const shouldMove = !video.paused && !video.seeking && !video.ended;
    stalls.sample({ nowMs: performance.now(), position: video.currentTime, shouldMove });
    if (firstFrame !== null) changes.look(performance.now(), video);
  }, SAMPLE_MS);

  const buffered = (): number => {
    const last = video.buffered.length - 1;
    return last < 0 ? 0 : Math.max(0, video.buffered.end(last) - video.currentTime);
  };
  const player = {
    engine: kind,
    get view() {
      if (firstFrame === null) return 'connecting';
      return stalls.stats().now ? 'buffering' : 'playing';
    },
    get currentTime() {
      return video.currentTime;
    },
    get paused() {
      return video.paused;
    },
    get latencySeconds() {
      return bare.latency();
    },
    get targetLatencySeconds() {
      return bare.target();
    },
    get glassToGlassSeconds() {
      return glass.seconds;
    },
    get bufferSeconds() {
      return buffered();
    },
    get playbackRate() {
      return video.playbackRate;
    },
    get height() {
      return bare.height();
    },
    get videoWidth() {
      return video.videoWidth;
    },
    get videoHeight() {
      return video.videoHeight;
    },
    get fatalErrors() {
      return errors.filter(({ fatal }) => fatal).length;
    },
    get nonFatalErrors() {
      return errors.filter(({ fatal }) => !fatal).length;
    },
    get errors() {
      return errors;
    },
    get stalls() {
      return stalls.stats();
    },
    get changes() {
      return changes.stats();
    },
    get firstFrame() {
      return firstFrame;
    },
    actions: { chooseHeight: bare.chooseHeight },
    get droppedFrames() {
      return video.getVideoPlaybackQuality().droppedVideoFrames;
    },
    get decodedFrames() {
      return video.getVideoPlaybackQuality().totalVideoFrames;
    },
  };
  Object.defineProperty(window, 'sealcast', { value: { page: 'bare', streamsListed: null, player } });
}

const video = document.querySelector('video');
if (video) start(video);
