/** The built page in headless Chromium. */

import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';
import type { SealcastPlayer } from '../../src/sealcast';

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
  if (!executablePath) throw new Error('Chromium is not installed: scripts/setup.sh test, or set CHROMIUM');
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
  });
}

/** Reads fields of the page's player. */
export function readPlayer<K extends keyof SealcastPlayer>(
  page: Page,
  ...names: K[]
): Promise<Pick<SealcastPlayer, K>> {
  return page.evaluate((wanted) => {
    const player = window.sealcast?.player;
    return Object.fromEntries(wanted.map((name) => [name, player?.[name]]));
  }, names) as Promise<Pick<SealcastPlayer, K>>;
}

/** Waits until the picture has played to this media time, seconds. */
export async function untilPlayedTo(page: Page, seconds: number): Promise<void> {
  await page.waitForFunction((to) => (window.sealcast?.player?.currentTime ?? 0) > to, seconds);
}
