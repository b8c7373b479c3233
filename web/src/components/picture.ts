/** The video without controls. It plays before the controls load, which are much code and not needed for the first frame. */

import { h } from '../dom';
import { picture as t } from '../text/en';

/** The poster is loaded only when the picture is not there by then, because it would make the picture wait. Milliseconds. */
const POSTER_MS = 1_500;

export function picture(stream: string, poster: string): HTMLVideoElement {
  const video = h('video', {
    slot: 'media',
    playsinline: true,
    muted: true,
    'aria-label': t.liveVideoOfStream(stream),
  });
  video.muted = true;
  setTimeout(() => {
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) video.poster = poster;
  }, POSTER_MS);
  return video;
}

/** The player's place on the page before the controls have loaded; it has the same size as with them. */
export function bareStage(video: HTMLVideoElement): HTMLElement {
  return h('div', { class: 'stage' }, h('div', { class: 'player' }, video));
}
