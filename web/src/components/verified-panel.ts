/** Shows the node's statement of what it checked: a badge, and a panel with the details. */

import type { Verified } from '../api/types';
import { h, setHidden, setText } from '../dom';
import { clockTime, integer, short } from '../format';
import { copyButton } from './copy-button';
import { icon } from './icons';

export type VerifiedState = 'checking' | 'verified' | 'stale' | 'none';

/** Without a new seal for this long, the statement is stale, because a live stream has about two seals a second. Milliseconds. */
export const STALE_MS = 15_000;

/**
 * State of the badge. It is `verified` only while the node admits new seals, or while the stream is not live.
 * `sinceNewSealMs` is the time since this page last saw the log grow. Pure.
 */
export function verifiedState(
  verified: Verified | null,
  answered: boolean,
  live: boolean,
  sinceNewSealMs: number,
): VerifiedState {
  if (!answered) return 'checking';
  if (!verified || verified.sealsAdmitted === 0) return 'none';
  return live && sinceNewSealMs > STALE_MS ? 'stale' : 'verified';
}

const BADGE: Record<VerifiedState, string> = {
  checking: 'Checking…',
  verified: 'Verified',
  stale: 'No new seal',
  none: 'Not verified',
};

const LEAD: Record<VerifiedState, (verified: Verified | null) => string> = {
  checking: () => 'Asking the broadcast node what it has checked…',
  verified: (verified) =>
    `Broadcast node ${verified?.node ?? ''} checked the signature and the SHA-256 digest of everything it serves here, before serving it.`,
  stale: (verified) =>
    `This page has heard of no new seal from broadcast node ${verified?.node ?? ''} for a while. What it served before was checked.`,
  none: () => 'The broadcast node has made no statement about this stream.',
};

export function refusedTotal(verified: Verified): number {
  return Object.values(verified.refused).reduce((sum, number) => sum + number, 0);
}

/** Refusals as text: `2 digest, 1 signature`, or an empty text. Pure. */
export function refusedReasons(verified: Verified): string {
  return Object.entries(verified.refused)
    .filter(([, number]) => number > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, number]) => `${integer(number)} ${reason}`)
    .join(', ');
}

export interface VerifiedPanel {
  badge: HTMLElement;
  panel: HTMLElement;
  /** Draws the statement. With `absent`, no stream has this name, and there is nothing to say. */
  update(verified: Verified | null, state: VerifiedState | 'absent'): void;
}

export function verifiedPanel(): VerifiedPanel {
  let shown: Verified | null = null;
  const badgeText = h('span', {}, BADGE.checking);
  const badge = h('a', { href: '#verification', class: 'badge' }, icon('shieldCheck'), badgeText);
  const lead = h('p', { class: 'panel-lead' });
  const rows = new Map<string, HTMLElement>();
  const list = h('dl', { class: 'facts', hidden: true });

  const row = (name: string, copies?: (verified: Verified) => string): void => {
    const value = h('span', { class: copies ? 'mono' : '' });
    rows.set(name, value);
    const copy = copies && copyButton(`Copy ${name.toLowerCase()}`, () => (shown ? copies(shown) : ''));
    list.append(h('div', {}, h('dt', {}, name), h('dd', {}, value, copy)));
  };
  row('Checked by');
  row('Algorithm');
  row('Signing key', (verified) => verified.key);
  row('Newest seal', (verified) => verified.digest);
  row('Place in the log');
  row('Sealed at');
  row('Admitted');
  row('Seals admitted');
  row('Refused');

  const set = (name: string, text: string, title = ''): void => {
    const value = rows.get(name);
    if (!value) return;
    setText(value, text);
    if (value.title !== title) value.title = title;
  };

  const panel = h(
    'section',
    { id: 'verification', class: 'panel', 'aria-labelledby': 'verification-title', tabindex: '-1' },
    h('h2', { id: 'verification-title' }, icon('shieldCheck'), 'Verification'),
    lead,
    list,
    h(
      'p',
      { class: 'panel-note' },
      'The check is made by the broadcast node, not by your browser: you see the node’s own statement.',
    ),
  );

  return {
    badge,
    panel,
    update(verified, state) {
      shown = verified;
      setHidden(badge, state === 'absent');
      if (state === 'absent') return;
      badge.dataset.state = state;
      panel.dataset.state = state;
      setText(badgeText, BADGE[state]);
      setText(lead, LEAD[state](verified));
      setHidden(list, verified === null);
      if (!verified) return;
      const refused = refusedTotal(verified);
      const delay =
        verified.admittedAt !== null && verified.issuedAt !== null
          ? verified.admittedAt - verified.issuedAt
          : null;
      set('Checked by', `node ${verified.node}`);
      set('Algorithm', verified.algorithm, 'FIPS 204, a post-quantum signature');
      set('Signing key', short(verified.key), verified.key);
      set('Newest seal', short(verified.digest), verified.digest);
      set('Place in the log', `epoch ${integer(verified.epoch)} · seal ${integer(verified.sequence)}`);
      set('Sealed at', clockTime(verified.issuedAt));
      set('Admitted', delay !== null && delay >= 0 ? `${integer(delay)} ms after sealing` : '–');
      set('Seals admitted', integer(verified.sealsAdmitted));
      set('Refused', refused === 0 ? 'none' : `${integer(refused)} (${refusedReasons(verified)})`);
      rows.get('Refused')?.classList.toggle('warn', refused > 0);
    },
  };
}
