/** Paths of pages, playlists and pictures. Pure. */

export type Page =
  | { kind: 'home' }
  | { kind: 'watch'; stream: string }
  | { kind: 'embed'; stream: string }
  | { kind: 'not-found' };

export function pageOf(pathname: string): Page {
  if (pathname === '/' || pathname === '/index.html') return { kind: 'home' };
  const watched = /^\/watch\/([^/]+)\/?$/.exec(pathname)?.[1];
  const encoded = watched ?? /^(?:\/t\/[^/]+)?\/live\/([^/]+)\/embed$/.exec(pathname)?.[1];
  if (encoded === undefined) return { kind: 'not-found' };
  try {
    return { kind: watched === undefined ? 'embed' : 'watch', stream: decodeURIComponent(encoded) };
  } catch {
    return { kind: 'not-found' };
  }
}

/** Longest token that is sent, characters; a longer text is cut, and then refused. */
const TOKEN_LENGTH_MAX = 1500;

/**
 * What stands before the paths of all that a page asks for: the viewer's token, which the fragment `#t=TOKEN` holds, so that it is in no
 * log of a server that the page comes from; or the page's own path, for a frame. Empty without one.
 */
export function tokenPath(hash: string, pathname = globalThis.location?.pathname ?? ''): string {
  const own = /^\/t\/[^/]+(?=\/)/.exec(pathname)?.[0];
  if (own !== undefined) return own;
  const token = new URLSearchParams(hash.replace(/^#/, '')).get('t');
  return token === null || token === '' ? '' : `/t/${encodeURIComponent(token.slice(0, TOKEN_LENGTH_MAX))}`;
}

/** Path of a stream's multivariant playlist. */
export function livePlaylist(stream: string, token = ''): string {
  return `${token}/live/${encodeURIComponent(stream)}/index.m3u8`;
}

/** Path of a stream's newest picture; not every stream has one. */
export function posterImage(stream: string, token = ''): string {
  return `${token}/live/${encodeURIComponent(stream)}/poster.jpg`;
}
