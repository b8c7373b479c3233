/** `/studio/streams`: the tenant's streams, what comes in, and what is wrong. `/studio` opens the only live one. */

import { useEffect, useState } from 'preact/hooks';
import type { Stream } from '../../api/generated/api';
import { latest } from '../../api/resource';
import { duration } from '../../format';
import { posterImage } from '../../routes';
import { common, streamsPage as t } from '../../text/en';
import { StateBadge, stateOf } from '../../ui/badge';
import { LinkButton } from '../../ui/button';
import { Icon } from '../../ui/icon';
import { Empty, Loaded, Placeholder } from '../../ui/loaded';
import { LogLine } from '../../ui/log-line';
import { now } from '../../ui/time';
import { leaving } from '../../ui/toasts';
import { inputLine, openWarnings, warningTitle } from '../input';
import { go } from '../router';
import { streamPath } from '../routes';
import { may } from '../session';
import { PageHead } from '../shell';
import { arranged, historyOf, onlyLive, type Streams, useStreams } from '../streams';

/** How long a picture is shown before a newer one is fetched, milliseconds: about two segments. */
const POSTER_MS = 8_000;

/** The newest picture; a stream that has none, or that not everybody may watch, shows its first letter. */
export function Poster({ stream }: { stream: Stream }) {
  const [shown, setShown] = useState('');
  const isOnAir = stateOf(stream.live?.state) !== 'idle';
  const url = `${posterImage(stream.name)}?at=${Math.floor(now.value / POSTER_MS)}`;
  useEffect(() => {
    if (!isOnAir) return undefined;
    const image = new Image();
    image.onload = () => setShown(url);
    image.src = url;
    return () => {
      image.onload = null;
    };
  }, [url, isOnAir]);
  return (
    <span class="poster" aria-hidden="true">
      {shown ? (
        <img src={shown} alt="" />
      ) : (
        <span class="poster-letter">{(stream.title || stream.name).slice(0, 1)}</span>
      )}
    </span>
  );
}

function when(stream: Stream): string {
  const { live } = stream;
  if (live?.started_at === undefined || live.state === 'ended') return '';
  return `for ${duration(now.value - live.started_at)}`;
}

export function Warnings({ stream }: { stream: Stream }) {
  const open = openWarnings(stream.input);
  const [first] = open;
  if (!first) return null;
  return (
    <p class="stream-warning">
      <Icon name="alert" />
      {warningTitle(first)}
      {open.length > 1 && t.andValueMore(open.length - 1)}
    </p>
  );
}

function StreamRow({ stream }: { stream: Stream }) {
  const line = inputLine(stream.input);
  const state = stateOf(stream.live?.state);
  return (
    <li class={`stream-row stream-row-${state}`}>
      <a href={streamPath(stream.name)}>
        <Poster stream={stream} />
        <span class="stream-main">
          <span class="stream-title">{stream.title || stream.name}</span>
          <span class="stream-name mono">{stream.name}</span>
        </span>
        <span class="stream-state">
          <StateBadge state={state} />
          <span class="stream-when">{when(stream)}</span>
        </span>
        <span class="stream-input">
          {line ?? (state === 'idle' ? t.keyHint(stream.key.hint) : t.noInput)}
        </span>
        <span class="stream-line">
          {(state === 'live' || state === 'reconnecting') && (
            <LogLine history={historyOf(stream.name).value} />
          )}
          <Warnings stream={stream} />
        </span>
      </a>
    </li>
  );
}

function List({ streams }: { streams: Streams }) {
  const shown = arranged(streams.items).filter(({ id }) => !leaving.value.has(id));
  if (shown.length === 0) {
    return (
      <Empty
        title={t.noStreamYet}
        action={
          may('streams:write') && (
            <LinkButton href="/studio/new" kind="main" icon="add">
              {t.makeYourFirstStream}
            </LinkButton>
          )
        }
      >
        {t.aStreamHasANameA}
      </Empty>
    );
  }
  return (
    <>
      <ul class="stream-list">
        {shown.map((stream) => (
          <StreamRow key={stream.id} stream={stream} />
        ))}
      </ul>
      {streams.hasMore && (
        <p class="page-note">
          {t.theseAreTheFirst}
          {streams.items.length}
          {t.theApiHasAllOfThem}
        </p>
      )}
    </>
  );
}

export function StreamsPage({ isStart }: { isStart: boolean }) {
  const { resource, again } = useStreams();
  const known = latest(resource.value);
  const [isDecided, setDecided] = useState(!isStart);
  useEffect(() => {
    if (isDecided || known === null) return;
    setDecided(true);
    const only = onlyLive(known.items);
    if (only) go(streamPath(only.name), 'replace');
  }, [known, isDecided]);
  const isEmpty = known !== null && known.items.length === 0;
  return (
    <>
      <PageHead
        title={common.streams}
        action={
          !isEmpty &&
          may('streams:write') && (
            <LinkButton href="/studio/new" kind="main" icon="add">
              {t.newStream}
            </LinkButton>
          )
        }
      />
      <Loaded
        resource={resource.value}
        what={t.theStreamsCannotBeShown}
        again={again}
        placeholder={<Placeholder rows={3} kind="stream" />}
      >
        {(streams) => <List streams={streams} />}
      </Loaded>
    </>
  );
}
