/** Addresses of pages. Pure. */

import type { Delivery } from './player/hls-config';

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

/** `?delivery=parts` asks for low latency, for trying it out. */
export function delivery(search: string): Delivery {
  return new URLSearchParams(search).get('delivery') === 'parts' ? 'parts' : 'segments';
}
