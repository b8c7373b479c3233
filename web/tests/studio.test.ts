import { mkdirSync } from 'node:fs';
import axe from 'axe-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch } from './support/chromium';
import { KEYFRAMES, liveInput, SECRET, StudioOrigin, stream } from './support/studio-origin';

const TEST_MS_MAX = 60_000;
const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
] as const;
/** Where pictures of all pages go, for people to look at; nowhere without it. */
const SCREENSHOTS = process.env.SEALCAST_SCREENSHOTS;
const [WIDE, NARROW] = SIZES;
/** Colours do not depend on the width, nor widths on the colours: two looks see all that tests look for. */
const LOOKS = [
  ['dark', WIDE],
  ['light', NARROW],
  ...(SCREENSHOTS
    ? ([
        ['light', WIDE],
        ['dark', NARROW],
      ] as const)
    : []),
] as const;

const LONG = '<b onclick="x()">&amp;</b> شبكة '.repeat(12).slice(0, 190);

function fill(origin: StudioOrigin): void {
  const at = Date.now();
  origin.streams = [
    stream('choir.concert', {
      title: 'Sunday concert',
      description: 'From St Mary, every Sunday.',
      live: { state: 'live', epoch: 3, started_at: at - 720_000 },
      input: liveInput([KEYFRAMES]),
      chat: { on: true, slow_s: 10, writers: 'everybody' },
    }),
    stream('choir.rehearsal', { title: 'Rehearsal' }),
    stream('choir.odd', { title: LONG }),
    stream('choir.outside', {
      title: 'Outside broadcast',
      live: { state: 'reconnecting', epoch: 1, started_at: at - 60_000 },
      input: { ...liveInput(), connected_at: undefined, away_since: at - 8_000 },
    }),
  ];
  origin.keys = [
    {
      id: 'key_1',
      name: 'Website of the parish',
      scopes: ['streams:read'],
      hint: 'sc_…9x2f',
      expires_at: at + 86_400_000 * 30,
      last_used_at: at - 600_000,
      overlap_until_at: null,
      version: 1,
      created_at: at,
    },
    {
      id: 'key_2',
      name: 'Tokens for subscribers',
      scopes: ['streams:keys', 'streams:read', 'tokens:read', 'tokens:write'],
      hint: 'sc_…m41c',
      expires_at: null,
      last_used_at: null,
      overlap_until_at: null,
      version: 1,
      created_at: at,
    },
  ];
  const member = { role: 'producer', state: 'active', issuer: null, version: 1, created_at: at };
  origin.members = [
    { ...member, id: 'mem_1', name: 'Ada', role: 'owner', subject: 'ada', invite_until_at: null },
    { ...member, id: 'mem_2', name: 'Grace', state: 'suspended', subject: 'grace', invite_until_at: null },
    { ...member, id: 'mem_3', name: LONG, state: 'invited', subject: null, invite_until_at: at + 86_400_000 },
  ];
  const webhook = {
    types: ['*'],
    state: 'active',
    disabled_reason: null,
    failing_since_at: null,
    overlap_until_at: null,
    version: 1,
    created_at: at,
  };
  origin.webhooks = [
    {
      ...webhook,
      id: 'whk_1',
      url: 'https://parish.example/hooks/sealcast',
      types: ['stream.live', 'stream.ended'],
    },
    { ...webhook, id: 'whk_2', url: 'https://old.example/in', failing_since_at: at - 600_000 },
    {
      ...webhook,
      id: 'whk_3',
      url: 'https://off.example/in',
      state: 'disabled',
      disabled_reason: 'its tenant disabled it',
    },
  ];
  origin.audit = Array.from({ length: 52 }, (_, index) => ({
    id: `evt_${index}`,
    version: 1,
    created_at: at - index * 60_000,
    actor: index % 3 === 0 ? 'cookie' : 'api_key',
    credential: 'key_1',
    action: index % 4 === 0 ? 'streams.update' : 'streams.create',
    object: 'str_concert',
    changes: { title: { from: 'Concert', to: LONG } },
    result: index % 7 === 0 ? 'scope-missing' : 'done',
    request_id: `req_${index}`,
  }));
}

