/** The studio: where streamers make their streams and see how they do. */

import '../styles/studio.css';
import { render } from 'preact';
import { restoreTheme } from '../theme';
import { startClock } from '../ui/time';
import { sendWaiting } from '../ui/toasts';
import { App } from './app';
import { startRouter } from './router';
import { startSession } from './session';

restoreTheme();
startRouter();
startClock();
startSession();
// A deletion that waits is sent when the page goes, so that leaving is no undo.
window.addEventListener('pagehide', sendWaiting);
const app = document.querySelector('#app');
if (app) render(<App />, app);
