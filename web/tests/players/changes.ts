/**
 * Changes of rendition while a player plays: asks for them at random moments, and sees in what the browser requested where they fell.
 * Nothing here asks the player what it did.
 */

/**
 * A change is asked for this long after the one before was seen, milliseconds: moments in all places of a segment, and never two in one,
 * because nobody's measured bandwidth falls and rises that fast.
 */
const PAUSE_MS = { min: 4_500, max: 8_500 };
/** After this long without a change to be seen, another is asked for, milliseconds: players find out slowly that a link is wide again. */
const UNSEEN_MS_MAX = 30_000;
/** `/live/{stream}/{rendition}/{epoch}/{msn}.m4s` or `{msn}.{part}.m4s`. */
const MEDIA = /\/([^/]+)\/\d+\/(\d+)(?:\.(\d+))?\.m4s$/;
const SOUND = 'audio';

/** What was requested first after a change. */
interface Change {
  atMs: number;
  from: string;
  to: string;
  msn: number;
  /** `null` where a whole segment was requested. */
  part: number | null;
}

export interface ChangeStats {
  /** Changes that began at a part in the middle of a segment. */
  midSegment: number;
  /** Changes that began with a segment. */
  atSegment: number;
  /** The longest that the picture stood still since the first change was asked for, milliseconds. */
  longestStillMs: number;
  /** The last of them, newest last. */
  newest: Change[];
}

const NEWEST_KEPT = 8;

export class Changes {
  readonly #asked: number;
  readonly #heights: () => number[];
  readonly #change: (height: number) => void;
  #rendition: string | null = null;
  /** The height that was asked for last, or the first on screen. */
  #height = 0;
  #nextAtMs: number | null = null;
  #began = false;
  #frames = 0;
  #movedAtMs = 0;
  #seen = 0;
  readonly #stats: ChangeStats = { midSegment: 0, atSegment: 0, longestStillMs: 0, newest: [] };

  /** Asks for so many changes, from rung to rung; 0 only looks on. */
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

  /** To be called often, once there is a picture. */
  look(nowMs: number, video: HTMLVideoElement): void {
    const { videoHeight } = video;
    // Sound may go on alone: frames are what counts.
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== this.#frames) {
      this.#frames = frames;
      this.#movedAtMs = nowMs;
    } else if (this.#began && this.#movedAtMs > 0) {
      this.#stats.longestStillMs = Math.max(this.#stats.longestStillMs, nowMs - this.#movedAtMs);
    }
    this.#nextAtMs ??= nowMs + PAUSE_MS.max;
    const heights = this.#heights();
    if (this.#seen >= this.#asked || nowMs < this.#nextAtMs || heights.length < 2) return;
    this.#height ||= videoHeight;
    this.#began = true;
    // When the change is seen another moment is drawn; none is where the player had gone there by itself.
    this.#nextAtMs = nowMs + UNSEEN_MS_MAX;
    this.#height = heights[(heights.indexOf(this.#height) + 1) % heights.length] ?? this.#height;
    this.#change(this.#height);
  }

  #requested(url: string, startMs: number): void {
    const [, rendition, msn, part] = MEDIA.exec(new URL(url).pathname) ?? [];
    if (rendition === undefined || rendition === SOUND) return;
    const from = this.#rendition;
    this.#rendition = rendition;
    if (from === null || from === rendition) return;
    this.#seen += 1;
    this.#stats[Number(part ?? 0) > 0 ? 'midSegment' : 'atSegment'] += 1;
    const change = {
      atMs: Math.round(startMs),
      from,
      to: rendition,
      msn: Number(msn),
      part: part ? Number(part) : null,
    };
    this.#stats.newest = [...this.#stats.newest, change].slice(-NEWEST_KEPT);
    this.#nextAtMs = performance.now() + PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min);
  }
}
