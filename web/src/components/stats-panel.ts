/** The panel with the player's measurements, for the curious and for support. */

import { h, setHidden, setText } from '../dom';
import { bitrate, rungLabel, seconds } from '../format';
import { abilities, browserLimits } from '../player/browser-limits';
import type { Player } from '../player/player';
import type { WatchdogStats } from '../player/watchdog';
import { statsPanel as t } from '../text/en';

export interface StatsPanel {
  panel: HTMLElement;
  update(player: Player): void;
}

export function stallsText({ count, totalMs }: { count: number; totalMs: number }): string {
  return count === 0 ? t.none : t.stallsInAll(count, (totalMs / 1000).toFixed(1));
}

/** The watchdog's measures as text: `2 nudges, 1 reload`. Pure. */
export function watchdogText({ nudges, reloads, remakes }: WatchdogStats): string {
  const counted = (count: number, say: (count: number) => string): string[] =>
    count === 0 ? [] : [say(count)];
  const all = [...counted(nudges, t.nudges), ...counted(reloads, t.reloads), ...counted(remakes, t.restarts)];
  return all.join(', ') || t.none;
}

/** Latency and target as text: `2.1 s (aim 1.6 s)`. Pure. */
export function behindText(latency: number | null, target: number | null): string {
  return latency === null || target === null
    ? seconds(latency)
    : t.latencyAim(seconds(latency), seconds(target));
}

/** The lines in their order, each with the text of its tooltip. */
const LINES: ReadonlyArray<readonly [name: string, about: string]> = [
  [t.glassToGlass, t.fromTheClockInThePicture],
  [t.behindTheLiveEdge, t.howFarNowAndHowFar],
  [t.ingestToScreen, t.byThisDeviceSClock],
  [t.picture, ''],
  [t.bandwidth, ''],
  [t.buffered, ''],
  [t.stalls, ''],
  [t.recoveries, t.whatThePageDidAboutA],
  [t.droppedFrames, ''],
];

export function statsPanel(): StatsPanel {
  const rows = new Map<string, { row: HTMLElement; value: HTMLElement }>();
  const list = h('dl', { class: 'facts' });
  const limits = h('div', { class: 'limits' });
  let areLimitsKnown = false;
  for (const [name, about] of LINES) {
    const value = h('dd', { title: about || null }, '–');
    const row = h('div', {}, h('dt', {}, name), value);
    rows.set(name, { row, value });
    list.append(row);
  }
  /** Sets the text of a line; null hides the line. */
  const set = (name: string, text: string | null): void => {
    const line = rows.get(name);
    if (!line) return;
    setHidden(line.row, text === null);
    setText(line.value, text ?? '');
  };
  return {
    panel: h(
      'details',
      { class: 'panel', open: matchMedia('(min-width: 1000px)').matches },
      h('summary', {}, h('h2', {}, t.playback)),
      list,
      limits,
    ),
    update(player) {
      if (!areLimitsKnown) {
        areLimitsKnown = true;
        limits.append(...browserLimits(abilities(player.video)).map((text) => h('p', {}, text)));
      }
      const stats = player.stats();
      const level = stats.levels[stats.level];
      const frames = player.video.getVideoPlaybackQuality?.();
      const { videoWidth, videoHeight } = player.video;
      const glass = player.glassToGlassSeconds;
      set(t.glassToGlass, glass === null ? null : seconds(glass));
      set(t.behindTheLiveEdge, behindText(stats.latencySeconds, stats.targetSeconds));
      set(t.ingestToScreen, seconds(stats.endToEndSeconds));
      set(
        t.picture,
        videoHeight === 0 ? '–' : `${videoWidth} × ${videoHeight}${level ? ` · ${rungLabel(level)}` : ''}`,
      );
      set(t.bandwidth, stats.bandwidth === null ? '–' : bitrate(stats.bandwidth));
      set(t.buffered, seconds(player.bufferSeconds()));
      set(t.stalls, stallsText(player.stalls()));
      set(t.recoveries, watchdogText(player.watchdog()));
      set(t.droppedFrames, frames ? t.framesOf(frames.droppedVideoFrames, frames.totalVideoFrames) : '–');
    },
  };
}
