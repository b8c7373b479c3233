/**
 * Whether somebody may be signed in in this browser. The cookie is not for scripts, and asking control would cost a request of every viewer:
 * so whoever signs in leaves a mark, which says nothing about anybody.
 */

const KEY = 'sealcast-signed-in';

export function maybeSignedIn(): boolean {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}

export function noteSignedIn(is: boolean): void {
  try {
    if (is) localStorage.setItem(KEY, '1');
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage, whoever is signed in writes as a guest.
  }
}
