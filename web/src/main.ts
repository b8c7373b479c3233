/** Picks the page by the path. Each page is a real navigation, so leaving it ends all that it started. */

import { header, skipLink } from './components/header';
import { viewerPath } from './member-token';
import { homePage } from './pages/home';
import { notFoundPage } from './pages/not-found';
import { rememberedBandwidth } from './player/bandwidth';
import { carriedByPage, EarlyJoin } from './player/early';
import { livePlaylist, pageOf } from './routes';
import { restoreTheme } from './theme';

/** Waits until the page has been read: its script runs as soon as it is there, whether styles have loaded or not. */
async function parsed(): Promise<void> {
  if (document.readyState !== 'loading') return;
  await new Promise((done) => document.addEventListener('DOMContentLoaded', done, { once: true }));
}

async function start(): Promise<void> {
  await parsed();
  const page = pageOf(location.pathname);
  // First of all, because a join mostly waits for answers, and the player's code can load meanwhile.
  const early =
    page.kind === 'watch' || page.kind === 'embed'
      ? new EarlyJoin(
          livePlaylist(page.stream, viewerPath(page.stream)),
          rememberedBandwidth(),
          carriedByPage(),
        )
      : null;
  const watch = page.kind === 'watch' ? import('./pages/watch') : null;
  if (page.kind === 'embed') {
    restoreTheme();
    (await import('./pages/embed')).embedPage(page.stream, early);
    return;
  }
  restoreTheme();
  const app = document.querySelector('#app');
  if (!app) return;
  app.replaceChildren(skipLink(), header());
  switch (page.kind) {
    case 'home':
      app.append(homePage());
      break;
    case 'watch': {
      // The player is most of the code, and only this page needs it.
      const loaded = await watch;
      if (loaded) app.append(loaded.watchPage(page.stream, early));
      break;
    }
    case 'not-found':
      app.append(notFoundPage());
      break;
  }
}

void start();
