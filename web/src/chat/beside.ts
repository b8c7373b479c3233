/** The chat beside the player. Loaded once the picture plays, where the stream has a chat. */

import { h } from '../dom';
import { chat as say } from '../text/en-later';
import { Chat } from './panel';
import { maybeSignedIn } from './signed-in';
import { tabs } from './tabs';

async function enterAccount(chat: Chat, stream: string): Promise<void> {
  const { readAccount } = await import('./account');
  // While control does not say who is signed in, nobody writes anyway.
  const account = await readAccount(stream).catch(() => null);
  if (account) await chat.enter(account);
}

/** Adds the chat of a stream, once; not in a frame, which has the player alone. `token` stands before the paths of a viewer who has one. */
export function attachChat(side: HTMLElement, stream: string, token: string): void {
  if (side.querySelector('.chat') || document.documentElement.classList.contains('embedded')) return;
  // What was there goes behind a tab and keeps its place there, so that nothing on screen moves.
  const proof = h('div', { class: 'side-proof' }, ...Array.from(side.children));
  const chat = new Chat(stream, token);
  const { panel } = chat;
  if (maybeSignedIn()) void enterAccount(chat, stream);
  const { list, choose } = tabs(say.beside, [
    { id: 'chat', label: say.title, panel },
    { id: 'proof', label: say.proofTab, panel: proof },
  ]);
  side.append(list, panel, proof);
  // The badge leads to what it stands for.
  document.querySelector('.badge')?.addEventListener('click', () => choose('proof'), { capture: true });
}
