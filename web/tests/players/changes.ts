/**
 * Changes of rendition while a player plays. They come at random moments, and the browser's requests show where they happened; the
 * player itself is not asked.
 */

/**
 * Time from the last seen change to the next one, milliseconds. It covers all positions in a segment, and never gives two changes in
 * one segment, because measured bandwidth does not fall and rise that fast.
 */
const PAUSE_MS = { min: 4_500, max: 8_500 };
/** Longest wait for a change to show before the next one, milliseconds: players notice slowly that a link is wide again. */
const UNSEEN_MS_MAX = 30_000;
/** `/live/{stream}/{rendition}/{epoch}/{msn}.m4s` or `{msn}.{part}.m4s`. */
const MEDIA = /\/([^/]+)\/\d+\/(\d+)(?:\.(\d+))?\.m4s$/;
const SOUND = 'audio';

export interface ChangeStats {
  /** Changes that began at a part in the middle of a segment. */
  midSegment: number;
  /** Changes that began with a segment. */
  atSegment: number;
  /** Longest standstill of the picture since the first change, milliseconds. */
  longestStillMs: number;
  /** The first standstills of a quarter of a second or more. */
  standstills: Standstill[];
}

/** A picture that stood still. */
interface Standstill {
  atMs: number;
  ms: number;
  /** Seconds of media time when it began, and when it was over or last seen. */
  from: number;
  to: number;
  /** What was loaded when it began, `start-end` in seconds. */
  loaded: string;
  /** The last media requested before it was over, `rendition:object@ms`. */
  requested: string;
}

/** A standstill of fewer milliseconds is not kept. */
const STANDSTILL_MS_MIN = 250;
const STANDSTILLS_KEPT = 6;
const REQUESTED_KEPT = 40;

function loaded({ buffered }: HTMLVideoElement): string {
  const ranges = Array.from({ length: buffered.length }, (_, index) => [
    buffered.start(index),
    buffered.end(index),
  ]);
  return ranges.map((range) => range.map((seconds) => seconds.toFixed(2)).join('-')).join(' ');
}

export class Changes {
  readonly #asked: number;
  readonly #heights: () => number[];
  readonly #change: (height: number) => void;
  #rendition: string | null = null;
  /** The last chosen height, or the first on screen. */
  #height = 0;
  #nextAtMs: number | null = null;
  #began = false;
  #frames = 0;
  #movedAtMs = 0;
  #seen = 0;
  readonly #stats: ChangeStats = {
    midSegment: 0,
    atSegment: 0,
    longestStillMs: 0,
    standstills: [],
  };
  #standstill: Standstill | null = null;
  #requests: string[] = [];

  /** Makes this many changes, from rung to rung; with 0, it only observes. */
  constructor(asked: number, heights: () => number[], change: (height: number) => void) {
    this.#asked = asked;
    this.#heights = heights;
    this.#change = change;
    new PerformanceObserver((list) => {
      for (const { name, startTime } of list.getEntries()) this.#requested(name, startTime);
    }).observe({ type: 'resource', buffered: true });
  }

  stats(): ChangeStats {
    return { ...this.#stats, longestStillMs: Math.round(this.#stats.longestStillMs) };
  }

  /** Call this often, once there is a picture. */
  look(nowMs: number, video: HTMLVideoElement): void {
    const { videoHeight } = video;
    // Audio may play on alone, so count frames.
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== this.#frames) {
      this.#frames = frames;
      this.#movedAtMs = nowMs;
      this.#standstill = null;
    } else if (this.#began && this.#movedAtMs > 0) {
      this.#stand(nowMs - this.#movedAtMs, video);
    }
    this.#nextAtMs ??= nowMs + PAUSE_MS.max;
    const heights = this.#heights();
    if (this.#seen >= this.#asked || nowMs < this.#nextAtMs || heights.length < 2) return;
    this.#height ||= videoHeight;
    this.#began = true;
    // A seen change draws a new moment. None is seen if the player had changed to that rung by itself.
    this.#nextAtMs = nowMs + UNSEEN_MS_MAX;
    this.#height = heights[(heights.indexOf(this.#height) + 1) % heights.length] ?? this.#height;
    this.#change(this.#height);
  }

  #stand(ms: number, video: HTMLVideoElement): void {
    this.#stats.longestStillMs = Math.max(this.#stats.longestStillMs, ms);
    const { currentTime: to } = video;
    this.#standstill ??= {
      atMs: Math.round(this.#movedAtMs),
      ms: 0,
      from: to,
      to,
      loaded: loaded(video),
      requested: '',
    };
    Object.assign(this.#standstill, { ms: Math.round(ms), to, requested: this.#requests.join(' ') });
    const { standstills } = this.#stats;
    const isKept = standstills.includes(this.#standstill);
    if (ms >= STANDSTILL_MS_MIN && !isKept && standstills.length < STANDSTILLS_KEPT)
      standstills.push(this.#standstill);
  }

  #requested(url: string, startMs: number): void {
    const [, rendition, msn, part] = MEDIA.exec(new URL(url).pathname) ?? [];
    if (rendition !== undefined) {
      const request = `${rendition}:${msn}${part ? `.${part}` : ''}@${Math.round(startMs)}`;
      this.#requests = [...this.#requests, request].slice(-REQUESTED_KEPT);
    }
    if (rendition === undefined || rendition === SOUND) return;
    const from = this.#rendition;
    this.#rendition = rendition;
    if (from === null || from === rendition) return;
    this.#seen += 1;
    this.#stats[Number(part ?? 0) > 0 ? 'midSegment' : 'atSegment'] += 1;
    this.#nextAtMs = performance.now() + PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min);
  }
}
