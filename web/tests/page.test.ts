import type { Browser, Page } from 'playwright-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launch, readPlayer, untilPlayedTo } from './support/chromium';
import { Origin } from './support/origin';

/** The origin has so much to play, and a test waits at most so long. */
const SECONDS = 60;
const TEST_MS_MAX = 1_000 * SECONDS;

describe('the watch page', { timeout: TEST_MS_MAX }, () => {
  let origin: Origin;
  let browser: Browser;
  let page: Page;

  beforeEach(async () => {
    origin = await Origin.start(SECONDS);
    browser = await launch();
    page = await browser.newPage();
    page.setDefaultTimeout(TEST_MS_MAX / 2);
  }, TEST_MS_MAX);

  afterEach(async () => {
    await browser.close();
    origin.close();
  });

  it('leaves_a_rung_that_the_ingest_has_shed_and_plays_on', async () => {
    await page.goto(origin.page);
    await page.waitForFunction(() => (window.sealcast?.player?.decodedFrames ?? 0) > 30);
    const before = await readPlayer(page, 'level', 'levels', 'currentTime');
    const shed = before.levels[before.level]?.name ?? '';
    origin.shed(shed);
    await untilPlayedTo(page, before.currentTime + 8);
    const after = await readPlayer(page, 'level', 'levels', 'fatalErrors');
    expect(after.levels[after.level]?.name).not.toBe(shed);
    expect(after.fatalErrors).toBe(0);
  });
});
