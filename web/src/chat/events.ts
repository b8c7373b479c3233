/** Reads the chat of a stream as server-sent events. What comes is untrusted: readers here bound it. */

/** A message; `text` is null once it was deleted. */
export interface Message {
  id: string;
  author: string;
  role: 'guest' | 'viewer' | 'moderator';
  tag: string;
  text: string | null;
  at: number;
}

export interface ChatState {
  paused: boolean;
  slowSeconds: number;
  /** Only holders of a token write. */
  needsToken: boolean;
}

export interface ChatListener {
  onState(state: ChatState): void;
  /** With `reset`, the messages replace all that came before. */
  onMessages(messages: Message[], reset: boolean): void;
  onConnection(connected: boolean): void;
}

/** Messages that the page keeps, as many as a node does. */
export const MESSAGES_MAX = 100;
const TEXT_LENGTH_MAX = 2_000;
/** Bounds of the wait before the page connects again by itself, milliseconds. */
const AGAIN_MS = { min: 1_000, max: 60_000 };

type Json = Record<string, unknown>;

function object(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Json) : null;
  } catch {
    return null;
  }
}

const short = (value: unknown): string => (typeof value === 'string' ? value.slice(0, TEXT_LENGTH_MAX) : '');

function readMessage(value: unknown): Message | null {
  if (typeof value !== 'object' || value === null) return null;
  const { id, author, role, tag, text, at } = value as Json;
  if (typeof id !== 'string' || typeof at !== 'number') return null;
  return {
    id: short(id),
    author: short(author),
    role: role === 'viewer' || role === 'moderator' ? role : 'guest',
    tag: short(tag),
    text: text === null ? null : short(text),
    at,
  };
}

/** The messages of an event; null when it is none. Pure. */
export function readMessages(data: string): { messages: Message[]; reset: boolean } | null {
  const value = object(data);
  if (!Array.isArray(value?.messages)) return null;
  const messages = value.messages.slice(-2 * MESSAGES_MAX).map(readMessage);
  return { messages: messages.filter((message) => message !== null), reset: value.reset === true };
}

/** What an event says of the chat; null when it is none. Pure. */
export function readState(data: string): ChatState | null {
  const value = object(data);
  if (typeof value?.paused !== 'boolean') return null;
  const slowSeconds = typeof value.slow_s === 'number' && value.slow_s > 0 ? value.slow_s : 0;
  return { paused: value.paused, slowSeconds, needsToken: value.writers === 'token' };
}

/** The wait before attempt number `failures`, spread so that the readers of a dead node do not all come at once. Pure. */
export function againMs(failures: number, random: number): number {
  const most = Math.min(AGAIN_MS.max, AGAIN_MS.min * 2 ** Math.min(failures, 10));
  return AGAIN_MS.min + random * most;
}

/** Stays connected while the page is visible, and goes on where it was; until the function that it returns is called. */
export function readChat(url: string, listener: ChatListener): () => void {
  let source: EventSource | null = null;
  let last = '';
  let failures = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const close = (): void => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const open = (): void => {
    close();
    source = new EventSource(last === '' ? url : `${url}?after=${encodeURIComponent(last)}`);
    source.addEventListener('open', () => {
      failures = 0;
      listener.onConnection(true);
    });
    source.addEventListener('state', ({ data }: MessageEvent<string>) => {
      const state = readState(data);
      if (state) listener.onState(state);
    });
    source.addEventListener('chat', ({ data, lastEventId }: MessageEvent<string>) => {
      const read = readMessages(data);
      if (!read) return;
      last = lastEventId;
      listener.onMessages(read.messages, read.reset);
    });
    source.addEventListener('error', () => {
      listener.onConnection(false);
      // While it is connecting again, the browser does so by itself; it has given up after an answer that is no stream.
      if (source?.readyState !== EventSource.CLOSED) return;
      failures += 1;
      timer = setTimeout(open, againMs(failures, Math.random()));
    });
  };
  const onVisibility = (): void => {
    if (document.hidden) close();
    else if (source === null) open();
  };
  document.addEventListener('visibilitychange', onVisibility);
  open();
  return () => {
    document.removeEventListener('visibilitychange', onVisibility);
    close();
  };
}
