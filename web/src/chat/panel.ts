/**
 * The chat beside the player. Loaded once the picture plays, where the stream has a chat. Everything from others is text, never markup.
 */

import '../styles/chat.css';
import { h, setHidden, setText } from '../dom';
import { type ChatState, MESSAGES_MAX, type Message, readChat } from './events';
import { tabs } from './tabs';

/** The live region speaks this often at most, milliseconds. */
const SPEAK_MS = 5_000;
/** Within this many pixels of its end, the list follows new messages. */
const END_PX = 48;
const NAME_KEY = 'sealcast-chat-name';
const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 500;

const PAUSED = 'Chat is paused: the server that takes messages is away. The video goes on.';
const OFFLINE = 'Connecting to the chat…';

function rememberedName(): string {
  try {
    return localStorage.getItem(NAME_KEY) ?? '';
  } catch {
    return '';
  }
}

function rememberName(name: string): void {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // Without storage, the name lasts as long as the page.
  }
}

/** `3 new messages. Ann: hello` for people who hear the page. Pure. */
export function spoken(messages: Message[]): string {
  const shown = messages.filter((message) => message.text !== null);
  const last = shown.at(-1);
  if (!last) return '';
  const line = `${last.author}: ${last.text}`;
  return shown.length === 1 ? line : `${shown.length} new messages. ${line}`;
}

function row(message: Message): HTMLElement {
  const at = new Date(message.at);
  return h(
    'li',
    { class: 'chat-message', 'data-role': message.role },
    h('bdi', { class: 'chat-author' }, message.author),
    h('span', { class: 'chat-tag', title: 'Tells people of one name apart' }, `#${message.tag}`),
    message.role === 'moderator' && h('span', { class: 'chat-role' }, 'Moderator'),
    h(
      'time',
      { class: 'chat-time', datetime: Number.isNaN(at.getTime()) ? '' : at.toISOString() },
      at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
    ),
    h('p', { class: 'chat-text', dir: 'auto' }, message.text ?? ''),
  );
}