/** Pages, what has to be there before one is looked at, and the button, or the keys, that open its dialog. */
const PAGES: ReadonlyArray<readonly [name: string, path: string, ready: string, button?: string]> = [
  ['sign-in', '/sign-in', 'text=Sign in'],
  ['setup', '/setup#sci_0123456789abcdef', 'text=Welcome'],
  ['streams', '/studio/streams', '.stream-row'],
  ['new', '/studio/new', 'text=Create'],
  ['stream-live', '/studio/streams/choir.concert', '.live-grid'],
  ['stream-idle', '/studio/streams/choir.rehearsal', '.steps'],
  ['stream-health', '/studio/streams/choir.concert/health', '.rows'],
  ['stream-access', '/studio/streams/choir.concert/access', '.panel'],
  ['stream-chat', '/studio/streams/choir.concert/chat', '.chat-message'],
  ['stream-chat-off', '/studio/streams/choir.rehearsal/chat', 'text=Messages stand here'],
  ['stream-settings', '/studio/streams/choir.concert/settings', 'text=Delete the stream'],
  ['keys', '/studio/settings/keys', '.table'],
  ['keys-new', '/studio/settings/keys', '.table', 'New key'],
  ['members', '/studio/settings/members', '.table'],
  ['members-new', '/studio/settings/members', '.table', 'Invite'],
  ['webhooks', '/studio/settings/webhooks', '.table'],
  ['webhooks-new', '/studio/settings/webhooks', '.table', 'New webhook'],
  ['usage', '/studio/settings/usage', '.stats'],
  ['audit', '/studio/settings/audit', '.table'],
  ['palette', '/studio/streams/choir.concert', '.live-grid', 'Control+k'],
  ['not-found', '/studio/nowhere', 'text=There is nothing'],
];

