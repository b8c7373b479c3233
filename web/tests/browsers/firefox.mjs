/** Headless Firefox through its own WebDriver BiDi; no geckodriver stands between. */
import puppeteer from 'puppeteer-core';
import { installed, WITH_PARENT } from './installed.mjs';

const PATHS = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];
const PREFERENCES = {
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  // Nothing is fetched from Mozilla: no codec plug-ins, no lists, no connectivity check.
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-provider.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
};

export async function openFirefox(viewport) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: WITH_PARENT,
    env: { ...process.env, PROGRAM: installed('Firefox', [process.env.FIREFOX, ...PATHS]) },
    headless: true,
    acceptInsecureCerts: true,
    extraPrefsFirefox: PREFERENCES,
    handleSIGTERM: false,
  });
  const page = await browser.newPage();
  await page.setViewport(viewport);
  const cspViolations = [];
  const pageErrors = [];
  page.on('pageerror', (error) => pageErrors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content-Security-Policy/.test(message.text()))
      cspViolations.push(message.text());
  });
  return {
    cspViolations,
    pageErrors,
    goto: (url) => page.goto(url, { waitUntil: 'domcontentloaded' }),
    evaluate: (run, argument) => page.evaluate(run, argument),
    screenshot: (path) => page.screenshot({ path }),
    close: () => browser.close(),
  };
}
