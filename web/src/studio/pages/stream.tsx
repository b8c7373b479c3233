/** `/studio/streams/{stream}`: one stream, in five tabs. */

import { useEffect } from 'preact/hooks';
import type { Stream } from '../../api/generated/api';
import { bitrate, duration } from '../../format';
import { common, streamPage as t } from '../../text/en';
import { StateBadge, stateOf } from '../../ui/badge';
import { LinkButton } from '../../ui/button';
import { Icon } from '../../ui/icon';
import { Empty, Loaded, Placeholder } from '../../ui/loaded';
import { LogLine } from '../../ui/log-line';
import { BitRate } from '../../ui/sparkline';
import { Stat } from '../../ui/stat';
import { Tabs } from '../../ui/tabs';
import { clockAt, now } from '../../ui/time';
import { frames, inputRows, openWarnings, warningTitle } from '../input';
import { lazy } from '../lazy';
import { type StreamTab, streamPath } from '../routes';
import { PageHead } from '../shell';
import { historyOf, useStream } from '../streams';
import { Preview } from './preview';
import { Steps } from './steps';

const AccessTab = lazy(async () => (await import('./stream-access')).AccessTab);
const ChatTab = lazy(async () => (await import('./stream-chat')).ChatTab);
const SettingsTab = lazy(async () => (await import('./stream-settings')).SettingsTab);

const TABS: ReadonlyArray<readonly [StreamTab, string]> = [
  ['live', t.live],
  ['health', t.health],
  ['access', t.access],
  ['chat', t.chat],
  ['settings', common.settings],
];

/** What a tab of the browser says of the stream: `● hall` while it is live, `! 2` with warnings. Pure. */
export function tabTitle(stream: Stream): string {
  const count = openWarnings(stream.input).length;
  const isLive = stream.live?.state === 'live';
  const mark = count > 0 ? `! ${count} ` : isLive ? '● ' : '';
  return t.markValueStudioSealcast(mark, stream.title || stream.name);
}

function Standing({ stream }: { stream: Stream }) {
  const { live, input } = stream;
  const state = stateOf(live?.state);
  const since =
    live?.started_at !== undefined && state !== 'idle' && state !== 'ended'
      ? `for ${duration(now.value - live.started_at)}`
      : '';
  const away = input?.away_since === undefined ? '' : t.theEncoderIsAwaySinceClock(clockAt(input.away_since));
  return (
    <p class="standing">
      <StateBadge state={state} />
      <span>{[since, away, input?.slate ? 'viewers see the slate' : ''].filter(Boolean).join(', ')}</span>
      <a class="link" href={`/watch/${encodeURIComponent(stream.name)}`} target="_blank" rel="noopener">
        {t.viewersPage}
        <Icon name="external" />
      </a>
    </p>
  );
}

function WarningCards({ stream }: { stream: Stream }) {
  const all = stream.input?.warnings ?? [];
  if (all.length === 0) return null;
  return (
    <ul class="warnings" aria-label={t.warnings}>
      {all.map((warning) => {
        const isOver = warning.until !== undefined;
        const kind = isOver ? 'over' : warning.severity === 'note' ? 'info' : 'warn';
        return (
          <li key={`${warning.kind} ${warning.since}`} class={`warning warning-${kind}`}>
            <Icon name={isOver ? 'check' : 'alert'} />
            <div>
              <p class="warning-title">
                {isOver && 'Over: '}
                {warningTitle(warning)}
              </p>
              <p>{warning.text}</p>
              <p class="warning-when">
                {isOver
                  ? t.clockToClock2(clockAt(warning.since), clockAt(warning.until ?? 0))
                  : `since ${clockAt(warning.since)}`}
              </p>
            </div>
          </li>
        );
      })}
    </ul>
  );
}