describe('the studio', { timeout: TEST_MS_MAX }, () => {
  let browser: Browser;
  let context: BrowserContext;
  let origin: StudioOrigin;
  let page: Page;
  /** What a page must not do: errors, refusals by its policy, and messages to the console, besides those of lost requests. */
  let complaints: string[];

  beforeAll(async () => {
    browser = await launch();
  }, TEST_MS_MAX);

  beforeEach(async () => {
    origin = await StudioOrigin.start();
    fill(origin);
    context = await browser.newContext({
      viewport: WIDE,
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    page = await context.newPage();
    page.setDefaultTimeout(TEST_MS_MAX / 3);
    complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
        complaints.push(message.text());
    });
  });

  afterEach(async () => {
    await context.close();
    origin.close();
    expect(complaints).toEqual([]);
  });

  afterAll(() => browser.close());

  const open = async (path: string, ready: string): Promise<void> => {
    await page.goto(origin.url + path);
    await page.locator(ready).first().waitFor();
  };

  const findings = async (): Promise<string[]> => {
    await page.evaluate(axe.source);
    const found = await page.evaluate(async () => {
      const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
      return violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`,
      );
    });
    return found;
  };

  for (const [name, path, ready, button] of PAGES) {
    it(`has_no_fault_that_axe_finds_and_fits_both_widths_on_${name}`, async () => {
      if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
      for (const [theme, size] of LOOKS) {
        await page.setViewportSize(size);
        await page.addInitScript((wanted) => {
          if (location.protocol === 'http:') localStorage.setItem('sealcast-theme', wanted);
        }, theme);
        await page.goto('about:blank');
        await open(path, ready);
        if (button === 'Control+k') {
          await page.keyboard.press(button);
          await page.locator('.palette-list [role=option]').first().waitFor();
        } else if (button) await page.getByRole('button', { name: button, exact: true }).click();
        await page.evaluate(() => document.fonts.ready);
        if (SCREENSHOTS) {
          const file = `${SCREENSHOTS}/${name}-${size.width}-${theme}.png`;
          await page.screenshot({ path: file, fullPage: true });
        }
        expect(await findings(), `${name} ${theme} ${size.width}`).toEqual([]);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        expect(wide, `${name} ${size.width}`).toBeLessThanOrEqual(size.width);
      }
    });
  }

  it('shows_a_new_key_once_masks_it_after_a_minute_and_keeps_it_nowhere', async () => {
    await page.clock.install();
    await open('/studio/new', 'text=Create');
    await page.getByLabel('Title').fill('Évensong in June');
    expect(await page.getByLabel('Name').inputValue()).toBe('evensong-in-june');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText(SECRET).waitFor();
    expect(origin.changes[0]?.body).toEqual({ name: 'choir.evensong-in-june', title: 'Évensong in June' });
    expect(String(origin.changes[0]?.headers['idempotency-key']).length).toBeGreaterThanOrEqual(20);
    await page.getByRole('button', { name: 'Copy key' }).click();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(SECRET);
    await page.clock.runFor(61_000);
    await page.locator('[data-secret="masked"]').waitFor();
    expect(await page.getByText(SECRET).count()).toBe(0);
    const kept = await page.evaluate(() =>
      JSON.stringify([location.href, history.state, { ...localStorage }, { ...sessionStorage }]),
    );
    expect(kept).not.toContain('scp_');
    await page.getByRole('link', { name: 'Streams' }).first().click();
    await page.locator('.stream-row').first().waitFor();
    expect(await page.content()).not.toContain(SECRET);
  });

  it('gives_a_folder_that_obs_imports', async () => {
    await open('/studio/new', 'text=Create');
    await page.getByLabel('Title').fill('Mass');
    await page.getByRole('button', { name: 'Create' }).click();
    const downloading = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download an OBS profile' }).click();
    expect((await downloading).suggestedFilename()).toBe('choir.mass-obs-profile.zip');
  });

  it('says_since_when_control_is_away_and_comes_back_by_itself', async () => {
    await open('/studio/streams', '.stream-row');
    origin.isAway = true;
    await page.getByText(/^Control is away since/).waitFor();
    await page.locator('.stale').waitFor();
    expect(await page.locator('.stream-row').count()).toBe(4);
    await page.getByRole('link', { name: 'New stream' }).click();
    const create = page.getByRole('button', { name: /Create/ });
    expect(await create.getAttribute('aria-disabled')).toBe('true');
    expect(await create.textContent()).toContain('changes wait until it is back');
    await page.getByRole('link', { name: 'Streams' }).first().click();
    origin.isAway = false;
    await page.locator('.stream-row').first().waitFor();
    await page.getByText(/^Control is away since/).waitFor({ state: 'detached' });
  });

  it('takes_a_deletion_back_and_sends_it_when_the_page_is_left', async () => {
    await open('/studio/streams/choir.rehearsal/settings', 'text=Delete the stream');
    await page.getByRole('button', { name: 'Delete the stream' }).click();
    await page.getByText('is being deleted').waitFor();
    expect(await page.locator('.stream-row').count()).toBeLessThan(4);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.locator('.stream-row', { hasText: 'Rehearsal' }).waitFor();
    expect(origin.changes).toEqual([]);
    await page.locator('.stream-row', { hasText: 'Rehearsal' }).click();
    await page.locator('.tabs').getByRole('link', { name: 'Settings' }).click();
    await page.getByRole('button', { name: 'Delete the stream' }).click();
    await page.getByText('is being deleted').waitFor();
    await page.goto('about:blank');
    await expect
      .poll(() => origin.changes.map(({ method, path }) => `${method} ${path}`))
      .toEqual(['DELETE streams/choir.rehearsal']);
  });

  it('shows_both_versions_when_two_people_change_one_row', async () => {
    await open('/studio/streams/choir.concert/settings', 'text=What viewers read');
    await page.getByLabel('Title').fill('Mine');
    Object.assign(origin.streams[0] ?? {}, { title: 'Theirs', category: 'Music', version: 2 });
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Somebody else changed this, too.').waitFor();
    expect(await page.locator('.both').textContent()).toMatch(/Mine.*Theirs/);
    // A field that only they changed is taken over without a question.
    expect(await page.getByLabel('Category').inputValue()).toBe('Music');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    expect(origin.streams[0]).toMatchObject({ title: 'Mine', category: 'Music', version: 3 });
  });

  it('keeps_what_was_typed_when_the_session_ends', async () => {
    await open('/studio/streams/choir.concert/settings', 'text=What viewers read');
    await page.getByLabel('Description').fill('Half a sentence');
    origin.isSignedIn = false;
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').getByText('You are signed out').waitFor();
    origin.isSignedIn = true;
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await page.getByLabel('Description').inputValue()).toBe('Half a sentence');
  });

  it('signs_in_with_the_keyboard_and_goes_where_one_wanted_to', async () => {
    origin.isSignedIn = false;
    await page.goto(`${origin.url}/studio/settings/usage`);
    await page.getByLabel('Name').waitFor();
    await page.getByLabel('Name').focus();
    await page.keyboard.type('ada');
    await page.keyboard.press('Tab');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page
      .getByRole('alert')
      .getByText(/name or the password is wrong.*req_made/)
      .waitFor();
    await page.getByLabel('Password').fill('a long enough password');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Usage' }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/studio/settings/usage');
  });

  it('says_that_a_set_up_link_was_used_and_the_way_out', async () => {
    const link = `${origin.url}/setup#sci_0123456789abcdef`;
    const setUp = async (): Promise<void> => {
      await page.getByLabel('Name').fill('ada');
      await page.getByLabel('Password').fill('a long enough password');
      await page.keyboard.press('Enter');
    };
    await page.goto(link);
    await setUp();
    await page.locator('.stream-row').first().waitFor();
    // The same browser is told at once.
    await page.goto('about:blank');
    await page.goto(link);
    await page.getByText('This link is used up').waitFor();
    expect(await page.locator('form').count()).toBe(0);
    expect(await findings()).toEqual([]);
    // Another one when it sends the form, which then goes.
    await page.evaluate(() => localStorage.clear());
    await page.goto('about:blank');
    await page.goto(link);
    await setUp();
    await page.getByText('This link is used up').waitFor();
    expect(await page.locator('form').count()).toBe(0);
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('H1');
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  });

  it('goes_to_streams_and_does_things_by_the_palette_with_the_keyboard_alone', async () => {
    await open('/studio/settings/keys', '.table');
    const where = (): string => new URL(page.url()).pathname;
    await page.getByRole('link', { name: 'Members' }).focus();
    // It closes, and the focus is where it was.
    await page.keyboard.press('Control+k');
    const field = page.locator('.palette-input');
    await field.waitFor();
    expect(await field.evaluate((own) => own === document.activeElement)).toBe(true);
    await page.getByRole('option', { name: /Sunday concert/ }).waitFor();
    await page.keyboard.press('Escape');
    await field.waitFor({ state: 'detached' });
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Members');

    await page.keyboard.press('Control+k');
    await field.waitFor();
    await page.keyboard.type('evening');
    await page.getByText('Nothing has this name.').waitFor();
    await field.fill('rehear');
    await page.getByRole('option', { name: /Rehearsal/ }).waitFor();
    expect(await findings()).toEqual([]);
    await page.keyboard.press('Enter');
    await page.locator('.steps').waitFor();
    expect(where()).toBe('/studio/streams/choir.rehearsal');
    await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe('H1');
    // Of the stream that is shown, its pages come first among equals; arrows go around.
    await page.keyboard.press('Control+k');
    await field.waitFor();
    await page.keyboard.type('he');
    await page.getByRole('option', { name: /^Health/ }).waitFor();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowDown');
    const active = async (): Promise<string | null> =>
      page.evaluate(() => {
        const id = document.activeElement?.getAttribute('aria-activedescendant') ?? '';
        return document.getElementById(id)?.textContent ?? null;
      });
    expect(await active()).toContain('Health');
    await page.keyboard.press('Enter');
    await expect.poll(where).toBe('/studio/streams/choir.rehearsal/health');
    await page.keyboard.press('Control+k');
    await field.waitFor();
    await page.keyboard.type('light col');
    await page.getByRole('option', { name: /Light colours/ }).waitFor();
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe('light');
  });

  it('opens_the_only_live_stream_by_itself_and_moves_the_focus_to_each_page', async () => {
    origin.streams.pop();
    await page.goto(`${origin.url}/studio`);
    await page.locator('.live-grid').waitFor();
    expect(new URL(page.url()).pathname).toBe('/studio/streams/choir.concert');
    expect(await page.title()).toBe('! 1 Sunday concert · Studio · Sealcast');
    await page.getByRole('link', { name: 'API keys' }).click();
    await page.locator('.table').waitFor();
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('API keys');
    await page.goBack();
    await page.locator('.live-grid').waitFor();
  });
});
