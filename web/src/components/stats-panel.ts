/** What the player measures, for the curious and for support. */

import { h, setText } from '../dom';
import { bitrate, rungLabel, seconds } from '../format';
import type { Player } from '../player/player';

export interface StatsPanel {
  panel: HTMLElement;
  update(player: Player): void;
}

export function stallsText({ count, totalMs }: { count: number; totalMs: number }): string {
  return count === 0 ? 'none' : `${count} (${(totalMs / 1000).toFixed(1)} s in all)`;
}

export function statsPanel(): StatsPanel {
  const rows = new Map<string, HTMLElement>();
  const list = h('dl', { class: 'facts' });
  for (const name of [
    'Behind the live edge',
    'Ingest to screen',
    'Picture',
    'Bandwidth',
    'Buffered',
    'Stalls',
    'Dropped frames',
  ]) {
    const value = h('dd', {}, '–');
    rows.set(name, value);
    list.append(h('div', {}, h('dt', {}, name), value));
  }
  const set = (name: string, text: string): void => {
    const value = rows.get(name);
    if (value) setText(value, text);
  };
  const ingest = rows.get('Ingest to screen');
  if (ingest) ingest.title = 'By this device’s clock';
  return {
    panel: h(
      'details',
      { class: 'panel', open: matchMedia('(min-width: 1000px)').matches },
      h('summary', {}, h('h2', {}, 'Playback')),
      list,
    ),
    update(player) {
      const stats = player.stats();
      const level = stats.levels[stats.level];
      const frames = player.video.getVideoPlaybackQuality?.();
      const { videoWidth, videoHeight } = player.video;
      set('Behind the live edge', seconds(stats.latencySeconds));
      set('Ingest to screen', seconds(stats.endToEndSeconds));
      set(
        'Picture',
        videoHeight === 0 ? '–' : `${videoWidth} × ${videoHeight}${level ? ` · ${rungLabel(level)}` : ''}`,
      );
      set('Bandwidth', stats.bandwidth === null ? '–' : bitrate(stats.bandwidth));
      set('Buffered', seconds(player.bufferSeconds()));
      set('Stalls', stallsText(player.stalls()));
      set('Dropped frames', frames ? `${frames.droppedVideoFrames} of ${frames.totalVideoFrames}` : '–');
    },
  };
}
