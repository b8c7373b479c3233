/** Buttons. One with work under way stays where it is, says so, and takes no second click. */

import type { ComponentChildren } from 'preact';
import { Icon, type IconName } from './icon';

interface Props {
  children: ComponentChildren;
  icon?: IconName;
  kind?: 'main' | 'plain' | 'quiet' | 'danger';
  type?: 'button' | 'submit';
  busy?: boolean;
  /** Why it cannot be used now; null: it can. */
  waits?: string | null;
  onClick?: () => void;
  label?: string;
}

export function Button({
  children,
  icon,
  kind = 'plain',
  type = 'button',
  busy = false,
  waits = null,
  onClick,
  label,
}: Props) {
  const isOff = busy || waits !== null;
  return (
    <button
      type={type}
      class={`btn btn-${kind}`}
      // It can still be reached by keyboard, so that its reason can be read.
      aria-disabled={isOff ? 'true' : undefined}
      aria-busy={busy ? 'true' : undefined}
      aria-label={label}
      title={waits ?? undefined}
      onClick={(event) => {
        if (isOff) event.preventDefault();
        else onClick?.();
      }}
    >
      {icon && <Icon name={icon} />}
      <span>{children}</span>
      {waits !== null && <span class="visually-hidden"> ({waits})</span>}
    </button>
  );
}

export function LinkButton({
  href,
  children,
  icon,
  kind = 'plain',
}: {
  href: string;
  children: ComponentChildren;
  icon?: IconName;
  kind?: 'main' | 'plain' | 'quiet';
}) {
  return (
    <a href={href} class={`btn btn-${kind}`}>
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </a>
  );
}
