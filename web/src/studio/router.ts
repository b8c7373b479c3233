/** The page that is shown: the address is the state. Links are ordinary ones, so they open in new tabs and are announced as links. */

import { signal } from '@preact/signals';
import { type Route, routeOf } from './routes';

export const route = signal<Route>(routeOf(location.pathname));
/** Rises with each navigation, so that the page knows when to move the focus. */
export const visits = signal(0);

function show(): void {
  route.value = routeOf(location.pathname);
  visits.value += 1;
}

/** Goes to a page of the studio. `replace` leaves nothing to go back to. */
export function go(path: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'push') history.pushState(null, '', path);
  else history.replaceState(null, '', path);
  show();
}

/** Whether a click asks for a new tab, a download, or something else that the browser does. */
function isForBrowser(event: MouseEvent): boolean {
  return (
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  );
}

export function startRouter(): void {
  window.addEventListener('popstate', show);
  document.addEventListener('click', (event) => {
    if (isForBrowser(event) || !(event.target instanceof Element)) return;
    const link = event.target.closest('a[href]');
    if (!(link instanceof HTMLAnchorElement) || link.target !== '' || link.hasAttribute('download')) return;
    const to = new URL(link.href);
    if (to.origin !== location.origin || routeOf(to.pathname).page === 'not-found') return;
    event.preventDefault();
    if (to.pathname !== location.pathname) {
      go(to.pathname);
      window.scrollTo(0, 0);
    }
  });
}
