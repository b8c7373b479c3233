/** Headless Chromium through Playwright. */
import { chromium } from 'playwright-core';
import { installed } from './installed.mjs';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

export async function openChromium(viewport) {
  const executablePath = installed('Chromium', [process.env.CHROMIUM, ...PATHS]);
  const browser = await chromium.launch({ executablePath, args: FLAGS, handleSIGTERM: false });
  const page = await browser.newPage({ viewport, ignoreHTTPSErrors: true });
  const cspViolations = [];
  const pageErrors = [];
  page.on('pageerror', (error) => pageErrors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
      cspViolations.push(message.text());
  });
  return {
    cspViolations,
    pageErrors,
    goto: (url) => page.goto(url, { waitUntil: 'domcontentloaded' }),
    evaluate: (run, argument) => page.evaluate(run, argument),
    /** The page gets `linkTo(bitsPerSecond)`: it receives no more than that from then on; `null` for no limit. */
    async exposeLink() {
      const session = await page.context().newCDPSession(page);
      await session.send('Network.enable');
      await page.exposeFunction('linkTo', (bitsPerSecond) =>
        session.send('Network.emulateNetworkConditions', {
          offline: false,
          latency: 0,
          downloadThroughput: bitsPerSecond === null ? -1 : bitsPerSecond / 8,
          uploadThroughput: -1,
        }),
      );
    },
    async screenshot(path) {
      // Brings the controls back before the picture is taken.
      await page.mouse.move(viewport.width / 3, viewport.height / 3);
      await page.mouse.move(viewport.width / 3 + 20, viewport.height / 3);
      await page.waitForTimeout(300);
      await page.screenshot({ path });
    },
    close: () => browser.close(),
  };
}
