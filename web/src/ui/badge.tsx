/** A state: shape, word and colour, so that none of the three has to be seen alone. */

import { uiBadge as t } from '../text/en';

const STATES = {
  live: [t.live, 'disc'],
  reconnecting: [t.reconnecting, 'half'],
  ended: [t.ended, 'ring'],
  idle: [t.idle, 'ring'],
} as const;

export type State = keyof typeof STATES;

/** What is known of a state; a newer version may say one that this page does not know. */
export const stateOf = (text: string | undefined): State =>
  text !== undefined && text in STATES ? (text as State) : 'idle';

export function StateBadge({ state }: { state: State }) {
  const [label, shape] = STATES[state];
  return (
    <span class={`badge badge-${state}`}>
      <span class={`mark mark-${shape}`} aria-hidden="true" />
      {label}
    </span>
  );
}

export function Badge({
  kind,
  children,
}: {
  kind: 'good' | 'warn' | 'fault' | 'info' | 'plain';
  children: string;
}) {
  const mark = { good: 'disc', warn: 'triangle', fault: 'square', info: 'ring', plain: 'ring' }[kind];
  return (
    <span class={`badge badge-${kind}`}>
      <span class={`mark mark-${mark}`} aria-hidden="true" />
      {children}
    </span>
  );
}
