/** Which root key this browser expects of a server. */

/** Anything with the two methods of `localStorage`. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Where an expected root key came from. */
export type Origin = 'given' | 'remembered' | 'first';

const name = (server: string): string => `sealcast-root ${server}`;
const FINGERPRINT = /^(?:[0-9a-f]{32}|[0-9a-f]{64})$/;

/** A fingerprint as people write it, in the form that the checks take; null when it is none. */
export function fingerprint(text: string): string | null {
  const plain = text.toLowerCase().replaceAll(/[\s:]/g, '');
  return FINGERPRINT.test(plain) ? plain : null;
}

/** The `root` of an address's fragment, `#root=HEX`; null when there is none. */
export function rootOfFragment(hash: string): string | null {
  return new URLSearchParams(hash.replace(/^#/, '')).get('root');
}

/** The root key that was seen at this server first; null when none was, or when nothing can be kept. */
export function remembered(store: Store | null, server: string): string | null {
  try {
    return fingerprint(store?.getItem(name(server)) ?? '');
  } catch {
    return null;
  }
}

export function remember(store: Store | null, server: string, root: string): void {
  try {
    store?.setItem(name(server), root);
  } catch {
    // Private windows may keep nothing. The next visit is a first one again.
  }
}
