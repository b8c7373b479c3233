/**
 * `/live/{stream}/embed`: the player of the watch page and nothing else, for a frame of another site. The badge of what was checked
 * stays, and opens its panel over the picture.
 */

import '../styles/embed.css';
import { h } from '../dom';
import type { EarlyJoin } from '../player/early';
import { watchPage } from './watch';

export function embedPage(stream: string, early: EarlyJoin | null): void {
  // Links lead out of the frame: the site around it may not show where they go.
  document.head.append(h('base', { target: '_blank' }));
  document.documentElement.classList.add('embedded');
  document.querySelector('#app')?.replaceChildren(watchPage(stream, early));
  document.addEventListener('keydown', (event) => {
    const focused = document.activeElement;
    if (event.key === 'Escape' && focused instanceof HTMLElement && focused.closest('.side')) focused.blur();
  });
}
