/** Shows what this browser has checked, and the node's statement of what it checked: a badge, and a panel with the details. */

import type { Checks, Origin, Phase } from '../../verify/src';
import type { Verified } from '../api/types';
import { h, setHidden, setText } from '../dom';
import { clockTime, integer, short } from '../format';
import { verifiedPanel as t } from '../text/en';
import { copyButton } from './copy-button';
import { type IconName, icon } from './icons';

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
  checking: t.checking,
  verified: t.verified,
  stale: t.noNewSeal,
  none: t.notVerified,
};

const LEAD: Record<VerifiedState, (verified: Verified | null) => string> = {
  checking: () => t.askingTheBroadcastNodeWhatIt,
  verified: (verified) => t.nodeCheckedEverything(verified?.node ?? ''),
  stale: (verified) => t.thisPageHasHeardOfNo(verified?.node ?? ''),
  none: () => t.theBroadcastNodeHasMadeNo,
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

/** The badge by the browser's own checks; null where those say nothing yet, so that the node's statement stands. */
const OWN_BADGE: Record<Phase, string | null> = {
  starting: null,
  checked: t.checkedHere,
  behind: t.notChecked,
  wrong: t.notGenuine,
  impossible: null,
};

/** Control's word is called old from this age on, milliseconds: a node asks for it every few seconds. */
const WORD_OLD_MS = 10 * 60_000;

/** What the browser's checks have come to, in one sentence. Pure. */
export function ownLead({ phase, detail, seals, objects, loaded, unchecked }: Checks): string {
  switch (phase) {
    case 'starting':
      return detail ?? t.thisBrowserBeginsToCheckWhat;
    case 'checked': {
      const rest = unchecked > 0 ? t.cameBeforeItsChecks(integer(unchecked)) : '';
      return t.checkedByThisBrowser(integer(seals), integer(objects), integer(loaded), rest);
    }
    case 'behind':
      return t.notCheckedAtTheMoment(detail ?? '');
    case 'wrong':
      return detail ?? t.whatCameIsNotWhatWas;
    case 'impossible':
      return t.notCheckedByThisBrowser(detail ?? '');
  }
}

/** Where the expected root key came from, in words. Pure. */
export function rootWords(origin: Origin): string {
  const words: Record<Origin, string> = {
    given: 'given in the address of this page',
    remembered: 'as this browser saw it first at this server',
    first: 'seen for the first time; this browser remembers it',
  };
  return words[origin];
}

export interface VerifiedPanel {
  /** Draws what this browser has checked. Comes after `update`, because it decides the badge where it can. */
  check(checks: Checks, origin: Origin): void;

  badge: HTMLElement;
  panel: HTMLElement;
  /** Draws the statement. With `absent`, no stream has this name, and there is nothing to say. */
  update(verified: Verified | null, state: VerifiedState | 'absent'): void;
}

export function verifiedPanel(trustNewRoot: () => void): VerifiedPanel {
  let shown: Verified | null = null;
  let checked: Checks | null = null;
  const badgeText = h('span', {}, BADGE.checking);
  const badge = h('a', { href: '#verification', class: 'badge' }, badgeText);
  badge.addEventListener('click', (event) => {
    // A root key in the address stays there.
    event.preventDefault();
    panel.focus();
    panel.scrollIntoView({ block: 'nearest' });
  });
  const own = h('p', { class: 'panel-own', role: 'status' });
  const ownList = h('dl', { class: 'facts', hidden: true });
  const trust = h('button', { type: 'button', class: 'button', hidden: true }, t.trustTheNewRootKey);
  trust.addEventListener('click', trustNewRoot);
  const lead = h('p', { class: 'panel-lead' });
  const rows = new Map<string, HTMLElement>();
  const list = h('dl', { class: 'facts', hidden: true });

  const place = (within: HTMLElement, name: string, copies: (() => string) | null): void => {
    const value = h('span', { class: copies ? 'mono' : '' });
    rows.set(name, value);
    const copy = copies && copyButton(t.copyThe(name.toLowerCase()), copies);
    within.append(h('div', {}, h('dt', {}, name), h('dd', {}, value, ...(copy ? [copy] : []))));
  };
  const row = (name: string, copies?: (verified: Verified) => string): void => {
    place(list, name, copies ? () => (shown ? copies(shown) : '') : null);
  };
  place(ownList, t.sealedWith, () => checked?.key ?? '');
  place(ownList, t.rootKey, () => checked?.root ?? '');
  place(ownList, t.itIs, null);
  place(ownList, t.controlSaidSo, null);
  row(t.checkedBy);
  row(t.algorithm);
  row(t.signingKey, (verified) => verified.key);
  row(t.newestSeal, (verified) => verified.digest);
  row(t.placeInTheLog);
  row(t.sealedAt);
  row(t.admitted);
  row(t.sealsAdmitted);
  row(t.refused);

  const heading = h('h2', { id: 'verification-title' });
  let shield: IconName | null = null;
  const drawShields = (name: IconName): void => {
    if (shield === name) return;
    shield = name;
    badge.replaceChildren(icon(name), badgeText);
    heading.replaceChildren(icon(name), t.verification);
  };
  drawShields('shieldCheck');

  const drawOwnBadge = (phase: Phase): void => {
    const isAlarm = phase === 'wrong' || phase === 'behind';
    drawShields(isAlarm ? 'shieldAlert' : 'shieldCheck');
    if (isAlarm) panel.dataset.state = 'wrong';
    const text = OWN_BADGE[phase];
    if (badge.hidden || text === null) return;
    badge.dataset.state = isAlarm ? 'wrong' : 'verified';
    setText(badgeText, text);
  };

  const set = (name: string, text: string, title = ''): void => {
    const value = rows.get(name);
    if (!value) return;
    setText(value, text);
    if (value.title !== title) value.title = title;
  };

  const panel = h(
    'section',
    { id: 'verification', class: 'panel', 'aria-labelledby': 'verification-title', tabindex: '-1' },
    heading,
    own,
    ownList,
    trust,
    h('h3', {}, t.whatTheNodeSays),
    lead,
    list,
    h('p', { class: 'panel-note' }, t.theServerThatShowsYouThis),
  );

  return {
    badge,
    panel,
    check(checks, origin) {
      checked = checks;
      setText(own, ownLead(checks));
      own.dataset.phase = checks.phase;
      setHidden(ownList, checks.root === null);
      setHidden(trust, !(checks.isOtherRoot && origin === 'remembered'));
      set(t.sealedWith, checks.key ? short(checks.key) : '–', checks.key ?? '');
      set(t.rootKey, checks.root ? short(checks.root) : '–', checks.root ?? '');
      set(t.itIs, rootWords(origin));
      const isOld = checks.saidAt !== null && Math.abs(Date.now() - checks.saidAt) > WORD_OLD_MS;
      const said = checks.saidAt === null ? '–' : clockTime(checks.saidAt);
      set(t.controlSaidSo, isOld ? t.saidLongAgoByThisDevice(said) : said);
      rows.get(t.controlSaidSo)?.classList.toggle('warn', isOld);
      drawOwnBadge(checks.phase);
    },
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
      set(t.checkedBy, t.node(verified.node));
      set(t.algorithm, verified.algorithm, t.fips204APostQuantumSignature);
      set(t.signingKey, short(verified.key), verified.key);
      set(t.newestSeal, short(verified.digest), verified.digest);
      set(t.placeInTheLog, t.epochAndSeal(integer(verified.epoch), integer(verified.sequence)));
      set(t.sealedAt, clockTime(verified.issuedAt));
      set(t.admitted, delay !== null && delay >= 0 ? t.afterSealing(integer(delay)) : '–');
      set(t.sealsAdmitted, integer(verified.sealsAdmitted));
      set(t.refused, refused === 0 ? t.noneRefused : `${integer(refused)} (${refusedReasons(verified)})`);
      rows.get(t.refused)?.classList.toggle('warn', refused > 0);
    },
  };
}
