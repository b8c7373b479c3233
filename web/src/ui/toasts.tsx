/**
 * What was done, with its way back. A deletion waits here for eight seconds, and is sent when these are over or the page is left: so it needs
 * no question before it.
 */

import { signal } from '@preact/signals';
import { uiToasts as t } from '../text/en';
import { Icon } from './icon';

/** How long a deletion can be taken back, milliseconds. */
export const UNDO_MS = 8_000;
/** How long something that was done is said, milliseconds. */
const SAID_MS = 6_000;

interface Toast {
  id: number;
  text: string;
  kind: 'done' | 'fault';
  undo: (() => void) | null;
}

export const toasts = signal<readonly Toast[]>([]);
let last = 0;

function drop(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function add(text: string, kind: Toast['kind'], undo: (() => void) | null): number {
  last += 1;
  toasts.value = [...toasts.value, { id: last, text, kind, undo }];
  return last;
}

export function say(text: string, kind: Toast['kind'] = 'done'): void {
  const id = add(text, kind, null);
  setTimeout(() => drop(id), SAID_MS);
}

/** What lists leave out: rows whose deletion waits, by identity. */
export const leaving = signal<ReadonlySet<string>>(new Set());
const waiting = new Map<string, (isLast: boolean) => void>();

/**
 * Deletes something in eight seconds, unless somebody takes that back.
 *
 * `send` gets whether the page is being left; a failure brings the row back.
 */
export function deleteLater(id: string, text: string, send: (isLast: boolean) => Promise<unknown>): void {
  if (waiting.has(id)) return;
  leaving.value = new Set([...leaving.value, id]);
  const comeBack = (): void => {
    leaving.value = new Set([...leaving.value].filter((one) => one !== id));
  };
  const end = (): void => {
    waiting.delete(id);
    clearTimeout(timer);
    drop(toast);
  };
  const commit = (isLast: boolean): void => {
    end();
    send(isLast).catch((error: unknown) => {
      comeBack();
      say(t.notDeletedValue(error instanceof Error ? error.message : String(error)), 'fault');
    });
  };
  const timer = setTimeout(() => commit(false), UNDO_MS);
  const toast = add(text, 'done', () => {
    end();
    comeBack();
  });
  waiting.set(id, commit);
}

/** Sends what waits: the page is being left. */
export function sendWaiting(): void {
  for (const commit of [...waiting.values()]) commit(true);
}

export function Toasts() {
  return (
    <div class="toasts" role="status">
      {toasts.value.map(({ id, text, kind, undo }) => (
        <div key={id} class={`toast toast-${kind}`}>
          <Icon name={kind === 'done' ? 'check' : 'alert'} />
          <span>{text}</span>
          {undo && (
            <button type="button" class="toast-undo" onClick={undo}>
              {t.undo}
            </button>
          )}
          {!undo && (
            <button type="button" class="toast-close" aria-label={t.dismiss} onClick={() => drop(id)}>
              <Icon name="close" />
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
