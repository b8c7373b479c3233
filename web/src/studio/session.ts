/** Who is signed in, and whether control answers. */

import { computed, signal } from '@preact/signals';
import { getSession, type Session } from '../api/generated/api';
import { ApiError, ask, context } from '../api/request';
import { noteSignedIn } from '../chat/signed-in';
import { studioSession as t } from '../text/en';

/** Null until it is known. */
export const session = signal<Session | null>(null);
/** Why it cannot be known. */
export const sessionError = signal<ApiError | null>(null);
/** The session ended while pages were open: they stay, with what was typed, until somebody signs in again. */
export const isSignedOut = signal(false);
/** Since when control does not answer, Unix milliseconds; null while it does. */
export const awaySince = signal<number | null>(null);

export const scopes = computed(() => new Set(session.value?.scopes ?? []));

export function may(scope: string): boolean {
  return scopes.value.has(scope);
}

/** Why a change has to wait; null when it need not. */
export const waits = computed(() => (awaySince.value === null ? null : t.controlIsAwayChangesWaitUntil));

/** Name of the choice of a tenant. It lasts as long as the tab. */
const TENANT = 'sealcast-tenant';

export function chooseTenant(slug: string): void {
  sessionStorage.setItem(TENANT, slug);
  location.assign('/studio');
}

export function signInPath(): string {
  return `/sign-in?${new URLSearchParams({ next: location.pathname })}`;
}

/** Reads who is signed in. Without a session, the page that asks for one comes. */
export async function readSession(): Promise<void> {
  try {
    const { value } = await ask(getSession);
    context.csrf = value.csrf ?? null;
    session.value = value;
    sessionError.value = null;
    isSignedOut.value = false;
    noteSignedIn(true);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) noteSignedIn(false);
    if (error.status === 401 && session.value === null) location.replace(signInPath());
    else if (error.status !== 401) sessionError.value = error;
  }
}

export function startSession(): void {
  context.tenant = sessionStorage.getItem(TENANT);
  context.onAnswer = (isThere) => {
    if (isThere) awaySince.value = null;
    else awaySince.value ??= Date.now();
  };
  context.onSignedOut = () => {
    if (session.value !== null) isSignedOut.value = true;
  };
  // Whoever has signed in again in another tab comes back to this one.
  window.addEventListener('focus', () => {
    if (isSignedOut.value) void readSession();
  });
  void readSession();
}
