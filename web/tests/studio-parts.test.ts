import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { changed, merge } from '../src/api/merge';
import { anything, integer, list, Malformed, nullable, object, text } from '../src/api/read';
import { ApiError, queryOf, refusalOf } from '../src/api/request';
import { after, type Resource } from '../src/api/resource';
import { changeLines } from '../src/studio/changes';
import { EMPTY, seen, TICKS, ticks } from '../src/studio/history';
import { inputRows, openWarnings, picture } from '../src/studio/input';
import { obsFiles } from '../src/studio/obs-profile';
import { nameOf, stepsDone } from '../src/studio/publish';
import { expiryAt, rightsOf } from '../src/studio/rights';
import { nextOf, routeOf, streamPath } from '../src/studio/routes';
import { arranged, onlyLive } from '../src/studio/streams';
import { crc32, zip } from '../src/studio/zip';
import { generate } from '../tools/generate-api.mjs';
import { stream } from './support/studio-origin';

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'));
const away = new ApiError('away', 'gone', 0, '', '');
const refused = new ApiError('refused', 'no', 404, 'not-found', 'req_1');

describe('readers', () => {
  const row = object({ id: text(3), count: nullable(integer) }, { more: list(text()) });

  it('take_what_the_document_says_and_drop_the_rest', () => {
    expect(row({ id: 'abcdef', count: null, other: 1 }, '')).toEqual({ id: 'abc', count: null });
    expect(row({ id: 'a', count: 2, more: ['x', 7, 'y'] }, '')).toEqual({
      id: 'a',
      count: 2,
      more: ['x', 'y'],
    });
    expect(row({ id: 'a', count: 2, more: null }, '')).toEqual({ id: 'a', count: 2 });
  });

  it('say_where_an_answer_is_malformed', () => {
    for (const [value, at] of [
      [{ id: 7, count: 1 }, 'id'],
      [{ id: 'a', count: 1.5 }, 'count'],
      [{ id: 'a' }, 'count'],
      [{ id: 'a', count: 1, more: {} }, 'more'],
      [[], ''],
    ] as const) {
      const failed = (() => {
        try {
          return row(value, '');
        } catch (error) {
          return error;
        }
      })();
      expect(failed).toBeInstanceOf(Malformed);
      expect((failed as Malformed).at).toBe(at);
    }
  });

  it('bound_what_may_be_anything', () => {
    let deep: unknown = 'end';
    for (let depth = 0; depth < 100; depth += 1) deep = [deep];
    expect(JSON.stringify(anything(deep, '')).length).toBeLessThan(40);
    expect((anything('x'.repeat(1e6), '') as string).length).toBeLessThan(5_000);
    expect(list(text())(Array(9_999).fill('x'), '')).toHaveLength(200);
  });
});

describe('the generated client', () => {
  const document = {
    paths: {
      '/api/v1/x/{y}': {
        get: { operationId: 'get_x_y', parameters: [{ name: 'y', in: 'path' }], responses: {} },
      },
    },
  };

  it('refuses_answers_of_operations_that_are_gone_and_schemas_that_nobody_has_thought_of', () => {
    expect(generate(document, { answers: {}, schemas: {} })).toMatch(
      /x\/\$\{encodeURIComponent\(names\.y\)\}/,
    );
    expect(() => generate(document, { answers: { 'GET /api/v1/gone': 'X' }, schemas: {} })).toThrow(/gone/);
    const odd = { X: { type: 'object', required: [], properties: { a: { type: 'martian' } } } };
    expect(() => generate(document, { answers: { 'GET /api/v1/x/{y}': 'X' }, schemas: odd })).toThrow(
      /martian/,
    );
  });

  it('is_what_the_document_says', () => {
    const there = readFileSync(new URL('../src/api/generated/api.ts', import.meta.url), 'utf8');
    expect(generate(read('../../control/openapi.json'), read('../tools/answers.json'))).toBe(there);
  });
});

