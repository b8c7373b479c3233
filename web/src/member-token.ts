/**
 * The token with which somebody who is signed in watches what is for members: the cookie opens nothing at a node, so control gives a token for
 * one stream, for an hour. It stays in this tab.
 */

import { maybeSignedIn } from './chat/signed-in';
import { tokenPath } from './routes';

const key = (stream: string): string => `sealcast-watch:${stream}`;
/** A token that is refused when it is younger than this is not asked for again, milliseconds. */
const FRESH_MS = 60_000;

function kept(stream: string): { at: number; token: string } | null {
  try {
    const [at, token] = (sessionStorage.getItem(key(stream)) ?? '').split(' ');
    return token ? { at: Number(at), token } : null;
  } catch {
    return null;
  }
}

/** What stands before the paths of all that the page of a stream asks for: the token of its address, or else a member's; empty without one. */
export function viewerPath(stream: string): string {
  const own = tokenPath(location.hash);
  const token = own === '' && maybeSignedIn() ? kept(stream)?.token : undefined;
  return token === undefined ? own : `/t/${encodeURIComponent(token)}`;
}

/** Keeps a token for the page's next start. Whether that was possible. */
export function keepMemberToken(stream: string, token: string, now: number): boolean {
  try {
    sessionStorage.setItem(key(stream), `${now} ${token}`);
    return true;
  } catch {
    return false;
  }
}

/** Drops the token, because nodes refuse it. Whether another one may be better, because it was good for a while. */
export function dropMemberToken(stream: string, now: number): boolean {
  const token = kept(stream);
  if (token === null) return false;
  sessionStorage.removeItem(key(stream));
  return now - token.at >= FRESH_MS;
}
