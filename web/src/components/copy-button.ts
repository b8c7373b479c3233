/** A button that copies a text and says so, also to a screen reader. */

import { h } from '../dom';
import { copyButton as t } from '../text/en';
import { icon } from './icons';

/** How long "Copied" is shown, milliseconds. */
const COPIED_MS = 1_600;

/** `text` is called at the click, so that the button copies the current value. */
export function copyButton(label: string, text: () => string, caption?: string): HTMLButtonElement {
  const status = h('span', { class: 'visually-hidden', role: 'status' });
  const shown = caption ? h('span', {}, caption) : null;
  const button = h(
    'button',
    {
      type: 'button',
      class: caption ? 'button' : 'icon-button',
      'aria-label': caption ? null : label,
      title: label,
    },
    icon(caption ? 'link' : 'copy'),
    shown,
    status,
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  button.addEventListener('click', async () => {
    const done = await copy(text());
    status.textContent = done ? t.copied : t.copyingFailed;
    if (shown) shown.textContent = done ? t.copied : t.copyingFailed;
    button.classList.toggle('done', done);
    clearTimeout(timer);
    timer = setTimeout(() => {
      status.textContent = '';
      if (shown) shown.textContent = caption ?? '';
      button.classList.remove('done');
    }, COPIED_MS);
  });
  return button;
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