describe('a refusal', () => {
  it('is_read_from_a_problem_and_tells_a_control_that_is_away_from_one_that_says_no', () => {
    const body = JSON.stringify({
      type: '/api/v1/problems/invalid',
      detail: 'x'.repeat(9_999),
      request_id: 'req_7',
      errors: [{ pointer: '#/title', code: 'too_long' }, 7],
    });
    const problem = refusalOf(422, 'req_header', body);
    expect([problem.kind, problem.type, problem.requestId, problem.of('title'), problem.of('name')]).toEqual([
      'refused',
      'invalid',
      'req_7',
      'too_long',
      null,
    ]);
    expect(problem.message.length).toBeLessThan(600);
    expect(refusalOf(502, 'req_h', '<html>').kind).toBe('away');
    expect(refusalOf(503, '', JSON.stringify({ type: '/api/v1/problems/control-away' })).kind).toBe('away');
    expect(refusalOf(503, '', JSON.stringify({ type: '/api/v1/problems/not-set-up' })).kind).toBe('refused');
    expect(refusalOf(404, 'req_h', '').requestId).toBe('req_h');
  });
});

describe('a resource', () => {
  it('is_stale_after_three_misses_in_a_row_and_keeps_its_last_answer', () => {
    let known: Resource<number> = { state: 'loading' };
    const next = (outcome: { value: number; at: number } | { error: ApiError }): string => {
      known = after(known, outcome);
      return known.state;
    };
    expect(next({ error: away })).toBe('failed');
    expect(next({ value: 7, at: 5 })).toBe('ready');
    expect([next({ error: away }), next({ error: away }), next({ error: away })]).toEqual([
      'ready',
      'ready',
      'stale',
    ]);
    expect(known).toMatchObject({ value: 7, at: 5 });
    expect(next({ value: 8, at: 9 })).toBe('ready');
    expect(next({ error: refused })).toBe('failed');
  });
});

describe('two changes of one row', () => {
  it('go_together_unless_they_touch_one_field', () => {
    const base = { title: 'a', text: 'b', category: 'c' };
    const { value, conflicts } = merge(
      base,
      { ...base, title: 'mine', text: 'same' },
      { title: 'theirs', text: 'same', category: 'new' },
    );
    expect(value).toEqual({ title: 'mine', text: 'same', category: 'new' });
    expect(conflicts).toEqual(['title']);
    expect(changed(base, { ...base, text: 'x' })).toEqual({ text: 'x' });
  });
});

describe('addresses', () => {
  it('name_their_page', () => {
    for (const [path, page] of [
      ['/studio', { page: 'start' }],
      ['/studio/streams', { page: 'streams' }],
      ['/studio/streams/acme.hall/health', { page: 'stream', stream: 'acme.hall', tab: 'health' }],
      ['/studio/settings', { page: 'members' }],
      ['/studio/settings/keys', { page: 'keys' }],
      ['/studio/settings/keys/7', { page: 'not-found' }],
      ['/studio/streams/%E0%A4%A', { page: 'not-found' }],
      ['/studio/streams/hall/nothing', { page: 'not-found' }],
      ['/watch/hall', { page: 'not-found' }],
    ] as const)
      expect(routeOf(path)).toEqual(page);
    expect(routeOf(streamPath('a/b?c', 'settings'))).toEqual({
      page: 'stream',
      stream: 'a/b?c',
      tab: 'settings',
    });
    expect(queryOf({ limit: 5, q: '', cursor: undefined })).toBe('?limit=5');
  });

  it('after_signing_in_lead_to_the_studio_of_this_server_only', () => {
    expect(nextOf('?next=/studio/settings/keys')).toBe('/studio/settings/keys');
    for (const evil of [
      '',
      '?next=',
      '?next=//evil.example',
      '?next=https://evil.example',
      '?next=/studio//evil',
      '?next=/studio\\evil',
      '?next=javascript:1',
      '?next=/watch/x',
      '?next=/studios',
    ])
      expect(nextOf(evil)).toBe('/studio');
  });
});

