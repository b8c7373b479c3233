/**
 * A chat: its messages, the form for one's own, and what moderators do. Stands beside the player and in the studio. Everything from others is
 * text, never markup.
 */

import '../styles/chat.css';
import { h, setHidden, setText } from '../dom';
import { chat as say } from '../text/en-later';
import type { Account } from './account';
import { type ChatState, MESSAGES_MAX, type Message, readChat } from './events';
import type { Moderation } from './moderation';
import { noteSignedIn } from './signed-in';

/** The live region speaks this often at most, milliseconds. */
const SPEAK_MS = 5_000;
/** Within this many pixels of its end, the list follows new messages. */
const END_PX = 48;
const NAME_KEY = 'sealcast-chat-name';
const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 500;

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
  return say.spoken(shown.length, last.author, last.text ?? '');
}

function row(message: Message): HTMLElement {
  const at = new Date(message.at);
  return h(
    'li',
    { class: 'chat-message', 'data-role': message.role },
    h('bdi', { class: 'chat-author' }, message.author),
    h('span', { class: 'chat-tag', title: say.tagTitle }, `#${message.tag}`),
    message.role === 'moderator' && h('span', { class: 'chat-role' }, say.moderator),
    h(
      'time',
      { class: 'chat-time', datetime: Number.isNaN(at.getTime()) ? '' : at.toISOString() },
      at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
    ),
    h('p', { class: 'chat-text', dir: 'auto' }, message.text ?? ''),
  );
}