class Chat {
  readonly #url: string;
  readonly #hasToken: boolean;
  readonly #rows = new Map<string, HTMLElement>();
  readonly #list = h('ol', { class: 'chat-list', tabindex: '0', 'aria-label': 'Messages' });
  readonly #empty = h('p', { class: 'chat-empty' }, 'No messages yet.');
  readonly #newer = h('button', { type: 'button', class: 'chat-newer', hidden: true });
  readonly #speaker = h('div', { class: 'visually-hidden', role: 'status' });
  readonly #notice = h('p', { class: 'chat-notice', id: 'chat-notice', hidden: true });
  readonly #name = h('input', {
    id: 'chat-name',
    class: 'chat-field',
    maxlength: NAME_LENGTH_MAX,
    autocomplete: 'nickname',
    required: true,
  });
  readonly #text = h('input', {
    id: 'chat-text',
    class: 'chat-field',
    maxlength: TEXT_LENGTH_MAX,
    autocomplete: 'off',
    'aria-describedby': 'chat-notice',
    required: true,
  });
  readonly #send = h('button', { type: 'submit', class: 'button button-primary chat-send' }, 'Send');
  readonly #form: HTMLFormElement;
  readonly panel: HTMLElement;
  #state: ChatState = { paused: false, slowSeconds: 0, needsToken: false };
  #connected = false;
  #problem = '';
  #waitUntilMs = 0;
  #unseen = 0;
  #unspoken: Message[] = [];
  #speaks: ReturnType<typeof setTimeout> | undefined;

  constructor(stream: string, token: string) {
    const path = `${token}/live/${encodeURIComponent(stream)}`;
    this.#url = `${path}/chat`;
    this.#hasToken = token !== '';
    this.#name.value = rememberedName().slice(0, NAME_LENGTH_MAX);
    this.#form = h(
      'form',
      { class: 'chat-form' },
      h('label', { for: 'chat-name', class: 'chat-label' }, 'Your name', this.#name),
      h('label', { for: 'chat-text', class: 'chat-label' }, 'Message', this.#text),
      this.#send,
    );
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#say();
    });
    this.#newer.addEventListener('click', () => this.#toEnd());
    this.#list.addEventListener('scroll', () => {
      if (this.#isAtEnd()) this.#seen();
    });
    this.panel = h(
      'section',
      { class: 'panel chat' },
      h('h2', { class: 'visually-hidden' }, 'Chat'),
      h('div', { class: 'chat-room' }, this.#list, this.#empty, this.#newer),
      this.#notice,
      this.#form,
      this.#speaker,
    );
    this.#draw();
    readChat(`${path}/events`, {
      onState: (state) => {
        const was = this.#state;
        this.#state = state;
        if (was.paused !== state.paused) this.#speak(state.paused ? PAUSED : 'Chat goes on.');
        this.#draw();
      },
      onMessages: (messages, reset) => this.#take(messages, reset),
      onConnection: (connected) => {
        this.#connected = connected;
        this.#draw();
      },
    });
  }

  #take(messages: Message[], reset: boolean): void {
    const follow = this.#isAtEnd();
    const isFirst = this.#rows.size === 0;
    if (reset) {
      this.#rows.clear();
      this.#list.replaceChildren();
    }
    const fresh: Message[] = [];
    for (const message of messages) {
      const known = this.#rows.get(message.id);
      if (message.text === null) {
        known?.remove();
        this.#rows.delete(message.id);
      } else if (!known) {
        const element = row(message);
        this.#rows.set(message.id, element);
        this.#list.append(element);
        fresh.push(message);
      }
    }
    for (const [id, element] of this.#rows) {
      if (this.#rows.size <= MESSAGES_MAX) break;
      element.remove();
      this.#rows.delete(id);
    }
    setHidden(this.#empty, this.#rows.size > 0);
    if (follow || isFirst) this.#toEnd();
    else this.#unseen += reset ? 0 : fresh.length;
    if (!isFirst && !reset) {
      this.#unspoken.push(...fresh.slice(-MESSAGES_MAX));
      this.#speakSoon();
    }
    this.#drawNewer();
  }

  #isAtEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < END_PX;
  }

  #toEnd(): void {
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#seen();
  }

  #seen(): void {
    this.#unseen = 0;
    this.#drawNewer();
  }

  #drawNewer(): void {
    setHidden(this.#newer, this.#unseen === 0);
    setText(this.#newer, this.#unseen === 1 ? '1 new message' : `${this.#unseen} new messages`);
  }

  #speak(text: string): void {
    setText(this.#speaker, text);
  }

  /** Figures and floods never speak: one sentence stands for all that came. */
  #speakSoon(): void {
    if (this.#speaks !== undefined || this.#unspoken.length === 0) return;
    this.#speak(spoken(this.#unspoken));
    this.#unspoken = [];
    this.#speaks = setTimeout(() => {
      this.#speaks = undefined;
      this.#speakSoon();
    }, SPEAK_MS);
  }

  #mayWrite(): boolean {
    return !this.#state.needsToken || this.#hasToken;
  }

  #draw(): void {
    const waitSeconds = Math.ceil((this.#waitUntilMs - performance.now()) / 1_000);
    const lines = [
      !this.#connected && OFFLINE,
      this.#connected && this.#state.paused && PAUSED,
      !this.#mayWrite() && 'Only people with a link of their own write here.',
      this.#problem,
      waitSeconds > 0 && `Your next message can go in ${waitSeconds} s.`,
      this.#state.slowSeconds > 0 &&
        waitSeconds <= 0 &&
        this.#mayWrite() &&
        `Slow mode: one message every ${this.#state.slowSeconds} s.`,
    ].filter((line) => typeof line === 'string' && line !== '');
    setText(this.#notice, lines.join(' '));
    setHidden(this.#notice, lines.length === 0);
    setHidden(this.#form, !this.#mayWrite());
    // Not `disabled`, which would take the focus away.
    this.#send.setAttribute('aria-disabled', String(!this.#isReady()));
    if (waitSeconds > 0) setTimeout(() => this.#draw(), 1_000);
  }

  #isReady(): boolean {
    return this.#connected && !this.#state.paused && performance.now() >= this.#waitUntilMs;
  }

  async #say(): Promise<void> {
    const [name, text] = [this.#name.value.trim(), this.#text.value.trim()];
    if (!this.#isReady() || name === '' || text === '') return;
    rememberName(name);
    this.#problem = '';
    this.#waitUntilMs = performance.now() + 1_000;
    this.#draw();
    try {
      const answer = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name, text }),
        credentials: 'same-origin',
      });
      if (answer.ok) {
        if (this.#text.value.trim() === text) this.#text.value = '';
        this.#waitUntilMs = performance.now() + this.#state.slowSeconds * 1_000;
        this.#toEnd();
      } else await this.#refused(answer);
    } catch {
      this.#problem = 'The message was not sent: the server cannot be reached. Try again.';
    }
    this.#draw();
  }

  async #refused(answer: Response): Promise<void> {
    const wait = Number(answer.headers.get('retry-after'));
    if (answer.status === 429 && wait > 0) {
      this.#waitUntilMs = performance.now() + Math.min(wait, 3_600) * 1_000;
      return;
    }
    if (answer.status === 503) {
      this.#problem = `The message was not sent. ${PAUSED}`;
      return;
    }
    const problem: unknown = await answer.json().catch(() => null);
    const detail = (problem as { detail?: unknown } | null)?.detail;
    this.#problem =
      typeof detail === 'string' ? detail.slice(0, TEXT_LENGTH_MAX) : 'The message was not taken.';
  }
}

/** Adds the chat of a stream, once; not in a frame, which has the player alone. `token` stands before the paths of a viewer who has one. */
export function attachChat(side: HTMLElement, stream: string, token: string): void {
  if (side.querySelector('.chat') || document.documentElement.classList.contains('embedded')) return;
  // What was there goes behind a tab and keeps its place there, so that nothing on screen moves.
  const proof = h('div', { class: 'side-proof' }, ...Array.from(side.children));
  const { panel } = new Chat(stream, token);
  const { list, choose } = tabs('Beside the picture', [
    { id: 'chat', label: 'Chat', panel },
    { id: 'proof', label: 'Proof', panel: proof },
  ]);
  side.append(list, panel, proof);
  // The badge leads to what it stands for.
  document.querySelector('.badge')?.addEventListener('click', () => choose('proof'), { capture: true });
}