function LiveTab({ stream }: { stream: Stream }) {
  const history = historyOf(stream.name).value;
  const { input } = stream;
  const video = input?.video;
  const rate = video?.frame_rate_millihertz;
  if (stateOf(stream.live?.state) === 'idle' && input?.connected_at === undefined) {
    return (
      <>
        <Steps stream={stream} />
        <p class="page-note">
          {t.yourEncoderNeedsTheStreamS}
          {stream.key.hint.replace(/^…/, '')}
          {t.aLostOneIsReplacedUnder}{' '}
          <a class="link" href={streamPath(stream.name, 'settings')}>
            {common.settings}
          </a>
          .
        </p>
      </>
    );
  }
  return (
    <div class="live-grid">
      <div class="live-picture">
        <Preview stream={stream} />
        <LogLine history={history} />
        <p class="log-line-note">{t.theLastMinuteAMarkFor}</p>
      </div>
      <div class="live-side">
        <dl class="stats">
          <Stat
            label={common.bitRate}
            value={input?.bit_rate === undefined ? '–' : bitrate(input.bit_rate)}
            note={
              input?.pace_permille === undefined
                ? undefined
                : t.valueOfRealTime(Math.round(input.pace_permille / 10))
            }
          />
          <Stat
            label={t.picture}
            value={video ? `${video.width} × ${video.height}` : '–'}
            note={rate === undefined ? undefined : frames(rate)}
          />
          <Stat
            label={t.warnings}
            value={openWarnings(input).length}
            kind={openWarnings(input).length > 0 ? 'warn' : undefined}
          />
          <Stat label={t.reconnects} value={input?.reconnects ?? '–'} />
        </dl>
        <WarningCards stream={stream} />
        <BitRate history={history} />
      </div>
    </div>
  );
}

function HealthTab({ stream }: { stream: Stream }) {
  const { input } = stream;
  if (!input) {
    return (
      <Empty
        title={t.nothingComesIn}
        action={<LinkButton href={streamPath(stream.name)}>{t.seeWhatIsNext}</LinkButton>}
      >
        {t.whileAnEncoderIsConnectedThis}
      </Empty>
    );
  }
  return (
    <>
      {input.warnings.length === 0 && (
        <p class="all-well">
          <Icon name="check" />
          {t.nothingToMend}
        </p>
      )}
      <WarningCards stream={stream} />
      <section class="panel" aria-labelledby="input-title">
        <h2 id="input-title">{t.whatComesIn}</h2>
        <dl class="rows">
          {inputRows(input).map(({ label, value, note }) => (
            <div key={label} class="row">
              <dt>{label}</dt>
              <dd>
                {value}
                {note && <span class="row-note">{note}</span>}
              </dd>
            </div>
          ))}
        </dl>
        <p class="panel-note">
          {t.measuredByTheIngestOverThe} {Math.max(0, Math.round((now.value - input.at) / 1_000))}
          {t.sAgo}
        </p>
      </section>
    </>
  );
}

export function StreamPage({ name, tab }: { name: string; tab: StreamTab }) {
  const { resource, again } = useStream(name);
  const known = resource.value;
  const stream = known.state === 'ready' || known.state === 'stale' ? known.value : null;
  const browserTitle = stream ? tabTitle(stream) : null;
  useEffect(() => {
    if (browserTitle !== null) document.title = browserTitle;
  }, [browserTitle]);
  return (
    <>
      <PageHead title={stream?.title || name} back={['/studio/streams', common.streams]}>
        {stream && <Standing stream={stream} />}
      </PageHead>
      <Tabs
        label={t.stream}
        open={tab}
        tabs={TABS.map(([id, label]) => [id, label, streamPath(name, id)] as const)}
      />
      <Loaded
        resource={known}
        what={t.theStreamCannotBeShown}
        again={again}
        placeholder={<Placeholder rows={4} />}
      >
        {(shown) => {
          if (tab === 'health') return <HealthTab stream={shown} />;
          if (tab === 'access') return <AccessTab stream={shown} />;
          if (tab === 'chat') return <ChatTab stream={shown} />;
          if (tab === 'settings') return <SettingsTab name={shown.name} id={shown.id} />;
          return <LiveTab stream={shown} />;
        }}
      </Loaded>
    </>
  );
}
