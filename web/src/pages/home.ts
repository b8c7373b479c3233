/** `/`: live streams, ended streams, and instructions for the streamer when there are none. */

import { fetchStreams } from '../api/client';
import { poll } from '../api/poll';
import type { StreamSummary } from '../api/types';
import { copyButton } from '../components/copy-button';
import { icon } from '../components/icons';
import { POSTER_MS, refreshPosters, streamCard } from '../components/stream-card';
import { h, setHidden, setText } from '../dom';
import { publishHome } from '../probe';
import { home as t } from '../text/en';

const POLL_MS = 4_000;
const POLL_HIDDEN_MS = 30_000;
/** Most ended streams shown; the newest come first. */
const ENDED_SHOWN_MAX = 12;

/** Sorts live streams first, then reconnecting ones, each newest first; ended streams are apart. Pure. */
export function arrange(streams: StreamSummary[]): { live: StreamSummary[]; ended: StreamSummary[] } {
  const rank = { live: 0, reconnecting: 1, ended: 2 } as const;
  const sorted = [...streams].sort(
    (a, b) =>
      rank[a.state] - rank[b.state] ||
      (b.startedAt ?? 0) - (a.startedAt ?? 0) ||
      a.name.localeCompare(b.name),
  );
  return {
    live: sorted.filter((stream) => stream.state !== 'ended'),
    ended: sorted.filter((stream) => stream.state === 'ended').slice(0, ENDED_SHOWN_MAX),
  };
}

function codeLine(label: string, text: string): HTMLElement {
  return h(
    'div',
    { class: 'code-line' },
    h('dt', {}, label),
    h(
      'dd',
      {},
      h('code', {}, text),
      copyButton(t.copyThe(label.toLowerCase()), () => text),
    ),
  );
}

function emptyState(): HTMLElement {
  // The API does not tell the ingest's address. This is the default one, and the page says so.
  const server = `rtmp://${location.hostname}:1935/live`;
  return h(
    'div',
    { class: 'empty' },
    h('div', { class: 'empty-icon' }, icon('signal')),
    h('h2', {}, t.nothingIsLiveRightNow),
    h('p', {}, t.streamsAppearHereByThemselvesThe),
    h(
      'dl',
      { class: 'code-lines' },
      codeLine(t.server, server),
      h(
        'div',
        { class: 'code-line' },
        h('dt', {}, t.streamKey),
        h('dd', {}, 'the key of your stream; ', h('code', {}, 'sealcast up'), ' prints one when it starts'),
      ),
    ),
    h('p', { class: 'hint' }, t.inObsSettingsStreamServiceCustom, h('code', {}, 'sealcast up'), t.printedIt),
  );
}

export function homePage(): HTMLElement {
  const notice = h('p', { class: 'notice', role: 'status', hidden: true });
  const live = h('ul', { class: 'cards' });
  const liveCount = h('span', { class: 'count' });
  const liveSection = h('section', { hidden: true }, h('h2', {}, t.liveNow, liveCount), live);
  const ended = h('ul', { class: 'cards cards-small' });
  const endedSection = h('section', { hidden: true }, h('h2', {}, t.ended), ended);
  const empty = emptyState();
  empty.hidden = true;
  const loading = h('ul', { class: 'cards', 'aria-hidden': 'true' });
  for (let index = 0; index < 3; index += 1)
    loading.append(h('li', { class: 'card skeleton' }, h('div', { class: 'card-art' })));

  let shown = '';
  const draw = (streams: StreamSummary[]): void => {
    const groups = arrange(streams);
    const now = Date.now();
    document.title = groups.live.length > 0 ? t.lengthLiveSealcast(groups.live.length) : 'Sealcast';
    setHidden(notice, true);
    setHidden(loading, true);
    setHidden(empty, groups.live.length > 0);
    setHidden(liveSection, groups.live.length === 0);
    setHidden(endedSection, groups.ended.length === 0);
    // Redraw only when something visible has changed, so that the focus stays.
    const next = JSON.stringify([groups, Math.floor(now / 60_000)]);
    if (next === shown) return;
    shown = next;
    const focused = document.activeElement?.getAttribute('href');
    setText(liveCount, String(groups.live.length));
    live.replaceChildren(...groups.live.map((stream) => streamCard(stream, now)));
    ended.replaceChildren(...groups.ended.map((stream) => streamCard(stream, now)));
    if (focused) document.querySelector<HTMLElement>(`.card-link[href="${CSS.escape(focused)}"]`)?.focus();
  };

  poll({
    ask: fetchStreams,
    onAnswer: (streams) => {
      publishHome(streams.length);
      draw(streams);
    },
    onFailure: () => {
      setText(notice, t.theClusterDoesNotAnswerTrying);
      setHidden(notice, false);
      setHidden(loading, shown !== '');
    },
    intervalMs: POLL_MS,
    hiddenIntervalMs: POLL_HIDDEN_MS,
  });

  setInterval(() => {
    if (!document.hidden) refreshPosters(live, Date.now());
  }, POSTER_MS);

  return h(
    'main',
    { id: 'main', class: 'home', tabindex: '-1' },
    h('div', { class: 'hero' }, h('h1', {}, t.liveAndSealed), h('p', {}, t.everyMomentYouWatchHereWas)),
    notice,
    loading,
    liveSection,
    empty,
    endedSection,
  );
}