export class Chat {
  readonly #url: string;
  readonly #hasToken: boolean;
  readonly #rows = new Map<string, HTMLElement>();
  readonly #list = h('ol', { class: 'chat-list', tabindex: '0', 'aria-label': say.messages });
  readonly #empty = h('p', { class: 'chat-empty' }, say.none);
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
  readonly #send = h('button', { type: 'submit', class: 'button button-primary chat-send' }, say.send);
  readonly #form: HTMLFormElement;
  /** In place of the field for a name, of whoever has an account. */
  readonly #as = h('p', { class: 'chat-as', hidden: true });
  readonly #nameLabel = h(
    'label',
    { for: 'chat-name', class: 'chat-label chat-wide' },
    say.yourName,
    this.#name,
  );
  readonly panel: HTMLElement;
  readonly #shown = new Map<string, Message>();
  readonly #stream: string;
  #account: Account | null = null;
  #moderation: Moderation | null = null;
  #state: ChatState = { paused: false, slowSeconds: 0, needsToken: false };
  #connected = false;
  #problem = '';
  #waitUntilMs = 0;
  #unseen = 0;
  #unspoken: Message[] = [];
  #speaks: ReturnType<typeof setTimeout> | undefined;
  /** Ends the connection; for pages that go on without the panel. */
  readonly close: () => void;

  constructor(stream: string, token: string) {
    this.#stream = stream;
    const path = `${token}/live/${encodeURIComponent(stream)}`;
    this.#url = `${path}/chat`;
    this.#hasToken = token !== '';
    this.#name.value = rememberedName().slice(0, NAME_LENGTH_MAX);
    this.#form = h(
      'form',
      { class: 'chat-form' },
      this.#as,
      this.#nameLabel,
      h('label', { for: 'chat-text', class: 'chat-label' }, say.message, this.#text),
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
      h('h2', { class: 'visually-hidden' }, say.title),
      h('div', { class: 'chat-room' }, this.#list, this.#empty, this.#newer),
      this.#notice,
      this.#form,
      this.#speaker,
    );
    this.#draw();
    this.close = readChat(`${path}/events`, {
      onState: (state) => {
        const was = this.#state;
        this.#state = state;
        if (was.paused !== state.paused) this.#speak(state.paused ? say.paused : say.goesOn);
        this.#draw();
      },
      onMessages: (messages, reset) => this.#take(messages, reset),
      onConnection: (connected) => {
        this.#connected = connected;
        this.#draw();
      },
    });
  }

  /** From now on, messages go under the name of this account; without one, under the name that the field has. */
  async enter(account: Account | null): Promise<void> {
    this.#account = account;
    setHidden(this.#as, account === null);
    setHidden(this.#nameLabel, account !== null);
    this.#name.required = account === null;
    setText(this.#as, account ? say.writesAs(account.name) : '');
    if (account?.moderates) await this.#moderate(account);
    this.#draw();
  }

  async #moderate(account: Account): Promise<void> {
    const { Moderation } = await import('./moderation');
    if (this.#moderation) return;
    const room = { stream: this.#stream, list: this.#list, rows: () => this.#rows.values() };
    this.#moderation = new Moderation(room, account);
    this.panel.prepend(this.#moderation.tools);
    for (const [id, row] of this.#rows) {
      const message = this.#shown.get(id);
      if (message) this.#moderation.attend(row, message);
    }
  }

  #forget(id: string): void {
    const row = this.#rows.get(id);
    if (!row) return;
    this.#moderation?.leave(row);
    row.remove();
    this.#rows.delete(id);
    this.#shown.delete(id);
  }

  #take(messages: Message[], reset: boolean): void {
    const follow = this.#isAtEnd();
    const isFirst = this.#rows.size === 0;
    if (reset) for (const id of [...this.#rows.keys()]) this.#forget(id);
    const fresh: Message[] = [];
    for (const message of messages) {
      const known = this.#rows.get(message.id);
      if (message.text === null) {
        this.#forget(message.id);
      } else if (!known) {
        const element = row(message);
        this.#rows.set(message.id, element);
        this.#shown.set(message.id, message);
        this.#list.append(element);
        this.#moderation?.attend(element, message);
        fresh.push(message);
      }
    }
    for (const id of [...this.#rows.keys()].slice(0, Math.max(0, this.#rows.size - MESSAGES_MAX)))
      this.#forget(id);
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
    setText(this.#newer, say.newMessages(this.#unseen));
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
    return !this.#state.needsToken || this.#hasToken || this.#account?.isMember === true;
  }

  #draw(): void {
    const waitSeconds = Math.ceil((this.#waitUntilMs - performance.now()) / 1_000);
    const lines = [
      !this.#connected && say.connecting,
      this.#connected && this.#state.paused && say.paused,
      !this.#mayWrite() && say.notAllowed,
      this.#problem,
      waitSeconds > 0 && say.wait(waitSeconds),
      this.#state.slowSeconds > 0 &&
        waitSeconds <= 0 &&
        this.#mayWrite() &&
        say.slow(this.#state.slowSeconds),
    ].filter((line) => typeof line === 'string' && line !== '');
    setText(this.#notice, lines.join(' '));
    setHidden(this.#notice, lines.length === 0);
    setHidden(this.#form, !this.#mayWrite());
    this.#moderation?.showPace(this.#state.slowSeconds);
    // Not `disabled`, which would take the focus away.
    this.#send.setAttribute('aria-disabled', String(!this.#isReady()));
    if (waitSeconds > 0) setTimeout(() => this.#draw(), 1_000);
  }

  #isReady(): boolean {
    return this.#connected && !this.#state.paused && performance.now() >= this.#waitUntilMs;
  }

  async #say(): Promise<void> {
    const account = this.#account;
    const [name, text] = [account?.name ?? this.#name.value.trim(), this.#text.value.trim()];
    if (!this.#isReady() || name === '' || text === '') return;
    if (!account) rememberName(name);
    this.#problem = '';
    this.#waitUntilMs = performance.now() + 1_000;
    this.#draw();
    try {
      const answer = await fetch(this.#url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(account ? { 'x-sealcast-csrf': account.csrf } : {}),
        },
        body: JSON.stringify({ name, text }),
        // A cookie would count, and a guest says that it has none.
        credentials: account ? 'same-origin' : 'omit',
      });
      if (answer.ok) {
        if (this.#text.value.trim() === text) this.#text.value = '';
        const pause = account?.moderates ? 0 : this.#state.slowSeconds;
        this.#waitUntilMs = performance.now() + pause * 1_000;
        this.#toEnd();
      } else {
        this.#waitUntilMs = performance.now();
        await this.#refused(answer);
      }
    } catch {
      this.#waitUntilMs = performance.now();
      this.#problem = say.notSent;
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
      this.#problem = `${say.notSentPaused} ${say.paused}`;
      return;
    }
    if (answer.status === 401) {
      noteSignedIn(false);
      await this.enter(null);
      this.#problem = say.signedOut;
      return;
    }
    const problem: unknown = await answer.json().catch(() => null);
    const { type, detail } = (problem ?? {}) as { type?: unknown; detail?: unknown };
    if (typeof type === 'string' && type.endsWith('/banned')) {
      this.#problem = say.youAreBanned;
      return;
    }
    this.#problem = typeof detail === 'string' ? detail.slice(0, TEXT_LENGTH_MAX) : say.notTaken;
  }
}
