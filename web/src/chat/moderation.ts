/**
 * What moderators do in a chat: delete messages, ban people and let them write again, and set the pace. Loaded for them alone. Nothing here
 * changes what is shown: deletions come back as events, as they do to everybody.
 */

import {
  type Ban,
  deleteStreamsStreamBansBan,
  deleteStreamsStreamMessagesMessage,
  getStreamsStreamBans,
  patchStreamsStream,
  postStreamsStreamBans,
} from '../api/generated/api';
import { ApiError, ask } from '../api/request';
import { h, setHidden, setText } from '../dom';
import { chat as say } from '../text/en-later';
import type { Account } from './account';
import type { Message } from './events';

/** Paces that have a button, seconds between two messages of a writer. */
const PACES_S = [0, 10, 30, 60];
/** Most bans that are listed. */
const BANS_MAX = 100;
/** Longest part of a message that names its button, characters. */
const LABEL_LENGTH_MAX = 60;

/** What the panel gives its moderation. */
export interface Room {
  readonly stream: string;
  readonly list: HTMLElement;
  /** The messages on screen, oldest first. */
  rows(): Iterable<HTMLElement>;
}

export class Moderation {
  readonly #room: Room;
  readonly #paces = PACES_S.map((seconds) =>
    h(
      'button',
      {
        type: 'button',
        class: 'chat-tool',
        'aria-pressed': 'false',
        onclick: () => void this.#setPace(seconds),
      },
      seconds === 0 ? say.off : say.seconds(seconds),
    ),
  );
  readonly #bans = h('ul', { class: 'chat-bans', id: 'chat-bans', hidden: true });
  readonly #opener = h(
    'button',
    {
      type: 'button',
      class: 'chat-tool',
      'aria-expanded': 'false',
      'aria-controls': 'chat-bans',
      onclick: () => void this.#toggleBans(),
    },
    say.banned,
  );
  readonly #done = h('span', { role: 'status' });
  readonly #undo = h('button', { type: 'button', class: 'chat-tool', hidden: true }, say.undo);
  readonly tools: HTMLElement;
  /** The message whose button the Tab key reaches. */
  #current: HTMLElement | null = null;
  #isBusy = false;

  constructor(room: Room, { setsPace }: Account) {
    this.#room = room;
    this.tools = h(
      'div',
      { class: 'chat-tools', role: 'group', 'aria-label': say.moderation },
      setsPace &&
        h(
          'div',
          { class: 'chat-paces', role: 'group', 'aria-label': say.slowMode },
          h('span', { 'aria-hidden': 'true' }, say.slowMode),
          ...this.#paces,
        ),
      this.#opener,
      this.#bans,
      h('p', { class: 'chat-done' }, this.#done, this.#undo),
    );
    room.list.addEventListener('keydown', (event) => this.#onKey(event));
    room.list.addEventListener('focusin', ({ target }) => {
      const row = (target as Element).closest<HTMLElement>('.chat-message');
      if (row) this.#reach(row);
    });
  }

  /** What is pressed of the pace, as everybody gets to know it. */
  showPace(seconds: number): void {
    for (const [n, button] of this.#paces.entries())
      button.setAttribute('aria-pressed', String(PACES_S[n] === seconds));
  }

  /** Gives a message its button. */
  attend(row: HTMLElement, message: Message): void {
    // A moderator is nobody's to ban by a slip.
    const label = say.moderateMessage(message.author, (message.text ?? '').slice(0, LABEL_LENGTH_MAX));
    const button = h(
      'button',
      { type: 'button', class: 'chat-moderate', tabindex: '-1', 'aria-label': label },
      say.moderate,
    );
    button.addEventListener('click', () => this.#open(row, message));
    row.append(button);
    if (this.#current?.contains(document.activeElement) !== true) this.#reach(row);
  }

  /** A message goes: whoever was at its button is at the next one. */
  leave(row: HTMLElement): void {
    const next = (row.nextElementSibling ?? row.previousElementSibling) as HTMLElement | null;
    const hadFocus = row.contains(document.activeElement);
    if (this.#current === row) this.#reach(next);
    if (hadFocus) this.#focus(next);
  }

  #reach(row: HTMLElement | null): void {
    if (this.#current === row) return;
    this.#current?.querySelector('.chat-moderate')?.setAttribute('tabindex', '-1');
    row?.querySelector('.chat-moderate')?.setAttribute('tabindex', '0');
    this.#current = row;
  }

  #focus(row: HTMLElement | null): void {
    (row?.querySelector<HTMLElement>('.chat-moderate') ?? this.#room.list).focus();
  }

  #onKey(event: KeyboardEvent): void {
    const button = (event.target as Element).closest('.chat-moderate');
    if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.#room.rows()];
    const at = rows.findIndex((row) => row.contains(button));
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const row = rows[Math.min(Math.max(to, 0), rows.length - 1)];
    if (row) this.#focus(row);
  }

  /** Asks before it deletes or bans: neither brings messages back. */
  #open(row: HTMLElement, message: Message): void {
    const { author, text } = message;
    const wrong = h('p', { class: 'chat-wrong', role: 'alert' });
    const length = h(
      'select',
      { class: 'chat-field' },
      ...say.lengths.map(([value, label]) => h('option', { value, selected: value === '3600' }, label)),
    );
    const act = (run: () => Promise<void>): (() => void) => {
      return () => void this.#run(run, (why) => setText(wrong, why)).then((is) => is && dialog.close());
    };
    const remove = h('button', { type: 'button', class: 'button chat-danger' }, say.deleteMessage);
    remove.addEventListener(
      'click',
      act(() => this.#delete(message)),
    );
    const ban = h('button', { type: 'button', class: 'button chat-danger' }, say.ban(author));
    ban.addEventListener(
      'click',
      act(() => this.#ban(message, length)),
    );
    const cancel = h('button', { type: 'button', class: 'button' }, say.cancel);
    const dialog = h(
      'dialog',
      { class: 'chat-dialog', 'aria-labelledby': 'chat-dialog-title' },
      h('h2', { id: 'chat-dialog-title' }, say.messageOf(author)),
      h('blockquote', { dir: 'auto' }, text ?? ''),
      remove,
      message.role !== 'moderator' &&
        h(
          'div',
          { class: 'chat-ban', role: 'group', 'aria-label': say.ban(author) },
          h('label', { class: 'chat-label' }, say.banFor, length),
          ban,
          h('p', {}, say.banAbout),
        ),
      wrong,
      cancel,
    );
    cancel.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => {
      dialog.remove();
      this.#focus(row.isConnected ? row : this.#current);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What is quickest to do by mistake does nothing.
    cancel.focus();
  }

  /** Does one thing at a time. Resolves to whether it was done. */
  async #run(run: () => Promise<void>, refused: (why: string) => void): Promise<boolean> {
    if (this.#isBusy) return false;
    this.#isBusy = true;
    try {
      await run();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refused(say.failed(error.message));
      return false;
    } finally {
      this.#isBusy = false;
    }
  }

  #say(text: string, undo: (() => void) | null = null): void {
    setText(this.#done, text);
    setHidden(this.#undo, undo === null);
    this.#undo.onclick = undo;
  }

  async #delete({ id, author }: Message): Promise<void> {
    try {
      await ask(deleteStreamsStreamMessagesMessage, { path: { stream: this.#room.stream, message: id } });
    } catch (error) {
      // Somebody else was quicker.
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    }
    this.#say(say.deleted(author));
  }

  async #ban({ id, author }: Message, length: HTMLSelectElement): Promise<void> {
    const body = { message: id, for_s: Number(length.value) };
    const { value } = await ask(postStreamsStreamBans, { path: { stream: this.#room.stream }, body });
    const name = length.selectedOptions[0]?.text ?? '';
    this.#say(say.isBanned(author, name), () => void this.#lift(value));
    if (!this.#bans.hidden) await this.#showBans();
  }

  async #lift({ id, author }: Ban): Promise<void> {
    const done = await this.#run(
      async () => {
        await ask(deleteStreamsStreamBansBan, { path: { stream: this.#room.stream, ban: id } });
      },
      (why) => this.#say(why),
    );
    if (!done) return;
    this.#say(say.isUnbanned(author));
    if (this.#bans.hidden) return;
    await this.#showBans();
    (this.#bans.querySelector('button') ?? this.#opener).focus();
  }

  async #setPace(seconds: number): Promise<void> {
    const body = { chat: { slow_s: seconds } };
    const done = await this.#run(
      async () => {
        await ask(patchStreamsStream, { path: { stream: this.#room.stream }, body });
      },
      (why) => this.#say(why),
    );
    if (done) this.#say(say.slowIs(seconds));
  }

  async #toggleBans(): Promise<void> {
    const isOpen = this.#bans.hidden;
    if (isOpen) await this.#showBans();
    setHidden(this.#bans, !isOpen);
    this.#opener.setAttribute('aria-expanded', String(isOpen));
  }

  async #showBans(): Promise<void> {
    try {
      const query = { limit: BANS_MAX };
      const { value } = await ask(getStreamsStreamBans, { path: { stream: this.#room.stream }, query });
      this.#bans.replaceChildren(...value.items.map((ban) => this.#banRow(ban)));
      if (value.items.length === 0) this.#bans.append(h('li', {}, say.nobodyBanned));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#say(say.failed(error.message));
    }
  }

  #banRow(ban: Ban): HTMLElement {
    const until = new Date(ban.expires_at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    return h(
      'li',
      {},
      h('bdi', { class: 'chat-author' }, ban.author),
      h('span', { class: 'chat-tag' }, `#${ban.tag} ${say.bannedUntil(until)}`),
      h(
        'button',
        { type: 'button', class: 'chat-tool', onclick: () => void this.#lift(ban) },
        say.unban(ban.author),
      ),
    );
  }
}
