/** What stands around all pages of the studio: where one is, who one is, whether control answers. */

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import faviconUrl from '../icons/favicon.svg';
import { common, palette as paletteText, shell as t } from '../text/en';
import { chooseTheme, type ThemeChoice, themeChoice } from '../theme';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { Icon, type IconName } from '../ui/icon';
import { clockAt } from '../ui/time';
import { Toasts } from '../ui/toasts';
import { lazy } from './lazy';
import { route, visits } from './router';
import { type Route, SETTINGS, type Settings, settingsPath } from './routes';
import { awaySince, chooseTenant, isSignedOut, may, readSession, session, signInPath } from './session';
import { signOut } from './sign-out';

export const SECTIONS: Record<Settings, readonly [label: string, icon: IconName, scope: string]> = {
  members: [common.members, 'members', 'members:read'],
  keys: [common.apiKeys, 'key', 'api-keys:read'],
  webhooks: [t.webhooks, 'webhook', 'webhooks:read'],
  usage: [t.usage, 'usage', 'usage:read'],
  audit: [t.audit, 'audit', 'audit:read'],
};

/** Settings pages that this server has, and that the person may read. */
export function sections(): Settings[] {
  return SETTINGS.filter((name) => may(SECTIONS[name][2]));
}

const isOpen = (page: Route['page'], item: 'streams' | Settings): boolean =>
  item === 'streams' ? ['start', 'streams', 'stream', 'new'].includes(page) : page === item;

function Item({ href, icon, label, open }: { href: string; icon: IconName; label: string; open: boolean }) {
  return (
    <li>
      <a href={href} aria-current={open ? 'page' : undefined}>
        <Icon name={icon} />
        {label}
      </a>
    </li>
  );
}

function Navigation() {
  const { page } = route.value;
  return (
    <nav class="side-nav" aria-label={t.studio}>
      <ul>
        <Item href="/studio/streams" icon="streams" label={common.streams} open={isOpen(page, 'streams')} />
      </ul>
      <p class="side-nav-title" id="nav-settings">
        {common.settings}
      </p>
      <ul aria-labelledby="nav-settings">
        {sections().map((name) => (
          <Item
            key={name}
            href={settingsPath(name)}
            icon={SECTIONS[name][1]}
            label={SECTIONS[name][0]}
            open={page === name}
          />
        ))}
      </ul>
    </nav>
  );
}

const THEMES: ReadonlyArray<readonly [ThemeChoice, string]> = [
  ['dark', t.dark],
  ['light', t.light],
  ['system', t.likeTheSystem],
];

function Account() {
  const who = session.value;
  if (!who) return null;
  const tenants = who.tenants ?? [];
  return (
    <div class="account">
      {tenants.length > 1 ? (
        <label class="small-select">
          <span>{t.tenant}</span>
          <select value={who.tenant.slug} onChange={(event) => chooseTenant(event.currentTarget.value)}>
            {tenants.map(({ slug, name }) => (
              <option key={slug} value={slug}>
                {name || slug}
              </option>
            ))}
          </select>
        </label>
      ) : (
        <p class="account-tenant">{who.tenant.name || who.tenant.slug}</p>
      )}
      <p class="account-name">{who.name}</p>
      <label class="small-select">
        <span>{t.colours}</span>
        <select
          value={themeChoice()}
          onChange={(event) => chooseTheme(event.currentTarget.value as ThemeChoice)}
        >
          {THEMES.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <Button kind="quiet" onClick={() => void signOut()}>
        {t.signOut}
      </Button>
    </div>
  );
}

function AwayBanner() {
  const since = awaySince.value;
  return (
    <div role="status" class={since === null ? 'visually-hidden' : 'banner'}>
      {since !== null && (
        <p>
          <strong>
            {t.controlIsAwaySince}
            {clockAt(since)}.
          </strong>
          {t.yourBroadcastGoesOnChangesWait}
        </p>
      )}
    </div>
  );
}

function SignedOut() {
  if (!isSignedOut.value) return null;
  return (
    <Dialog title={t.youAreSignedOut} onClose={null}>
      <p>{t.signInAgainInANew}</p>
      <div class="actions">
        <a class="btn btn-main" href={signInPath()} target="_blank" rel="noopener">
          <Icon name="external" />
          <span>{t.signIn}</span>
        </a>
        <Button onClick={() => void readSession()}>{t.goOn}</Button>
      </div>
    </Dialog>
  );
}

const Palette = lazy(
  async () => (await import('./palette-dialog')).Palette,
  () => null,
);

/** Whether an event is Ctrl K, or ⌘ K. */
const asksForPalette = (event: KeyboardEvent): boolean =>
  event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;

export function Shell({ children }: { children: ComponentChildren }) {
  const main = useRef<HTMLElement>(null);
  const menu = useRef<HTMLDetailsElement>(null);
  const visit = visits.value;
  const [isFinding, setFinding] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      // A question that is open comes first.
      const isTaken = document.querySelector('dialog[open]') !== null;
      if (!asksForPalette(event)) return;
      event.preventDefault();
      if (!isTaken && session.value !== null) setFinding(true);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  const finder = (
    <button type="button" class="finder" onClick={() => setFinding(true)}>
      <Icon name="find" />
      <span>{paletteText.open}</span>
      <kbd>{paletteText.keys}</kbd>
    </button>
  );
  useEffect(() => {
    if (visit === 0) return;
    if (menu.current) menu.current.open = false;
    const title = main.current?.querySelector('h1');
    if (title instanceof HTMLElement) {
      title.tabIndex = -1;
      title.focus({ preventScroll: true });
    }
  }, [visit]);
  return (
    <div class="studio">
      <a class="skip" href="#main">
        {t.skipToContent}
      </a>
      <header class="studio-head">
        <a href="/" class="brand" aria-label={t.sealcastWhatIsLive}>
          <img src={faviconUrl} alt="" width={28} height={28} />
          <span>Sealcast</span>
        </a>
        <div class="side">
          {finder}
          <Navigation />
          <Account />
        </div>
        <details class="menu" ref={menu}>
          <summary>
            <Icon name="menu" />
            <span>{t.menu}</span>
          </summary>
          <div class="menu-body">
            {finder}
            <Navigation />
            <Account />
          </div>
        </details>
      </header>
      <div class="studio-body">
        <AwayBanner />
        <main id="main" tabIndex={-1} ref={main}>
          {children}
        </main>
      </div>
      <Toasts />
      <SignedOut />
      {isFinding && <Palette onClose={() => setFinding(false)} />}
    </div>
  );
}

/** The head of a page: its name, what it says, and its one main action. */
export function PageHead({
  title,
  children,
  action,
  back,
}: {
  title: string;
  children?: ComponentChildren;
  action?: ComponentChildren;
  back?: readonly [href: string, label: string];
}) {
  useEffect(() => {
    document.title = t.titleStudioSealcast(title);
  }, [title]);
  return (
    <div class="page-head">
      {back && (
        <a class="page-back" href={back[0]}>
          <Icon name="back" />
          {back[1]}
        </a>
      )}
      <div class="page-head-row">
        <h1>{title}</h1>
        {action}
      </div>
      {children}
    </div>
  );
}
