/** What stands around all pages of the studio: where one is, who one is, whether control answers. */

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import faviconUrl from '../icons/favicon.svg';
import { chooseTheme, type ThemeChoice, themeChoice } from '../theme';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { Icon, type IconName } from '../ui/icon';
import { clockAt } from '../ui/time';
import { Toasts } from '../ui/toasts';
import { route, visits } from './router';
import { type Route, SETTINGS, type Settings, settingsPath } from './routes';
import { awaySince, chooseTenant, isSignedOut, may, readSession, session, signInPath } from './session';
import { signOut } from './sign-out';

const SECTIONS: Record<Settings, readonly [label: string, icon: IconName, scope: string]> = {
  members: ['Members', 'members', 'members:read'],
  keys: ['API keys', 'key', 'api-keys:read'],
  webhooks: ['Webhooks', 'webhook', 'webhooks:read'],
  usage: ['Usage', 'usage', 'usage:read'],
  audit: ['Audit', 'audit', 'audit:read'],
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
    <nav class="side-nav" aria-label="Studio">
      <ul>
        <Item href="/studio/streams" icon="streams" label="Streams" open={isOpen(page, 'streams')} />
      </ul>
      <p class="side-nav-title" id="nav-settings">
        Settings
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
  ['dark', 'Dark'],
  ['light', 'Light'],
  ['system', 'Like the system'],
];

function Account() {
  const who = session.value;
  if (!who) return null;
  const tenants = who.tenants ?? [];
  return (
    <div class="account">
      {tenants.length > 1 ? (
        <label class="small-select">
          <span>Tenant</span>
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
        <span>Colours</span>
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
        Sign out
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
          <strong>Control is away since {clockAt(since)}.</strong> Your broadcast goes on. Changes wait.
        </p>
      )}
    </div>
  );
}

function SignedOut() {
  if (!isSignedOut.value) return null;
  return (
    <Dialog title="You are signed out" onClose={null}>
      <p>Sign in again in a new tab, and come back: this page keeps what you typed.</p>
      <div class="actions">
        <a class="btn btn-main" href={signInPath()} target="_blank" rel="noopener">
          <Icon name="external" />
          <span>Sign in</span>
        </a>
        <Button onClick={() => void readSession()}>Go on</Button>
      </div>
    </Dialog>
  );
}

export function Shell({ children }: { children: ComponentChildren }) {
  const main = useRef<HTMLElement>(null);
  const menu = useRef<HTMLDetailsElement>(null);
  const visit = visits.value;
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
        Skip to content
      </a>
      <header class="studio-head">
        <a href="/" class="brand" aria-label="Sealcast, what is live">
          <img src={faviconUrl} alt="" width={28} height={28} />
          <span>Sealcast</span>
        </a>
        <div class="side">
          <Navigation />
          <Account />
        </div>
        <details class="menu" ref={menu}>
          <summary>
            <Icon name="menu" />
            <span>Menu</span>
          </summary>
          <div class="menu-body">
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
    document.title = `${title} · Studio · Sealcast`;
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
