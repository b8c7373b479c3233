/**
 * What each part says of the link, for the choice of a rung.
 *
 * hls.js 1.7.4 loads the parts of a segment one after the other on one level, looks at its rules for slow loading during the first of them
 * only, and averages over seconds of transfers: behind a link that fell from 8 to 1.2 Mbit/s it stayed on 2.9 Mbit/s for 5 to 20 s, and
 * when the link was back it took as long to believe that. Here one part that comes too slowly is enough to leave its rung, and a few quick
 * ones in a row to think better of the link. A part under way is taken to its end, because most of it waits in the link's queue already;
 * what would follow it is not asked for.
 */

import type Hls from 'hls.js';
import { Events, type Fragment, type Part } from 'hls.js';
import { BANDWIDTH_SHARE } from './hls-config';

/** How often a part under way is looked at, milliseconds. */
const LOOK_MS = 50;
/** A part says something of its link after this share of its duration: a window of TCP that has to grow first takes some. */
const TELLING_SHARE = 0.5;
/** What came in this many looks is the link as it is now. */
const RECENT_LOOKS = 4;
/** A part that takes so many times its duration is too slow. */
const SLOW_FACTOR = 1.2;

/** So many parts in a row that came faster than the estimate, by this factor at least, raise it. */
const QUICK_PARTS = 6;
const QUICK_FACTOR = 1.5;
/** A transfer shorter than this is no measure, milliseconds: what the browser had already takes no time. */
const TRANSFER_MS_MIN = 50;

/** A part on its way, or arrived. */
export interface Transfer {
  bytes: number;
  /** Bytes in all; 0 while that is not known. */
  total: number;
  /** Since its first byte, milliseconds. */
  ms: number;
  /** What came lately, bits per second; 0 in a pause. */
  recent: number;
}

/**
 * What the link carries, in bits per second, when that is too little for a part of `seconds` at `bitsPerSecond`; null when it is enough, or
 * not to be told yet. A link that pauses for a moment has not become slow. Pure.
 */
export function tooSlow(transfer: Transfer, seconds: number, bitsPerSecond: number): number | null {
  const { bytes, total, ms, recent } = transfer;
  const elapsed = ms / 1_000;
  const most = seconds * SLOW_FACTOR;
  if (bytes > 0 && elapsed > most) return (bytes * 8) / elapsed;
  if (recent === 0 || elapsed < seconds * TELLING_SHARE) return null;
  const bits = total > 0 ? total * 8 : Math.max(bytes * 8, seconds * bitsPerSecond);
  return elapsed + (bits - bytes * 8) / recent > most ? recent : null;
}

/** Rates of the newest parts, bits per second. */
export class QuickParts {
  #rates: number[] = [];

  /** A part came; what the link carries, when that is clearly more than the estimate. */
  add({ bytes, ms }: Pick<Transfer, 'bytes' | 'ms'>, estimate: number): number | null {
    this.#rates.push((bytes * 8_000) / Math.max(ms, TRANSFER_MS_MIN));
    this.#rates = this.#rates.slice(-QUICK_PARTS);
    const least = Math.min(...this.#rates);
    return this.#rates.length === QUICK_PARTS && least > estimate * QUICK_FACTOR ? least : null;
  }
}

/** The highest level below `from` that leaves some of the link free, else the lowest. Levels ascend. Pure. */
export function levelBelow(bitrates: readonly number[], from: number, bitsPerSecond: number): number {
  const fits = bitrates.findLastIndex(
    (bitrate, level) => level < from && bitrate <= bitsPerSecond * BANDWIDTH_SHARE,
  );
  return Math.max(fits, 0);
}

/** Watches the parts of pictures as they come; `onBytes` hears that some came. Ends with `hls`. */
export function watchTransfers(hls: Hls, onBytes: () => void): void {
  const quick = new QuickParts();
  let loading: Fragment | null = null;
  /** Bytes of the part under way at the newest looks. */
  let looks: number[] = [];
  let lookedAtMs = 0;

  const judge = (frag: Fragment, transfer: Transfer): void => {
    const level = hls.levels[frag.level];
    const seconds = level?.details?.partTarget ?? 0;
    if (!level || seconds === 0 || frag.level === 0 || !hls.autoLevelEnabled) return;
    const rate = tooSlow(transfer, seconds, level.bitrate);
    if (rate === null || hls.loadLevel !== frag.level) return;
    hls.bandwidthEstimate = rate;
    hls.nextLoadLevel = levelBelow(
      hls.levels.map(({ bitrate }) => bitrate),
      frag.level,
      rate,
    );
  };

  const look = (): void => {
    const nowMs = performance.now();
    // A page that had no time has not heard of what came meanwhile.
    const isLate = nowMs - lookedAtMs > 2 * LOOK_MS;
    lookedAtMs = nowMs;
    const stats = loading?.loader?.stats;
    if (!loading || !stats || stats.loading.first === 0) {
      looks = [];
      return;
    }
    const before = looks.at(-1) ?? 0;
    if (stats.loaded !== before) onBytes();
    // Another part, or looks that were too far apart to tell.
    looks = isLate || stats.loaded < before ? [stats.loaded] : [...looks, stats.loaded].slice(-RECENT_LOOKS);
    if (looks.length < RECENT_LOOKS) return;
    const recent = ((stats.loaded - (looks[0] ?? 0)) * 8_000) / ((RECENT_LOOKS - 1) * LOOK_MS);
    judge(loading, { bytes: stats.loaded, total: stats.total, ms: nowMs - stats.loading.first, recent });
  };
  const timer = setInterval(look, LOOK_MS);

  const onLoaded = (frag: Fragment, part: Part): void => {
    const { loaded, total, loading: times } = part.stats;
    looks = [];
    onBytes();
    const transfer = { bytes: loaded, total, ms: times.end - times.first, recent: 0 };
    const rate = quick.add(transfer, hls.bandwidthEstimate);
    if (rate !== null) hls.bandwidthEstimate = rate;
    judge(frag, transfer);
    // The next part of the same level is asked for right after this.
    setTimeout(() => hls.loadLevel !== frag.level && frag.abortRequests(), 0);
  };
  hls.on(Events.FRAG_LOADING, (_, { frag }) => {
    if (frag.type === 'main' && frag.sn !== 'initSegment') loading = frag;
  });
  hls.on(Events.FRAG_LOADED, (_, { frag, part }) => {
    if (part && frag.type === 'main') onLoaded(frag, part);
  });
  hls.once(Events.DESTROYING, () => clearInterval(timer));
}
