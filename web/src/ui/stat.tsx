/** A figure with its label and unit; unknown is a dash, never zero. */

import type { ComponentChildren } from 'preact';

export function Stat({
  label,
  value,
  note,
  kind,
}: {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
  kind?: 'warn' | undefined;
}) {
  return (
    <div class={`stat ${kind === 'warn' ? 'stat-warn' : ''}`}>
      <dt>{label}</dt>
      <dd>
        <span class="stat-value">{value ?? '–'}</span>
        {note && <span class="stat-note">{note}</span>}
      </dd>
    </div>
  );
}
