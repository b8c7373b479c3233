/** The video without controls. It plays before the controls load, which are much code and not needed for the first frame. */

import { h } from '../dom';
import { picture as t } from '../text/en';

export function picture(stream: string, poster: string): HTMLVideoElement {
  const video = h('video', {
    slot: 'media',
    playsinline: true,
    muted: true,
    poster,
    'aria-label': t.liveVideoOfStream(stream),
  });
  video.muted = true;
  return video;
}

/** The player's place on the page before the controls have loaded; it has the same size as with them. */
export function bareStage(video: HTMLVideoElement): HTMLElement {
  return h('div', { class: 'stage' }, h('div', { class: 'player' }, video));
}
