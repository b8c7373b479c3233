import type { LoaderCallbacks, LoaderConfiguration, LoaderContext } from 'hls.js';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EarlyAnswer, EarlyJoin } from '../src/player/early';

const URL_AHEAD = 'https://node/live/demo/720p/index.m3u8';

/** URLs of requests that went to the network. */
const sent: string[] = [];

class FakeRequest {
  readyState = 0;
  responseType = '';
  onreadystatechange: (() => void) | null = null;
  onprogress: (() => void) | null = null;
  open(_method: string, url: string): void {
    this.readyState = 1;
    sent.push(url);
  }
  setRequestHeader(): void {}
  send(): void {}
  abort(): void {}
}

let earlyLoader: typeof import('../src/player/early-loader').earlyLoader;
let Hls: typeof import('hls.js').default;

beforeAll(async () => {
  vi.stubGlobal('self', globalThis);
  vi.stubGlobal('XMLHttpRequest', FakeRequest);
  ({ earlyLoader } = await import('../src/player/early-loader'));
  ({ default: Hls } = await import('hls.js'));
});

afterEach(() => {
  sent.length = 0;
});

function early(answers: Record<string, Promise<EarlyAnswer>>): EarlyJoin {
  const left = new Map(Object.entries(answers));
  const take = (url: string): Promise<EarlyAnswer> | null => {
    const found = left.get(url) ?? null;
    left.delete(url);
    return found;
  };
  return { take, bitsPerSecond: 8_000_000 } as unknown as EarlyJoin;
}

const answer = (text: string): EarlyAnswer => ({
  body: new TextEncoder().encode(text).buffer as ArrayBuffer,
  askedMs: 10,
  firstMs: 20,
  endMs: 30,
});

function load(join: EarlyJoin, url = URL_AHEAD, responseType = 'text') {
  const Loader = earlyLoader(join);
  const loader = new Loader(Hls.DefaultConfig);
  const policy = { maxTimeToFirstByteMs: 1_000, maxLoadTimeMs: 1_000, timeoutRetry: null, errorRetry: null };
  const config = { loadPolicy: policy, timeout: 0, maxRetry: 0, retryDelay: 0, maxRetryDelay: 0 };
  const callbacks = { onSuccess: vi.fn(), onError: vi.fn(), onTimeout: vi.fn(), onAbort: vi.fn() };
  loader.load(
    { url, responseType } as LoaderContext,
    config as LoaderConfiguration,
    callbacks as unknown as LoaderCallbacks<LoaderContext>,
  );
  return { loader, callbacks };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('earlyLoader', () => {
  it('gives_the_answer_that_is_there_without_a_request', async () => {
    const { loader, callbacks } = load(early({ [URL_AHEAD]: Promise.resolve(answer('#EXTM3U')) }));
    await settled();
    expect(callbacks.onSuccess.mock.calls[0]?.[0]).toMatchObject({
      url: URL_AHEAD,
      data: '#EXTM3U',
      code: 200,
    });
    expect(loader.stats.loading).toEqual({ start: 10, first: 20, end: 30 });
    expect(sent).toEqual([]);
  });

  it('media_tells_nothing_new_of_the_bandwidth', async () => {
    const { loader, callbacks } = load(
      early({ [URL_AHEAD]: Promise.resolve(answer('x'.repeat(1_000))) }),
      URL_AHEAD,
      'arraybuffer',
    );
    await settled();
    const { start, end } = loader.stats.loading;
    expect((8_000 * loader.stats.loaded) / (end - start)).toBeCloseTo(8_000_000, -2);
    expect(callbacks.onSuccess.mock.calls[0]?.[0].data.byteLength).toBe(1_000);
  });

  it('asks_the_network_for_the_rest_and_for_what_failed', async () => {
    load(early({}));
    expect(sent).toEqual([URL_AHEAD]);
    const { callbacks } = load(early({ [URL_AHEAD]: Promise.reject(new Error('status 404')) }));
    await settled();
    expect(sent).toEqual([URL_AHEAD, URL_AHEAD]);
    expect(callbacks.onSuccess).not.toHaveBeenCalled();
  });

  it('an_answer_is_given_once', async () => {
    const join = early({ [URL_AHEAD]: Promise.resolve(answer('#EXTM3U')) });
    load(join);
    load(join);
    await settled();
    expect(sent).toEqual([URL_AHEAD]);
  });

  it('says_so_when_it_is_aborted_and_then_nothing_more', async () => {
    const { loader, callbacks } = load(early({ [URL_AHEAD]: Promise.resolve(answer('#EXTM3U')) }));
    loader.abort();
    await settled();
    expect(callbacks.onAbort).toHaveBeenCalledTimes(1);
    expect(callbacks.onSuccess).not.toHaveBeenCalled();
    expect(loader.stats.aborted).toBe(true);
  });

  it('a_destroyed_loader_stays_silent', async () => {
    const late = Promise.reject(new Error('too late'));
    const { loader, callbacks } = load(early({ [URL_AHEAD]: late }));
    loader.destroy();
    await settled();
    expect(callbacks.onSuccess).not.toHaveBeenCalled();
    expect(sent).toEqual([]);
  });
});
