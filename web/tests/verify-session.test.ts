import { readFileSync } from 'node:fs';
import type { HlsConfig, LoaderCallbacks, LoaderConfiguration, LoaderContext, LoaderStats } from 'hls.js';
import { describe, expect, it } from 'vitest';
import { objectOf, placeOf, rootOfFragment, StreamVerifier } from '../verify/src';
import { Core } from '../verify/src/core';
import { fingerprint } from '../verify/src/pin';
import { type Checks, Session } from '../verify/src/session';

const LOG = JSON.parse(
  readFileSync(new URL('../../crates/verify/testdata/log.json', import.meta.url), 'utf8'),
) as {
  stream: string;
  fingerprint: string;
  otherFingerprint: string;
  trust: string;
  seals: string;
  objects: { place: string; bytes: string }[];
};
const WASM = readFileSync(new URL('../verify/verify.wasm', import.meta.url));
const bytes = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(hex, 'hex'));

/** A node, whose answers a test may change, and a session that asks it in virtual time. */
class Scene {
  trust: () => Response = () => cbor(LOG.trust, 'application/cbor');
  seals: () => Response = () => cbor(LOG.seals, 'application/cbor-seq');
  media: (url: string) => Response = (url) => {
    const found = LOG.objects.find(({ place }) => url.endsWith(`/live/demo/${place}`));
    return found ? new Response(bytes(found.bytes)) : new Response('', { status: 404 });
  };
  readonly asked: string[] = [];
  readonly session: Session;
  now = 1_000;

  private constructor(core: (now: () => number) => Core, root: string | null) {
    const place = { base: 'https://b1', stream: LOG.stream };
    this.session = new Session(
      core(() => this.now),
      place,
      root,
      {
        fetch: async (url) => {
          this.asked.push(new URL(url).pathname + new URL(url).search);
          if (url.includes('/trust/')) return this.trust();
          return url.includes('/seals') ? this.seals() : this.media(url);
        },
        now: () => this.now,
        onChange: () => undefined,
      },
    );
  }

  static async open(root: string | null = LOG.fingerprint): Promise<Scene> {
    let clock = (): number => 0;
    const core = await Core.load(WASM, () => clock());
    return new Scene((now) => {
      clock = now;
      return core;
    }, root);
  }

  load(objects = LOG.objects): void {
    for (const { place, bytes: hex } of objects) this.session.object(place, bytes(hex));
  }

  async seconds(seconds: number): Promise<Checks> {
    for (let tick = 0; tick < 2 * seconds; tick += 1) {
      this.now += 500;
      await this.session.ask();
    }
    return this.session.checks();
  }
}

const cbor = (hex: string, type: string): Response =>
  new Response(bytes(hex), { headers: { 'content-type': type } });

