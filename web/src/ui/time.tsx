/** Times, as people say them. A figure tells its age; the exact time is in the title. */

import { signal } from '@preact/signals';
import { duration } from '../format';
import { uiTime as t } from '../text/en';

/** The time, every second, for all that shows an age. A hidden tab stops. */
export const now = signal(Date.now());

export function startClock(): void {
  setInterval(() => {
    if (!document.hidden) now.value = Date.now();
  }, 1_000);
}

const DAY_MS = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

/** `14:02`. */
export const clockAt = (ms: number): string => clock.format(ms);
export const exactAt = (ms: number): string => exact.format(ms);

/** `just now`, `12 min ago`, and the date of what is older than a day. Pure. */
export function ago(ms: number, nowMs: number): string {
  const age = nowMs - ms;
  if (age < 60_000) return 'just now';
  return age < DAY_MS ? t.durationAgo(duration(age)) : day.format(ms);
}

export function Ago({ at }: { at: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={exactAt(at)}>
      {ago(at, now.value)}
    </time>
  );
}

export function On({ at }: { at: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={exactAt(at)}>
      {day.format(at)}
    </time>
  );
}
