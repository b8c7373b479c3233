import { describe, expect, it } from 'vitest';
import { nextDelayMs } from '../src/api/poll';
import { RENDITIONS_MAX, readStream, readStreams, readVerified, STREAMS_MAX } from '../src/api/types';

const verified = {
  node: 'b1',
  sequence: 123,
  epoch: 2,
  digest: 'ab'.repeat(32),
  key: 'cd'.repeat(16),
  algorithm: 'ML-DSA-44',
  issued_at: 1_700_000_000_000,
  admitted_at: 1_700_000_000_004,
  seals_admitted: 120,
  refused: { digest: 1, signature: 0 },
};
const stream = {
  name: 'demo',
  live: true,
  state: 'live',
  started_at: 1_700_000_000_000,
  epoch: 2,
  ingest: 'i1',
  renditions: [
    { name: '1080p', codec: 'avc1.640028', width: 1920, height: 1080, frame_rate: 30, bandwidth: 5_000_000 },
    { name: 'audio', codec: 'mp4a.40.2', width: null, height: null, frame_rate: null, bandwidth: 128_000 },
  ],
};

describe('readStreams', () => {
  it('reads_what_a_node_says', () => {
    const [first] = readStreams({ streams: [stream] });
    expect(first).toMatchObject({ name: 'demo', state: 'live', live: true, epoch: 2, ingest: 'i1' });
    expect(first?.renditions).toHaveLength(2);
    expect(first?.renditions[1]).toMatchObject({ name: 'audio', height: null });
  });

  it('leaves_out_malformed_entries_and_keeps_the_rest', () => {
    const list = readStreams({ streams: [null, 7, {}, { name: '' }, { name: 4 }, stream] });
    expect(list.map(({ name }) => name)).toEqual(['demo']);
  });

  it('refuses_an_answer_of_another_shape', () => {
    for (const bad of [null, [], 'x', {}, { streams: {} }])
      expect(() => readStreams(bad)).toThrow(/malformed/);
  });

  it('is_bounded', () => {
    const many = readStreams({ streams: Array(STREAMS_MAX + 50).fill(stream) });
    expect(many).toHaveLength(STREAMS_MAX);
    const wide = readStreams({ streams: [{ ...stream, renditions: Array(99).fill(stream.renditions[0]) }] });
    expect(wide[0]?.renditions).toHaveLength(RENDITIONS_MAX);
  });

  it('an_unknown_state_falls_back_to_live_or_ended', () => {
    const states = [true, false].map(
      (live) => readStreams({ streams: [{ ...stream, state: 'new', live }] })[0]?.state,
    );
    expect(states).toEqual(['live', 'ended']);
  });
});

describe('readVerified', () => {
  it('reads_the_statement_of_the_gate', () => {
    expect(readStream({ ...stream, verified }).verified).toMatchObject({
      node: 'b1',
      sequence: 123,
      algorithm: 'ML-DSA-44',
      sealsAdmitted: 120,
      refused: { digest: 1, signature: 0 },
    });
  });

  it.each(['node', 'digest', 'key', 'sequence', 'algorithm'])('is_none_without_%s', (field) => {
    expect(readVerified({ ...verified, [field]: undefined })).toBeNull();
  });

  it('is_none_when_the_node_says_nothing', () => {
    expect(readStream(stream).verified).toBeNull();
    expect(readStream({ ...stream, verified: null }).verified).toBeNull();
  });

  it('numbers_that_are_none_are_not_shown', () => {
    expect(readVerified({ ...verified, issued_at: 'x', seals_admitted: -1 })).toMatchObject({
      issuedAt: null,
      sealsAdmitted: 0,
    });
  });
});

describe('nextDelayMs', () => {
  it('waits_longer_while_requests_fail_and_never_very_long', () => {
    expect([0, 1, 2, 3, 50].map((failures) => nextDelayMs(2_000, failures))).toEqual([
      2_000, 4_000, 8_000, 10_000, 10_000,
    ]);
    expect(nextDelayMs(30_000, 4)).toBe(30_000);
  });
});

describe('what can be gone back to', () => {
  const dvr = { url: '/live/demo/dvr.m3u8', window_s: 3_600 };

  it('is_read_with_its_pictures', () => {
    const detail = readStream({
      ...stream,
      dvr,
      poster: '/live/demo/poster.jpg',
      thumbnails: '/live/demo/360p/{epoch}/{msn}.jpg',
    });
    expect(detail.dvr).toEqual({ url: '/live/demo/dvr.m3u8', windowSeconds: 3_600 });
    expect(detail.poster).toBe('/live/demo/poster.jpg');
    expect(detail.thumbnails).toBe('/live/demo/360p/{epoch}/{msn}.jpg');
  });

  it('is_nothing_where_the_node_says_nothing', () => {
    expect(readStream(stream)).toMatchObject({ dvr: null, poster: null, thumbnails: null });
    expect(readStream({ ...stream, dvr: null, poster: null, thumbnails: null }).dvr).toBeNull();
    expect(readStream({ ...stream, dvr: { ...dvr, window_s: 0 } }).dvr).toBeNull();
  });

  it('takes_no_address_on_another_origin', () => {
    for (const url of ['https://elsewhere/x.m3u8', '//elsewhere/x.m3u8', 'x.m3u8', 'javascript:alert(1)']) {
      expect(readStream({ ...stream, dvr: { ...dvr, url }, poster: url, thumbnails: url })).toMatchObject({
        dvr: null,
        poster: null,
        thumbnails: null,
      });
    }
  });
});
