/** Publishes `window.sealcast`; `sealcast.d.ts` documents its shape. */

import type { SealcastPage, SealcastPlayer } from './sealcast';

function publish(page: SealcastPage): void {
  Object.defineProperty(window, 'sealcast', { value: Object.freeze(page), configurable: true });
}

export function publishHome(streamsListed: number | null): void {
  publish({ page: 'home', streamsListed, player: null });
}

export function publishPlayer(player: SealcastPlayer): void {
  publish({ page: 'watch', streamsListed: null, player: Object.freeze(player) });
}