describe('a session', () => {
  it('checks_what_the_player_loads_and_asks_for_nothing_twice', async () => {
    const scene = await Scene.open();
    await scene.seconds(1);
    scene.load();
    const checks = await scene.seconds(3);
    const { length } = LOG.objects;
    expect(checks).toMatchObject({
      phase: 'checked',
      objects: length,
      loaded: length,
      seals: 8,
      detail: null,
    });
    expect(scene.asked).toEqual(['/api/v1/trust/demo', '/live/demo/seals?from=0']);
  });

  it('says_that_it_is_behind_while_the_node_withholds_its_log', async () => {
    const scene = await Scene.open();
    scene.seals = () => new Response('', { status: 503 });
    await scene.seconds(1);
    scene.load();
    expect((await scene.seconds(6)).phase).toBe('starting');
    const checks = await scene.seconds(4);
    expect(checks).toMatchObject({ phase: 'behind', objects: 0 });
    expect(checks.detail).toContain('status 503');
    scene.seals = () => cbor(LOG.seals, 'application/cbor-seq');
    expect((await scene.seconds(2)).phase).toBe('checked');
  });

  it('stops_at_a_wrong_byte_and_stays_stopped', async () => {
    const scene = await Scene.open();
    scene.load();
    await scene.seconds(3);
    const [, object] = LOG.objects;
    scene.session.object(object?.place ?? '', bytes(`00${object?.bytes.slice(2)}`));
    scene.load();
    const checks = await scene.seconds(2);
    expect(checks.phase).toBe('wrong');
    expect(checks.detail).toContain('is not what seal');
  });

  it('checks_a_range_by_its_object_and_counts_it_as_not_checked_without_that', async () => {
    const [, object] = LOG.objects;
    const whole = bytes(object?.bytes ?? '');
    const place = object?.place ?? '';
    const ranges = [whole.slice(0, 8), whole.slice(4, 12)];
    const scene = await Scene.open();
    await scene.seconds(1);
    scene.session.range(place, 0, ranges[0] as Uint8Array);
    scene.session.range(place, 4, ranges[1] as Uint8Array);
    expect(await scene.seconds(3)).toMatchObject({ phase: 'checked', objects: 2, loaded: 2, unchecked: 0 });
    expect(
      scene.asked.filter((asked) => asked.endsWith(place)),
      'the object is loaded once',
    ).toHaveLength(1);
    scene.media = () => new Response('', { status: 503 });
    scene.session.range('720p/1/9.m4s', 0, ranges[0] as Uint8Array);
    expect(await scene.seconds(3)).toMatchObject({ phase: 'checked', loaded: 3, unchecked: 1, detail: null });
    for (const media of [
      () => new Response(whole),
      () => new Response(Uint8Array.from(whole, (byte) => byte ^ 1)),
    ]) {
      const forged = await Scene.open();
      forged.media = media;
      await forged.seconds(1);
      forged.session.range(
        place,
        4,
        Uint8Array.from(whole.slice(4, 12), (byte) => byte ^ 1),
      );
      expect((await forged.seconds(3)).phase).toBe('wrong');
    }
  });

  it('stops_at_an_object_that_is_longer_than_any_that_a_seal_names', async () => {
    const scene = await Scene.open();
    scene.load();
    await scene.seconds(3);
    // Only its length is read.
    scene.session.object('360p/1/0.m4s', { byteLength: 513 * 1024 * 1024 } as Uint8Array);
    const checks = await scene.seconds(1);
    expect(checks.phase).toBe('wrong');
    expect(checks.detail).toContain('more bytes than any object has');
  });

  it('stops_at_another_root_key_at_once', async () => {
    const scene = await Scene.open(LOG.otherFingerprint);
    const checks = await scene.seconds(1);
    expect(checks).toMatchObject({ phase: 'wrong', isOtherRoot: true });
    expect(checks.detail).toContain(LOG.fingerprint.slice(0, 32));
  });

  it('waits_for_control_to_know_a_new_key_and_not_for_ever', async () => {
    const scene = await Scene.open();
    // The grant is in none of the rows.
    const empty = readFileSync(new URL('../../crates/verify/testdata/log.json', import.meta.url), 'utf8');
    const { trustWithoutKey } = JSON.parse(empty) as { trustWithoutKey: string };
    scene.trust = () => cbor(trustWithoutKey, 'application/cbor');
    scene.load();
    expect((await scene.seconds(6)).phase).toBe('starting');
    expect((await scene.seconds(8)).phase).toBe('wrong');
    const other = await Scene.open();
    other.trust = () => cbor(trustWithoutKey, 'application/cbor');
    other.load();
    await other.seconds(6);
    other.trust = () => cbor(LOG.trust, 'application/cbor');
    expect((await other.seconds(3)).phase).toBe('checked');
  });

  it('takes_a_page_of_a_proxy_for_no_answer', async () => {
    const scene = await Scene.open();
    scene.trust = () => new Response('<html>', { headers: { 'content-type': 'text/html' } });
    scene.load();
    const checks = await scene.seconds(10);
    expect(checks).toMatchObject({ phase: 'behind', isOtherRoot: false });
  });
});

/** A page that loads with the checks' loader; each request is answered with the same bytes at once. */
class Page {
  readonly phases: Checks['phase'][] = [];
  readonly verifier = new StreamVerifier({
    url: 'https://b1/live/demo/index.m3u8',
    store: null,
    onChange: ({ phase }) => this.phases.push(phase),
  });

