/** Paths of the studio. Pure. */

export const STREAM_TABS = ['live', 'health', 'access', 'chat', 'settings'] as const;
export type StreamTab = (typeof STREAM_TABS)[number];
export const SETTINGS = ['members', 'keys', 'webhooks', 'usage', 'audit'] as const;
export type Settings = (typeof SETTINGS)[number];

export type Route =
  /** The only live stream, or the list. */
  | { page: 'start' }
  | { page: 'streams' }
  | { page: 'new' }
  | { page: 'stream'; stream: string; tab: StreamTab }
  | { page: Settings }
  | { page: 'not-found' };

const has = <T extends string>(list: readonly T[], text: string): text is T => list.includes(text as T);

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

export function routeOf(pathname: string): Route {
  const [root, section, ...rest] = pathname.split('/').filter((part) => part !== '');
  if (root !== 'studio') return { page: 'not-found' };
  if (section === undefined) return { page: 'start' };
  const [first, second, ...more] = rest;
  if (more.length > 0) return { page: 'not-found' };
  if (section === 'new' && first === undefined) return { page: 'new' };
  if (section === 'settings' && second === undefined) {
    const name = first ?? SETTINGS[0];
    return has(SETTINGS, name) ? { page: name } : { page: 'not-found' };
  }
  if (section !== 'streams') return { page: 'not-found' };
  if (first === undefined) return { page: 'streams' };
  const stream = decoded(first);
  const tab = second ?? 'live';
  return stream !== null && has(STREAM_TABS, tab) ? { page: 'stream', stream, tab } : { page: 'not-found' };
}

export function streamPath(stream: string, tab: StreamTab = 'live'): string {
  const base = `/studio/streams/${encodeURIComponent(stream)}`;
  return tab === 'live' ? base : `${base}/${tab}`;
}

export const settingsPath = (name: Settings): string => `/studio/settings/${name}`;

/**
 * Where to go after signing in: a page of the studio on this server, whatever the URL says. Without one, the studio's first page.
 */
export function nextOf(search: string): string {
  const wanted = new URLSearchParams(search).get('next') ?? '';
  const isOurs = /^\/studio(?:[/?#]|$)/.test(wanted) && !/[\\\s]/.test(wanted) && !wanted.includes('//');
  return isOurs ? wanted.slice(0, 500) : '/studio';
}
