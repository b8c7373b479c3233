/** Paths of pages, playlists and pictures. Pure. */

export type Page = { kind: 'home' } | { kind: 'watch'; stream: string } | { kind: 'not-found' };

export function pageOf(pathname: string): Page {
  if (pathname === '/' || pathname === '/index.html') return { kind: 'home' };
  const encoded = /^\/watch\/([^/]+)\/?$/.exec(pathname)?.[1];
  if (encoded === undefined) return { kind: 'not-found' };
  try {
    return { kind: 'watch', stream: decodeURIComponent(encoded) };
  } catch {
    return { kind: 'not-found' };
  }
}

/** Path of a stream's multivariant playlist. */
export function livePlaylist(stream: string): string {
  return `/live/${encodeURIComponent(stream)}/index.m3u8`;
}

/** Path of a stream's newest picture; not every stream has one. */
export function posterImage(stream: string): string {
  return `/live/${encodeURIComponent(stream)}/poster.jpg`;
}
