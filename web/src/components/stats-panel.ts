/** The panel with the player's measurements, for the curious and for support. */

import { h, setHidden, setText } from '../dom';
import { bitrate, rungLabel, seconds } from '../format';
import { abilities, browserLimits } from '../player/browser-limits';
import type { Player } from '../player/player';
import type { WatchdogStats } from '../player/watchdog';

export interface StatsPanel {
  panel: HTMLElement;
  update(player: Player): void;
}

export function stallsText({ count, totalMs }: { count: number; totalMs: number }): string {
  return count === 0 ? 'none' : `${count} (${(totalMs / 1000).toFixed(1)} s in all)`;
}

/** The watchdog's measures as text: `2 nudges, 1 reload`. Pure. */
export function watchdogText({ nudges, reloads, remakes }: WatchdogStats): string {
  const counted = (count: number, noun: string): string[] =>
    count === 0 ? [] : [`${count} ${noun}${count === 1 ? '' : 's'}`];
  const all = [...counted(nudges, 'nudge'), ...counted(reloads, 'reload'), ...counted(remakes, 'restart')];
  return all.join(', ') || 'none';
}

/** Latency and target as text: `2.1 s (aim 1.6 s)`. Pure. */
export function behindText(latency: number | null, target: number | null): string {
  return latency === null || target === null
    ? seconds(latency)
    : `${seconds(latency)} (aim ${seconds(target)})`;
}

/** The lines in their order, each with the text of its tooltip. */
const LINES = {
  'Glass to glass': 'From the clock in the picture to this screen, by this device’s clock',
  'Behind the live edge': 'How far now, and how far the player aims to be',
  'Ingest to screen': 'By this device’s clock',
  Picture: '',
  Bandwidth: '',
  Buffered: '',
  Stalls: '',
  Recoveries: 'What the page did about a picture that stood still while newer media was listed',
  'Dropped frames': '',
} as const;
type Line = keyof typeof LINES;

export function statsPanel(): StatsPanel {
  const rows = new Map<Line, { row: HTMLElement; value: HTMLElement }>();
  const list = h('dl', { class: 'facts' });
  const limits = h('div', { class: 'limits' });
  let areLimitsKnown = false;
  for (const name of Object.keys(LINES) as Line[]) {
    const value = h('dd', { title: LINES[name] || null }, '–');
    const row = h('div', {}, h('dt', {}, name), value);
    rows.set(name, { row, value });
    list.append(row);
  }
  /** Sets the text of a line; null hides the line. */
  const set = (name: Line, text: string | null): void => {
    const line = rows.get(name);
    if (!line) return;
    setHidden(line.row, text === null);
    setText(line.value, text ?? '');
  };
  return {
    panel: h(
      'details',
      { class: 'panel', open: matchMedia('(min-width: 1000px)').matches },
      h('summary', {}, h('h2', {}, 'Playback')),
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
      set('Glass to glass', glass === null ? null : seconds(glass));
      set('Behind the live edge', behindText(stats.latencySeconds, stats.targetSeconds));
      set('Ingest to screen', seconds(stats.endToEndSeconds));
      set(
        'Picture',
        videoHeight === 0 ? '–' : `${videoWidth} × ${videoHeight}${level ? ` · ${rungLabel(level)}` : ''}`,
      );
      set('Bandwidth', stats.bandwidth === null ? '–' : bitrate(stats.bandwidth));
      set('Buffered', seconds(player.bufferSeconds()));
      set('Stalls', stallsText(player.stalls()));
      set('Recoveries', watchdogText(player.watchdog()));
      set('Dropped frames', frames ? `${frames.droppedVideoFrames} of ${frames.totalVideoFrames}` : '–');
    },
  };
}
