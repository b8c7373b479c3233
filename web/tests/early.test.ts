import { describe, expect, it } from 'vitest';
import { carriedPlaylists } from '../src/player/early';

const BASE = 'https://node.test/watch/hall';
const TIMES = { askedMs: 2, firstMs: 9, endMs: 10 };
const carried = (text: string | null | undefined, nowMs = 100) =>
  carriedPlaylists(text, BASE, TIMES, nowMs).playlists;

describe('carriedPlaylists', () => {
  it('finds playlists under the URLs that players ask for', () => {
    const found = carried(JSON.stringify({ '/live/hall/index.m3u8': '#EXTM3U\n' }));
    expect([...found]).toEqual([['https://node.test/live/hall/index.m3u8', '#EXTM3U\n']]);
  });

  it('leaves a page that waited too long to ask anew', () => {
    const text = JSON.stringify({ '/live/hall/index.m3u8': '#EXTM3U\n' });
    expect(carried(text, 3_000).size).toBe(1);
    expect(carried(text, 3_011).size).toBe(0);
  });

  it.each([
    null,
    undefined,
    '',
    '{',
    'null',
    '[]',
    '7',
    '{"/live/hall/index.m3u8":7}',
    '{"http://[":"#EXTM3U"}',
  ])('is empty for %s', (text) => {
    expect(carried(text).size).toBe(0);
  });
});
