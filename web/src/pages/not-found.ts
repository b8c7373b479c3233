/** The page for any other path. */

import { h } from '../dom';
import { notFound as t } from '../text/en';

export function notFoundPage(): HTMLElement {
  document.title = t.notFoundSealcast;
  return h(
    'main',
    { id: 'main', class: 'home', tabindex: '-1' },
    h(
      'div',
      { class: 'empty' },
      h('h1', {}, t.thereIsNothingAtThisAddress),
      h('p', {}, t.theLinkMayBeOldOr),
      h('a', { href: '/', class: 'button button-primary' }, t.seeWhatIsLive),
    ),
  );
}
