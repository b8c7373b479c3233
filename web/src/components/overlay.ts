/** Covers a picture that does not move, and says why it does not. */

import { h } from '../dom';
import type { ViewState } from '../player/view-state';
import { overlay as t } from '../text/en';
import { type IconName, icon } from './icons';

interface Message {
  title: string;
  text: string;
  icon: IconName | 'spinner';
  action?: 'retry' | 'home';
}

const MESSAGES: Record<Exclude<ViewState, 'playing'>, Message> = {
  connecting: { title: t.connecting, text: '', icon: 'spinner' },
  buffering: { title: '', text: '', icon: 'spinner' },
  reconnecting: {
    title: t.theStreamerIsReconnecting,
    text: t.thePictureComesBackByItself,
    icon: 'spinner',
  },
  ended: {
    title: t.theStreamHasEnded,
    text: t.shouldItStartAgainItPlays,
    icon: 'flag',
    action: 'home',
  },
  offline: {
    title: t.thisStreamIsNotLive,
    text: t.thereIsNoStreamOfThis,
    icon: 'offline',
    action: 'home',
  },
  error: {
    title: t.theStreamCannotBePlayed,
    text: t.theConnectionFailedSeveralTimesIn,
    icon: 'offline',
    action: 'retry',
  },
  refused: {
    title: t.thisLinkDoesNotOpenThe,
    text: t.getANewLinkWhereThis,
    icon: 'offline',
  },
  forged: {
    title: t.stoppedThisIsNotTheStream,
    text: t.whatTheServerSentDoesNot,
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
        t.tryAgain,
      );
      retry.addEventListener('click', onRetry);
      element.replaceChildren(
        message.icon === 'spinner' ? h('span', { class: 'spinner' }) : icon(message.icon, 'overlay-icon'),
        ...(message.title
          ? [h('strong', {}, message.title)]
          : [h('span', { class: 'visually-hidden' }, t.buffering)]),
        ...(message.text ? [h('p', {}, detail ?? message.text)] : []),
        ...(message.action === 'retry' ? [retry] : []),
        ...(message.action === 'home' ? [h('a', { href: '/', class: 'button' }, t.seeWhatIsLive)] : []),
      );
    },
  };
}
