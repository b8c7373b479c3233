/** Who is signed in, and what the account may do in the chat of a stream. Loaded only where somebody may be signed in. */

import { getSession, getStreamsStream, type Session } from '../api/generated/api';
import { ApiError, ask, context } from '../api/request';
import { noteSignedIn } from './signed-in';

export interface Account {
  name: string;
  /** What a change by cookie repeats. */
  csrf: string;
  /** Belongs to the tenant of the stream, and writes whoever else may. */
  isMember: boolean;
  /** Deletes messages and bans people. */
  moderates: boolean;
  /** Changes the pace of the chat. */
  setsPace: boolean;
}

export function accountOf({ name, csrf, scopes }: Session, isMember: boolean): Account {
  const may = (scope: string): boolean => isMember && scopes.includes(scope);
  return {
    name,
    csrf: csrf ?? '',
    isMember,
    moderates: may('chat:write'),
    setsPace: may('streams:write'),
  };
}

/** The slug of each tenant that a stream may belong to, as this person: its name says it, unless the configuration of `default` has it. Pure. */
export function tenantsOf(stream: string, { role, tenants }: Session): string[] {
  const [slug, rest] = stream.split('.', 2);
  const named = rest === undefined || slug === undefined ? [] : [slug];
  const isOurs = (one: string): boolean =>
    role === 'operator' || (tenants ?? []).some((own) => own.slug === one);
  return [...named, 'default'].filter(isOurs);
}

/** Whether the stream is a tenant's. From now on, requests are in its name. */
async function isOf(stream: string, tenant: string): Promise<boolean> {
  context.tenant = tenant;
  try {
    await ask(getStreamsStream, { path: { stream } });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.kind === 'refused') return false;
    throw error;
  }
}

/**
 * Who is signed in; null when nobody is.
 *
 * @throws ApiError when control does not say.
 */
export async function readAccount(stream: string): Promise<Account | null> {
  try {
    let session = (await ask(getSession)).value;
    let isMember = false;
    for (const tenant of tenantsOf(stream, session)) {
      if (!(await isOf(stream, tenant))) continue;
      isMember = true;
      session = (await ask(getSession)).value;
      break;
    }
    if (!isMember) context.tenant = null;
    context.csrf = session.csrf ?? null;
    return accountOf(session, isMember);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    noteSignedIn(false);
    return null;
  }
}
