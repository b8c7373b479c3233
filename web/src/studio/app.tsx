/** Which page an address shows. */

import { app as t } from '../text/en';
import { LinkButton } from '../ui/button';
import { Empty, Failure, Placeholder } from '../ui/loaded';
import { lazy } from './lazy';
import { StreamPage } from './pages/stream';
import { StreamsPage } from './pages/streams';
import { route } from './router';
import { readSession, session, sessionError } from './session';
import { PageHead, Shell } from './shell';

// Most visits need none of these.
const NewStreamPage = lazy(async () => (await import('./pages/new-stream')).NewStreamPage);
const KeysPage = lazy(async () => (await import('./pages/keys')).KeysPage);
const MembersPage = lazy(async () => (await import('./pages/members')).MembersPage);
const WebhooksPage = lazy(async () => (await import('./pages/webhooks')).WebhooksPage);
const UsagePage = lazy(async () => (await import('./pages/usage')).UsagePage);
const AuditPage = lazy(async () => (await import('./pages/audit')).AuditPage);

function NotFound() {
  return (
    <>
      <PageHead title={t.thereIsNothingAtThisAddress} />
      <Empty
        title={t.theLinkMayBeOldOr}
        action={
          <LinkButton href="/studio/streams" kind="main">
            {t.seeYourStreams}
          </LinkButton>
        }
      >
        {t.yourStreamsAreWhereTheyWere}
      </Empty>
    </>
  );
}

function Page() {
  const shown = route.value;
  switch (shown.page) {
    case 'start':
      return <StreamsPage key="start" isStart />;
    case 'streams':
      return <StreamsPage key="streams" isStart={false} />;
    case 'new':
      return <NewStreamPage />;
    case 'stream':
      return <StreamPage key={shown.stream} name={shown.stream} tab={shown.tab} />;
    case 'keys':
      return <KeysPage />;
    case 'members':
      return <MembersPage />;
    case 'webhooks':
      return <WebhooksPage />;
    case 'usage':
      return <UsagePage />;
    case 'audit':
      return <AuditPage />;
    default:
      return <NotFound />;
  }
}

export function App() {
  const error = sessionError.value;
  return (
    <Shell>
      {session.value ? (
        <Page />
      ) : error ? (
        <Failure error={error} what={t.theStudioCannotBeShown} again={() => void readSession()} />
      ) : (
        <Placeholder rows={3} kind="stream" />
      )}
    </Shell>
  );
}
