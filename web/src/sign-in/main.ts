/** `/sign-in` and `/setup`: no framework, so that they are there at once. */

import '../styles/sign-in.css';
import { header, skipLink } from '../components/header';
import { restoreTheme } from '../theme';
import { setupPage } from './setup';
import { signInPage } from './sign-in';

restoreTheme();
const app = document.querySelector('#app');
const page = location.pathname === '/setup' ? setupPage() : signInPage();
app?.replaceChildren(skipLink(), header(), page);
