/** The bar at the top of every page, with the name and the theme switch. */

import { h } from '../dom';
import faviconUrl from '../icons/favicon.svg';
import { header as t } from '../text/en';
import { currentTheme, toggleTheme } from '../theme';
import { icon } from './icons';

function themeButton(): HTMLButtonElement {
  const button = h('button', { type: 'button', class: 'icon-button' });
  const draw = (): void => {
    const dark = currentTheme() === 'dark';
    const label = dark ? t.switchToLightColours : t.switchToDarkColours;
    button.setAttribute('aria-label', label);
    button.title = label;
    button.replaceChildren(icon(dark ? 'sun' : 'moon'));
  };
  button.addEventListener('click', () => {
    toggleTheme();
    draw();
  });
  draw();
  return button;
}

export function header(): HTMLElement {
  return h(
    'header',
    { class: 'header' },
    h(
      'a',
      { href: '/', class: 'brand', 'aria-label': t.sealcastLiveStreams },
      h('img', { src: faviconUrl, alt: '', width: 30, height: 30 }),
      h('span', {}, 'Sealcast'),
    ),
    h(
      'nav',
      { class: 'header-side', 'aria-label': 'Sealcast' },
      h('a', { href: '/studio' }, t.studio),
      themeButton(),
    ),
  );
}

/** A link that lets a keyboard user skip the header. */
export function skipLink(): HTMLElement {
  return h('a', { href: '#main', class: 'skip' }, t.skipToContent);
}
