/** Picks the page by the address. Pages are real navigations: leaving one ends all that it started. */

import { header, skipLink } from './components/header';
import { homePage } from './pages/home';
import { notFoundPage } from './pages/not-found';
import { pageOf } from './routes';
import { restoreTheme } from './theme';

async function start(): Promise<void> {
  restoreTheme();
  const app = document.querySelector('#app');
  if (!app) return;
  app.replaceChildren(skipLink(), header());
  const page = pageOf(location.pathname);
  switch (page.kind) {
    case 'home':
      app.append(homePage());
      break;
    case 'watch': {
      // The player is most of the code and only this page needs it.
      const { watchPage } = await import('./pages/watch');
      app.append(watchPage(page.stream));
      break;
    }
    case 'not-found':
      app.append(notFoundPage());
      break;
  }
}

void start();
