import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, readPlayer, untilPlayedTo } from './support/chromium';
import type { Rendition } from './support/media';
import { Origin } from './support/origin';

/** The origin has so much to play, and a test waits at most so long. */
const SECONDS = 60;
const TEST_MS_MAX = 1_000 * SECONDS;

/** At the event `hang`, what the player has made takes no more media and never says so: the freeze that nothing but a new player ends. */
function hangOnDemand(): void {
  const hung = new WeakSet<SourceBuffer>();
  const made = new Set<SourceBuffer>();
  const append = SourceBuffer.prototype.appendBuffer;
  SourceBuffer.prototype.appendBuffer = function (data: BufferSource): void {
    made.add(this);
    if (!hung.has(this)) append.call(this, data);
  };
  window.addEventListener('hang', () => {
    for (const buffer of made) hung.add(buffer);
  });
}

describe('the watch page', { timeout: TEST_MS_MAX }, () => {
  let media: Rendition[];
  let browser: Browser;
  let origin: Origin;
  let page: Page;

  beforeAll(async () => {
    [media, browser] = await Promise.all([Origin.media(SECONDS), launch()]);
  }, TEST_MS_MAX);

  beforeEach(async () => {
    origin = await Origin.start(media);
    page = await browser.newPage();
    page.setDefaultTimeout(TEST_MS_MAX / 2);
  });

  afterEach(async () => {
    await page.close();
    origin.close();
  });

  afterAll(() => browser.close());

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

  it('rises_to_a_better_rung_where_a_segment_begins', async () => {
    await page.addInitScript(() => {
      localStorage.setItem('sealcast-bandwidth', '900000');
      performance.setResourceTimingBufferSize(5_000);
    });
    await page.goto(origin.page);
    await page.waitForFunction(() => window.sealcast?.player?.level === 2);
    const pictures = await page.evaluate(() =>
      performance
        .getEntriesByType('resource')
        .map(({ name }) => /(\d+p)\/0\/(\d+(?:\.\d+)?)\.m4s$/.exec(name)?.slice(1, 3) ?? [])
        .filter((found) => found.length === 2),
    );
    const rises = pictures.filter(([rung], index) => index > 0 && pictures[index - 1]?.[0] !== rung);
    expect(rises).not.toEqual([]);
    for (const [, object] of rises) expect(object).toMatch(/^\d+(\.0)?$/);
  });

  it('makes_the_player_anew_when_nothing_else_moves_the_picture', async () => {
    await page.addInitScript(hangOnDemand);
    await page.goto(origin.page);
    await page.waitForFunction(() => (window.sealcast?.player?.decodedFrames ?? 0) > 30);
    await page.evaluate(() => window.dispatchEvent(new Event('hang')));
    await page.waitForFunction(() => (window.sealcast?.player?.watchdog.remakes ?? 0) > 0);
    await page.waitForFunction(() => window.sealcast?.player?.view === 'playing');
    const { currentTime } = await readPlayer(page, 'currentTime');
    await untilPlayedTo(page, currentTime + 3);
    const { watchdog, fatalErrors } = await readPlayer(page, 'watchdog', 'fatalErrors');
    expect(watchdog.nudges).toBeGreaterThan(0);
    expect(watchdog.reloads).toBeGreaterThan(0);
    expect(fatalErrors).toBe(0);
    expect(await page.getByText(/\d restart/).count()).toBe(1);
  });

  it('says_what_the_browser_cannot_do', async () => {
    await page.addInitScript(() => {
      const asked = MediaSource.isTypeSupported.bind(MediaSource);
      MediaSource.isTypeSupported = (type) => !type.includes('avc1') && asked(type);
      HTMLMediaElement.prototype.canPlayType = () => '';
    });
    await page.goto(origin.page);
    await page.getByText(/no decoder for H\.264/).waitFor();
    expect(await page.getByText(/plays with its own player/).count()).toBe(0);
  });

  it('says_what_is_missing_while_it_plays', async () => {
    await page.addInitScript(() => {
      delete (HTMLVideoElement.prototype as Partial<HTMLVideoElement>).requestVideoFrameCallback;
    });
    await page.goto(origin.page);
    await page.getByText(/glass to glass is not measured/).waitFor({ state: 'attached' });
    await page.waitForFunction(() => window.sealcast?.player?.view === 'playing');
  });

  it('leaves_a_paused_picture_alone', async () => {
    await page.goto(origin.page);
    await page.waitForFunction(() => (window.sealcast?.player?.decodedFrames ?? 0) > 30);
    await page.evaluate(() => document.querySelector('video')?.pause());
    const before = await readPlayer(page, 'currentTime', 'watchdog');
    await page.waitForFunction(() => (window.sealcast?.player?.latencySeconds ?? 0) > 6);
    expect(await readPlayer(page, 'currentTime', 'watchdog')).toEqual(before);
  });
});
