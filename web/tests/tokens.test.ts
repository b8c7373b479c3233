import { afterEach, describe, expect, it, vi } from 'vitest';
import { fetchStream, NotFound, Refused } from '../src/api/client';
import { livePlaylist, posterImage, tokenPath } from '../src/routes';
import { placeOf, serverOf } from '../verify/src';

const never = new AbortController().signal;

function answers(status: number, body: unknown): string[] {
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (url: string) => {
    asked.push(url);
    return new Response(JSON.stringify(body), { status });
  });
  return asked;
}

afterEach(() => vi.unstubAllGlobals());

describe('a token in the fragment', () => {
  it('stands_before_everything_that_the_page_asks_for', async () => {
    const token = tokenPath('#root=ab&t=scv_a-b_c');
    expect(token).toBe('/t/scv_a-b_c');
    expect(livePlaylist('hall', token)).toBe('/t/scv_a-b_c/live/hall/index.m3u8');
    expect(posterImage('hall', token)).toBe('/t/scv_a-b_c/live/hall/poster.jpg');
    const asked = answers(200, {
      name: 'hall',
      live: true,
      state: 'live',
      poster: '/live/hall/poster.jpg',
      thumbnails: '/live/hall/720p/{epoch}/{msn}.jpg',
      dvr: { url: '/live/hall/dvr.m3u8', window_s: 60 },
    });
    const stream = await fetchStream('hall', token, never);
    expect(asked).toEqual(['/t/scv_a-b_c/api/v1/streams/hall']);
    expect(stream.dvr?.url).toBe('/t/scv_a-b_c/live/hall/dvr.m3u8');
    expect(stream.thumbnails).toBe('/t/scv_a-b_c/live/hall/720p/{epoch}/{msn}.jpg');
    expect(stream.poster).toBe('/t/scv_a-b_c/live/hall/poster.jpg');
  });

  it('leads_nowhere_but_to_the_server_of_the_page', () => {
    for (const [hash, path] of [
      ['', ''],
      ['#t=', ''],
      ['#root=ab', ''],
      ['#t=..%2F..%2Fadmin', '/t/..%2F..%2Fadmin'],
      ['#t=//evil.example/', '/t/%2F%2Fevil.example%2F'],
    ] as const)
      expect(tokenPath(hash)).toBe(path);
    expect(tokenPath(`#t=${'x'.repeat(9_999)}`).length).toBeLessThan(1_600);
  });

  it('tells_why_it_is_refused', async () => {
    answers(403, { type: '/api/v1/problems/token-expired', detail: 'the token has ended' });
    const refused = await fetchStream('hall', '/t/x', never).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Refused);
    expect((refused as Error).message).toBe('the token has ended');
    answers(403, 'no problem');
    await expect(fetchStream('hall', '/t/x', never)).rejects.toThrow(Refused);
    answers(404, {});
    await expect(fetchStream('hall', '', never)).rejects.toThrow(NotFound);
  });

  it('is_not_kept_with_the_root_key_of_the_server', () => {
    const place = placeOf('https://b1/t/scv_abc/live/hall/index.m3u8');
    expect(place).toEqual({ base: 'https://b1/t/scv_abc', stream: 'hall' });
    expect(serverOf(place)).toBe('https://b1');
    expect(serverOf(placeOf('https://b1/under/live/hall/index.m3u8'))).toBe('https://b1/under');
  });
});
