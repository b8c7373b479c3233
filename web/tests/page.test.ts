import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, readPlayer, untilPlayedTo } from './support/chromium';
import type { Rendition } from './support/media';
import { Origin } from './support/origin';

/** Length of the origin's media, and the longest time of a test. */
const SECONDS = 60;
const TEST_MS_MAX = 1_000 * SECONDS;

/** At the event `hang`, existing source buffers silently take no more media: a freeze that only a new player ends. */
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
    await page.waitForFunction(() =>
      performance.getEntriesByType('resource').some(({ name }) => /720p\/0\/\d+\.2/.test(name)),
    );
    const loaded = await page.evaluate(() =>
      performance
        .getEntriesByType('resource')
        .map(({ name }) => /(?<rung>\d+p)\/0\/(?<segment>\d+)(?:\.\d+)?\.m4s$/.exec(name)?.groups)
        .filter((found) => found !== undefined),
    );
    // All parts of a segment are of one rung.
    const rungs = new Map<string, Set<string>>();
    for (const { rung = '', segment = '' } of loaded) {
      rungs.set(segment, (rungs.get(segment) ?? new Set()).add(rung));
    }
    const taken = [...rungs.values()].map((of) => [...of].join());
    expect(new Set(taken).size).toBeGreaterThan(1);
    for (const names of taken) expect(names).toMatch(/^\d+p$/);
  });

  it('leaves_a_shed_rung_at_once_while_a_rise_waits', async () => {
    // The link carries the best rung, but the first choice uses this lower estimate.
    await page.addInitScript(() => localStorage.setItem('sealcast-bandwidth', '900000'));
    await page.goto(origin.page);
    await page.waitForFunction(() => (window.sealcast?.player?.decodedFrames ?? 0) > 5);
    const before = await readPlayer(page, 'level', 'levels', 'currentTime');
    expect(before.level).toBe(0);
    const rung = before.levels[0]?.name ?? '';
    await page.evaluate(() => performance.mark('shed'));
    origin.shed(rung);
    await untilPlayedTo(page, before.currentTime + 4);
    const reloads = await page.evaluate((url) => {
      const since = performance.getEntriesByName('shed')[0]?.startTime ?? 0;
      const all = performance.getEntriesByType('resource');
      return all.filter(({ name, startTime }) => name.includes(url) && startTime > since).length;
    }, `/${rung}/index.m3u8`);
    // Otherwise the rise would wait for six more parts, and so for six playlists.
    expect(reloads).toBeLessThan(3);
    const after = await readPlayer(page, 'level', 'fatalErrors');
    expect(after.level).not.toBe(0);
    expect(after.fatalErrors).toBe(0);
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
