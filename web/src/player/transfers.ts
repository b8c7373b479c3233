/**
 * Measures the link with each part, for the choice of a rung.
 *
 * hls.js 1.7.4 loads the parts of a segment one after the other on one level, applies its rules for slow loading only to the first of
 * them, and averages over seconds of transfers. When a link fell from 8 to 1.2 Mbit/s, it stayed on 2.9 Mbit/s for 5 to 20 s, and took as
 * long to rise again after the link recovered. Here, one slow part is enough to leave its rung, and a few quick parts in a row raise the
 * estimate. A part under way loads to its end, because most of it already waits in the link's queue; the parts after it are not requested.
 */

import type Hls from 'hls.js';
import { Events, type Fragment, type Part } from 'hls.js';
import { BANDWIDTH_SHARE } from './hls-config';

/** Interval at which a part under way is sampled, milliseconds. */
const LOOK_MS = 50;
/** A part measures its link only after this share of its duration, because TCP's window has to grow first. */
const TELLING_SHARE = 0.5;
/** Number of samples that measure the current rate of the link. */
const RECENT_LOOKS = 4;
/** A part that takes longer than this multiple of its duration is too slow. */
const SLOW_FACTOR = 1.2;

/** This many parts in a row raise the estimate, if each was faster than the estimate by this factor. */
const QUICK_PARTS = 6;
const QUICK_FACTOR = 1.5;
/** Transfers count as at least this long, milliseconds: what the browser has buffered already takes no time. */
const TRANSFER_MS_MIN = 50;

/** A part that is under way or has arrived. */
export interface Transfer {
  bytes: number;
  /** Length of the part in bytes; 0 while unknown. */
  total: number;
  /** Milliseconds since its first byte. */
  ms: number;
  /** Current rate, bits per second; 0 in a pause. */
  recent: number;
}

/**
 * The rate of the link in bits per second, if it is too slow for parts of `seconds` at `bitsPerSecond`; null when it is fast enough, or
 * when it is too early to tell. A link that pauses for a moment is not slow. Pure.
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

/** Raises the estimate after a row of quick parts. */
export class QuickParts {
  #rates: number[] = [];

  /** Records a part. Returns the link's rate in bits per second, if it is clearly above the estimate; else null. */
  add({ bytes, ms }: Pick<Transfer, 'bytes' | 'ms'>, estimate: number): number | null {
    this.#rates.push((bytes * 8_000) / Math.max(ms, TRANSFER_MS_MIN));
    this.#rates = this.#rates.slice(-QUICK_PARTS);
    const least = Math.min(...this.#rates);
    return this.#rates.length === QUICK_PARTS && least > estimate * QUICK_FACTOR ? least : null;
  }
}

/** The highest level below `from` that leaves some of the link free, else the lowest. `bitrates` ascend. Pure. */
export function levelBelow(bitrates: readonly number[], from: number, bitsPerSecond: number): number {
  const fits = bitrates.findLastIndex(
    (bitrate, level) => level < from && bitrate <= bitsPerSecond * BANDWIDTH_SHARE,
  );
  return Math.max(fits, 0);
}

/** Watches the transfers of video parts until `hls` is destroyed. Calls `onBytes` when bytes arrive. */
export function watchTransfers(hls: Hls, onBytes: () => void): void {
  const quick = new QuickParts();
  let loading: Fragment | null = null;
  /** Bytes loaded of the part under way, at each of the newest samples. */
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
    // After a late sample, the rate since the one before is unknown: the page was busy.
    const isLate = nowMs - lookedAtMs > 2 * LOOK_MS;
    lookedAtMs = nowMs;
    const stats = loading?.loader?.stats;
    if (!loading || !stats || stats.loading.first === 0) {
      looks = [];
      return;
    }
    const before = looks.at(-1) ?? 0;
    if (stats.loaded !== before) onBytes();
    // Start again with another part, or when samples are too far apart.
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
    // hls.js requests the next part of the same level right after this.
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
