/** The page for any other path. */

import { h } from '../dom';

export function notFoundPage(): HTMLElement {
  document.title = 'Not found · Sealcast';
  return h(
    'main',
    { id: 'main', class: 'home', tabindex: '-1' },
    h(
      'div',
      { class: 'empty' },
      h('h1', {}, 'There is nothing at this address'),
      h('p', {}, 'The link may be old, or mistyped.'),
      h('a', { href: '/', class: 'button button-primary' }, 'See what is live'),
    ),
  );
}
