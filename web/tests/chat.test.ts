import { describe, expect, it } from 'vitest';
import { againMs, MESSAGES_MAX, readMessages, readState } from '../src/chat/events';
import { spoken } from '../src/chat/panel';
import { pageOf, tokenPath } from '../src/routes';

const message = (id: string, text: string | null) => ({
  id,
  author: 'Ann',
  role: 'guest' as const,
  tag: '00ff',
  text,
  at: 7,
});

describe('events of a chat', () => {
  it('are read, and what is none is left out', () => {
    const data = JSON.stringify({
      reset: true,
      messages: [
        message('a', 'Hello'),
        message('b', null),
        { ...message('c', 'x'), role: 'root' },
        7,
        { id: 3 },
      ],
    });
    expect(readMessages(data)).toEqual({
      reset: true,
      messages: [message('a', 'Hello'), message('b', null), message('c', 'x')],
    });
    for (const bad of ['', '{', '[]', 'null', '7', '{"messages":{}}']) expect(readMessages(bad)).toBeNull();
  });

  it('cannot fill the page', () => {
    const many = Array.from({ length: 10_000 }, (_, n) => message(String(n), 'x'.repeat(10_000)));
    const read = readMessages(JSON.stringify({ messages: many }));
    expect(read?.messages.length).toBe(2 * MESSAGES_MAX);
    expect(read?.messages[0]?.text?.length).toBe(2_000);
  });

  it('say whether the chat is paused, and its pace', () => {
    expect(readState('{"paused":true,"slow_s":5,"writers":"token"}')).toEqual({
      paused: true,
      slowSeconds: 5,
      needsToken: true,
    });
    expect(readState('{"paused":false}')).toEqual({ paused: false, slowSeconds: 0, needsToken: false });
    for (const bad of ['', '{}', '{"paused":1}']) expect(readState(bad)).toBeNull();
  });

  it('are asked for again by one reader after the other', () => {
    expect(againMs(1, 0)).toBe(1_000);
    expect(againMs(1, 1)).toBe(3_000);
    expect(againMs(100, 1)).toBe(61_000);
  });

  it('are spoken in one sentence, without what was deleted', () => {
    expect(spoken([message('a', 'Hello')])).toBe('Ann: Hello');
    expect(spoken([message('a', 'Hello'), message('b', 'all'), message('c', null)])).toBe(
      '2 new messages. Ann: all',
    );
    expect(spoken([message('c', null)])).toBe('');
  });
});

describe('paths of frames', () => {
  it('lead to the player alone, with a token before them or without', () => {
    expect(pageOf('/live/hall/embed')).toEqual({ kind: 'embed', stream: 'hall' });
    expect(pageOf('/t/scv_x/live/hall/embed')).toEqual({ kind: 'embed', stream: 'hall' });
    for (const other of ['/live/hall/embed/', '/live//embed', '/t/live/hall/embed', '/live/hall']) {
      expect(pageOf(other).kind).toBe('not-found');
    }
  });

  it('have the token that everything else of the page gets', () => {
    expect(tokenPath('', '/t/scv_x/live/hall/embed')).toBe('/t/scv_x');
    expect(tokenPath('#t=scv_y', '/watch/hall')).toBe('/t/scv_y');
    expect(tokenPath('', '/live/hall/embed')).toBe('');
  });
});