  /** Whether hls.js gets the answer. */
  load(url: string, more: Record<string, unknown> = {}, data: unknown = new ArrayBuffer(8)): boolean {
    class Answers {
      load(
        context: LoaderContext,
        _config: LoaderConfiguration,
        callbacks: LoaderCallbacks<LoaderContext>,
      ): void {
        callbacks.onSuccess({ url, code: 200, data: data as ArrayBuffer }, {} as LoaderStats, context, null);
      }
    }
    const Checked = this.verifier.loader(Answers as unknown as HlsConfig['loader']);
    const context = { url, responseType: 'arraybuffer', frag: {}, rangeStart: 0, rangeEnd: 0, ...more };
    let isPassed = false;
    new Checked({} as HlsConfig).load(context as unknown as LoaderContext, {} as LoaderConfiguration, {
      onSuccess: () => {
        isPassed = true;
      },
      onError: () => undefined,
      onTimeout: () => undefined,
    });
    return isPassed;
  }
}

describe('a loader', () => {
  const LIVE = 'https://b1/live/demo/720p/3';

  it('media_that_is_no_whole_object_of_the_stream_is_wrong', () => {
    const forged: [string, Record<string, unknown>, unknown][] = [
      ['https://b1/x/forged.m4s', {}, new ArrayBuffer(8)],
      ['https://b1/live/other/720p/3/17.m4s', {}, new ArrayBuffer(8)],
      [`${LIVE}/17.ts`, {}, new ArrayBuffer(8)],
      ['data:video/mp4;base64,AAAA', {}, new ArrayBuffer(8)],
      [`${LIVE}/17.m4s`, {}, 'text'],
    ];
    for (const [url, more, data] of forged) {
      const page = new Page();
      expect(page.load(`${LIVE}/init.mp4`)).toBe(true);
      expect(page.load(url, more, data), url).toBe(false);
      expect(page.phases, url).toEqual(['wrong']);
      expect(page.verifier.checks.detail).toContain(url);
      expect(page.load(`${LIVE}/18.m4s`), 'nothing plays after it').toBe(false);
      page.verifier.cannot('another reason');
      expect(page.verifier.checks.phase, 'it stays').toBe('wrong');
    }
  });

  it('objects_playlists_and_keys_reach_the_player', () => {
    const page = new Page();
    expect(page.load(`${LIVE}/17.2.m4s`)).toBe(true);
    expect(page.load(`${LIVE}/17.m4s`, { rangeStart: 4, rangeEnd: 12 }), 'of an I-frame playlist').toBe(true);
    expect(page.load('https://b1/live/demo/720p/index.m3u8', { responseType: 'text' }, '#EXTM3U')).toBe(true);
    expect(page.load('https://b1/key', { keyInfo: {} })).toBe(true);
    page.verifier.cannot('This browser cannot check.');
    expect(page.load('https://b1/x/forged.m4s'), 'the page says that it checks nothing').toBe(true);
    expect(page.phases).toEqual(['impossible']);
  });
});

describe('addresses', () => {
  it('names_of_objects_come_from_their_addresses', () => {
    const at = (path: string): string | null => objectOf(`https://b2:8443${path}`, 'demo');
    expect(at('/live/demo/720p/3/17.2.m4s?x=1')).toBe('720p/3/17.2.m4s');
    expect(at('/t/token/live/demo/720p/3/init.mp4')).toBe('720p/3/init.mp4');
    expect(at('/live/other/720p/3/init.mp4')).toBeNull();
    expect(at('/live/demo/720p/index.m3u8')).toBeNull();
    expect(placeOf('/live/demo/index.m3u8', 'https://b1/watch/demo')).toEqual({
      base: 'https://b1',
      stream: 'demo',
    });
    expect(() => placeOf('https://b1/demo.m3u8')).toThrow();
  });

  it('root_key_is_given_in_the_fragment_or_remembered', () => {
    const kept = new Map<string, string>();
    const store = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
    };
    const url = 'https://b1/live/demo/index.m3u8';
    expect(rootOfFragment(`#root=${LOG.fingerprint}`)).toBe(LOG.fingerprint);
    expect(rootOfFragment('#verification')).toBeNull();
    expect(fingerprint('AB:cd '.repeat(8))).toBe('abcd'.repeat(8));
    expect(fingerprint('abcd')).toBeNull();
    expect(new StreamVerifier({ url, store }).rootOrigin).toBe('first');
    kept.set('sealcast-root https://b1', LOG.fingerprint);
    expect(new StreamVerifier({ url, store }).rootOrigin).toBe('remembered');
    expect(new StreamVerifier({ url, store, root: LOG.otherFingerprint }).rootOrigin).toBe('given');
  });
});
