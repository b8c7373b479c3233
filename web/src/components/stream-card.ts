/** One stream on the home page. */

import type { StreamSummary } from '../api/types';
import { h } from '../dom';
import { duration, rungLabel, topRung } from '../format';
import { sealArt } from './seal-art';

const STATE_LABEL = { live: 'Live', reconnecting: 'Reconnecting', ended: 'Ended' } as const;

export function stateTag(state: StreamSummary['state']): HTMLElement {
  return h('span', { class: `tag tag-${state}` }, h('span', { class: 'dot' }), STATE_LABEL[state]);
}

export function watchPath(stream: string): string {
  return `/watch/${encodeURIComponent(stream)}`;
}

/** `Live for 12 min`, or what else there is to say. Pure. */
export function cardLine(stream: StreamSummary, nowMs: number): string {
  const rungs = stream.renditions.filter((rendition) => rendition.height !== null).length;
  const ladder = rungs === 0 ? '' : `${rungs} ${rungs === 1 ? 'quality' : 'qualities'}`;
  const start = stream.startedAt === null ? null : duration(nowMs - stream.startedAt);
  const when =
    stream.state === 'ended'
      ? start && `Started ${start} ago`
      : start &&
        `${stream.state === 'live' ? 'Live' : 'Started'} ${stream.state === 'live' ? 'for ' : ''}${start}${stream.state === 'live' ? '' : ' ago'}`;
  return [when, stream.state === 'ended' ? '' : ladder].filter(Boolean).join(' · ');
}

/** How long a picture on a card stands, milliseconds: two segments or so. */
export const POSTER_MS = 8_000;

/** The address of the picture now: another one after a while, so that the browser asks again. Pure. */
export function posterAt(poster: string, nowMs: number): string {
  return `${poster}?at=${Math.floor(nowMs / POSTER_MS)}`;
}

/** The newest picture over the drawn one, which stays where there is none. */
function posterImage(poster: string, nowMs: number): HTMLImageElement {
  const image = h('img', {
    class: 'card-poster',
    alt: '',
    decoding: 'async',
    loading: 'lazy',
    src: posterAt(poster, nowMs),
  });
  image.dataset.poster = poster;
  image.addEventListener('load', () => image.classList.add('loaded'));
  image.addEventListener('error', () => image.classList.remove('loaded'));
  return image;
}

/** Asks for newer pictures of the cards below `root`. The old one stands until the new one is there. */
export function refreshPosters(root: ParentNode, nowMs: number): void {
  for (const image of root.querySelectorAll<HTMLImageElement>('img[data-poster]')) {
    const url = posterAt(image.dataset.poster ?? '', nowMs);
    if (image.getAttribute('src') !== url) image.src = url;
  }
}

export function streamCard(stream: StreamSummary, nowMs: number): HTMLElement {
  const top = topRung(stream.renditions);
  return h(
    'li',
    { class: `card card-${stream.state}` },
    h(
      'a',
      { href: watchPath(stream.name), class: 'card-link' },
      h(
        'div',
        { class: 'card-art' },
        sealArt(stream.name),
        stream.poster !== null && posterImage(stream.poster, nowMs),
        stateTag(stream.state),
        top && stream.state !== 'ended' && h('span', { class: 'card-quality' }, rungLabel(top)),
      ),
      h('h3', { class: 'card-name' }, stream.name),
      h('p', { class: 'card-line' }, cardLine(stream, nowMs)),
    ),
  );
}
