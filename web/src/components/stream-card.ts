/** The card of one stream on the home page. */

import type { StreamSummary } from '../api/types';
import { h } from '../dom';
import { duration, rungLabel, topRung } from '../format';
import { streamCard as t } from '../text/en';
import { sealArt } from './seal-art';

const STATE_LABEL = { live: t.live, reconnecting: t.reconnecting, ended: t.ended } as const;

export function stateTag(state: StreamSummary['state']): HTMLElement {
  return h('span', { class: `tag tag-${state}` }, h('span', { class: 'dot' }), STATE_LABEL[state]);
}

export function watchPath(stream: string): string {
  return `/watch/${encodeURIComponent(stream)}`;
}

/** The text about a stream's state: `Live for 12 min`. Pure. */
export function cardLine(stream: StreamSummary, nowMs: number): string {
  const rungs = stream.renditions.filter((rendition) => rendition.height !== null).length;
  const ladder = rungs === 0 ? '' : `${rungs} ${rungs === 1 ? 'quality' : 'qualities'}`;
  const start = stream.startedAt === null ? null : duration(nowMs - stream.startedAt);
  const when =
    stream.state === 'ended'
      ? start && t.startedStartAgo(start)
      : start &&
        `${stream.state === 'live' ? t.live : t.started} ${stream.state === 'live' ? 'for ' : ''}${start}${stream.state === 'live' ? '' : ' ago'}`;
  return [when, stream.state === 'ended' ? '' : ladder].filter(Boolean).join(' · ');
}

/** How long a card shows a picture, milliseconds: about two segments. */
export const POSTER_MS = 8_000;

/** URL of the picture now. It changes every `POSTER_MS`, so that the browser fetches the picture again. Pure. */
export function posterAt(poster: string, nowMs: number): string {
  return `${poster}?at=${Math.floor(nowMs / POSTER_MS)}`;
}

/** The newest picture, which covers the drawn one. Without a newest picture, the drawn one stays visible. */
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

/** Fetches newer pictures for the cards below `root`. An old picture stays until the new one has loaded. */
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
