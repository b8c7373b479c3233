/**
 * Browsers that viewers have, installed by `scripts/setup.sh test`, each behind the same few calls.
 *
 * A tab is { goto(url), evaluate(function, ...arguments), screenshot(path), close(), cspViolations, pageErrors }. Arguments and the
 * function's result travel as JSON. Certificates of a cluster's own authority are accepted, and sound may start without a click.
 */
import { openChromium } from './chromium.mjs';
import { openFirefox } from './firefox.mjs';
import { openWebKit } from './webkit.mjs';

const BROWSERS = { chromium: openChromium, firefox: openFirefox, webkit: openWebKit };

export const NAMES = Object.keys(BROWSERS);

/** Starts a browser with one empty tab of `size` ({ width, height } in pixels). Rejects when the browser is not installed. */
export const openTab = (name, size) => BROWSERS[name](size);
