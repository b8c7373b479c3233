/** Covers a picture that does not move, and says why it does not. */

import { h } from '../dom';
import type { ViewState } from '../player/view-state';
import { type IconName, icon } from './icons';

interface Message {
  title: string;
  text: string;
  icon: IconName | 'spinner';
  action?: 'retry' | 'home';
}

const MESSAGES: Record<Exclude<ViewState, 'playing'>, Message> = {
  connecting: { title: 'Connecting…', text: '', icon: 'spinner' },
  buffering: { title: '', text: '', icon: 'spinner' },
  reconnecting: {
    title: 'The streamer is reconnecting…',
    text: 'The picture comes back by itself. You keep your place.',
    icon: 'spinner',
  },
  ended: {
    title: 'The stream has ended',
    text: 'Should it start again, it plays here by itself.',
    icon: 'flag',
    action: 'home',
  },
  offline: {
    title: 'This stream is not live',
    text: 'There is no stream of this name right now. If it starts, it plays here by itself.',
    icon: 'offline',
    action: 'home',
  },
  error: {
    title: 'The stream cannot be played',
    text: 'The connection failed several times in a row.',
    icon: 'offline',
    action: 'retry',
  },
  refused: {
    title: 'This link does not open the stream',
    text: 'Get a new link where this one came from.',
    icon: 'offline',
  },
  forged: {
    title: 'Stopped: this is not the stream that was sealed',
    text: 'What the server sent does not match the streamer’s signatures.',
    icon: 'shieldAlert',
  },
};

export interface Overlay {
  element: HTMLElement;
  show(view: ViewState, detail?: string): void;
}

export function overlay(onRetry: () => void): Overlay {
  const element = h('div', {
    class: 'overlay',
    slot: 'centered-chrome',
    noautohide: true,
    role: 'status',
    hidden: true,
  });
  let shown = '';
  return {
    element,
    show(view, detail) {
      const key = `${view} ${detail ?? ''}`;
      if (key === shown) return;
      shown = key;
      element.hidden = view === 'playing';
      element.dataset.view = view;
      if (view === 'playing') return element.replaceChildren();
      const message = MESSAGES[view];
      const retry = h(
        'button',
        { type: 'button', class: 'button button-primary' },
        icon('retry'),
        'Try again',
      );
      retry.addEventListener('click', onRetry);
      element.replaceChildren(
        message.icon === 'spinner' ? h('span', { class: 'spinner' }) : icon(message.icon, 'overlay-icon'),
        ...(message.title
          ? [h('strong', {}, message.title)]
          : [h('span', { class: 'visually-hidden' }, 'Buffering')]),
        ...(message.text ? [h('p', {}, detail ?? message.text)] : []),
        ...(message.action === 'retry' ? [retry] : []),
        ...(message.action === 'home' ? [h('a', { href: '/', class: 'button' }, 'See what is live')] : []),
      );
    },
  };
}