describe('a stream', () => {
  const live = (name: string, state: string, created_at = 1): never =>
    ({ ...stream(name), live: { state }, created_at }) as never;

  it('on_the_air_comes_first_and_the_only_live_one_opens_by_itself', () => {
    const all = [live('a', 'idle', 9), live('b', 'live'), live('c', 'ended', 5)];
    expect(arranged(all).map(({ name }) => name)).toEqual(['b', 'a', 'c']);
    expect(onlyLive(all)?.name).toBe('b');
    expect(onlyLive([...all, live('d', 'reconnecting')])).toBeNull();
    expect(onlyLive([])).toBeNull();
  });

  it('has_a_log_line_that_shows_gaps_new_sessions_and_what_nobody_saw', () => {
    const looks = [
      [0, 'live', 1],
      [2, 'live', 1],
      [4, 'reconnecting', 1],
      [6, 'live', 2],
    ] as const;
    let history = EMPTY;
    for (const [second, state, epoch] of looks)
      history = seen(history, { ...stream('x'), live: { state, epoch } } as never, second * 1_000);
    const line = ticks(history, 6_000).map((tick) => tick ?? '-');
    expect(line).toHaveLength(TICKS);
    expect(line.slice(-8)).toEqual(['-', 'media', 'media', 'media', 'gap', 'gap', 'break', 'media']);
    expect(ticks(history, 8_000)).toEqual(ticks(history, 6_000));
    expect(ticks(history, 16_000).at(-1)).toBeNull();
    expect(ticks(EMPTY, 1)).toEqual(Array(TICKS).fill(null));
  });

  it('says_what_comes_in_and_counts_only_what_viewers_notice_now', () => {
    const warning = { kind: 'no_audio', severity: 'warning', text: 't', since: 1 };
    const input = {
      stream: 'hall',
      ingest: 'i1',
      at: 1,
      connected_at: 1,
      bit_rate: 6_000_000,
      video: { codec: 'avc1.64001f', width: 1280, height: 720, frame_rate_millihertz: 29_970 },
      warnings: [warning, { ...warning, severity: 'note' }, { ...warning, until: 9 }],
    };
    expect(openWarnings(input)).toHaveLength(1);
    expect(picture(input)).toBe('1280 × 720, 29.97 fps');
    const rows = new Map(inputRows(input).map(({ label, value }) => [label, value]));
    expect([rows.get('Sound'), rows.get('Dropped frames'), rows.get('Keyframes')]).toEqual(['–', '–', '–']);
  });

  it('is_on_its_way_step_by_step', () => {
    const at = (more: object, playable = false): readonly boolean[] =>
      stepsDone({ ...stream('x'), ...more } as never, playable);
    expect(at({})).toEqual([false, false, false, false]);
    expect(at({ input: { ingest: 'i', at: 1, connected_at: 1, warnings: [] } })).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(at({ live: { state: 'live' } })).toEqual([true, true, true, false]);
    expect(at({ live: { state: 'live' } }, true)).toEqual([true, true, true, true]);
  });
});

describe('what an encoder needs', () => {
  it('is_a_name_and_a_folder_for_obs', () => {
    expect(nameOf('  Évensong, in June! ')).toBe('evensong-in-june');
    expect(nameOf('***')).toBe('');
    const files = obsFiles({ name: 'hall', server: 'rtmp://x/live', key: 'a"b\\c' });
    expect(files.map(({ path }) => path.split('/').at(-1))).toEqual([
      'basic.ini',
      'service.json',
      'streamEncoder.json',
    ]);
    expect(JSON.parse(files[1]?.text ?? '')).toMatchObject({
      type: 'rtmp_custom',
      settings: { key: 'a"b\\c' },
    });
    expect(JSON.parse(files[2]?.text ?? '')).toMatchObject({ keyint_sec: 2 });
  });

  it('is_packed_as_zip', () => {
    // The check value of CRC-32/ISO-HDLC.
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
    const bytes = zip([
      { path: 'a/b.txt', text: 'hello' },
      { path: 'ü.txt', text: '' },
    ]);
    const view = new DataView(bytes.buffer);
    const end = bytes.length - 22;
    expect(view.getUint32(end, true)).toBe(0x06054b50);
    expect(view.getUint16(end + 10, true)).toBe(2);
    const directory = view.getUint32(end + 16, true);
    expect(view.getUint32(directory, true)).toBe(0x02014b50);
    expect(view.getUint32(view.getUint32(directory + 42, true), true)).toBe(0x04034b50);
    expect(directory + view.getUint32(end + 12, true)).toBe(end);
  });
});

describe('rights and changes', () => {
  it('read_as_people_say_them', () => {
    expect(rightsOf(['streams:read'])).toBe('streams:read');
    expect(rightsOf(['a:read', 'b:read', 'c:read', 'd:read'])).toBe('a:read, b:read, c:read and 1 more');
    expect(rightsOf([])).toBe('nothing');
    expect(expiryAt('30', 0)).toBe(2_592_000_000);
    expect(expiryAt('', 0)).toBeNull();
    expect(
      changeLines({ title: { from: 'a', to: '' }, key: { hint: { from: 'x', to: 'y' } }, n: 3 }),
    ).toEqual(['title: a → –', 'key.hint: x → y', 'n: 3']);
  });
});
