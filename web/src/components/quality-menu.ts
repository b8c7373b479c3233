/** The button that shows the current rung, and its menu: automatic, or one rung. */

import { h, setHidden, setText } from '../dom';
import { bitrate, rungLabel } from '../format';
import type { EngineStats } from '../player/engine';
import { qualityMenu as t } from '../text/en';
import { icon } from './icons';

const AUTO = -1;

export interface QualityMenu {
  element: HTMLElement;
  update(stats: EngineStats): void;
}

/** Indexes of the rungs, best picture first. Pure. */
export function menuOrder(stats: Pick<EngineStats, 'levels'>): number[] {
  return stats.levels
    .map((level, index) => ({ index, height: level.height ?? 0, bitrate: level.bitrate }))
    .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
    .map(({ index }) => index);
}

export function qualityMenu(choose: (index: number) => void, onToggle: (open: boolean) => void): QualityMenu {
  const label = h('span', { class: 'quality-label' }, t.auto);
  const button = h(
    'button',
    {
      type: 'button',
      class: 'control',
      'aria-haspopup': 'menu',
      'aria-expanded': 'false',
      'aria-label': t.quality,
    },
    icon('sliders'),
    label,
  );
  const menu = h('div', { class: 'menu', role: 'menu', 'aria-label': t.quality, hidden: true });
  const element = h('div', { class: 'quality', hidden: true }, button, menu);
  let drawn = '';

  const items = (): HTMLElement[] => [...menu.querySelectorAll<HTMLElement>('[role="menuitemradio"]')];
  const open = (): void => {
    setHidden(menu, false);
    button.setAttribute('aria-expanded', 'true');
    onToggle(true);
    (items().find((item) => item.getAttribute('aria-checked') === 'true') ?? items()[0])?.focus();
  };
  const close = (returnFocus: boolean): void => {
    if (menu.hidden) return;
    setHidden(menu, true);
    button.setAttribute('aria-expanded', 'false');
    onToggle(false);
    if (returnFocus) button.focus();
  };
  const move = (step: number): void => {
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + step + all.length) % all.length]?.focus();
  };

  button.addEventListener('click', () => (menu.hidden ? open() : close(true)));
  element.addEventListener('keydown', (event) => {
    const actions: Record<string, () => void> = {
      Escape: () => close(true),
      ArrowDown: () => (menu.hidden ? open() : move(1)),
      ArrowUp: () => (menu.hidden ? open() : move(-1)),
      Home: () => items()[0]?.focus(),
      End: () => items().at(-1)?.focus(),
    };
    const action = actions[event.key];
    // The player also listens for arrows and letters; inside the menu, they belong to the menu.
    event.stopPropagation();
    if (!action) return;
    event.preventDefault();
    action();
  });
  element.addEventListener('keyup', (event) => event.stopPropagation());
  element.addEventListener('focusout', (event) => {
    if (!element.contains(event.relatedTarget as Node | null)) close(false);
  });

  const item = (index: number, name: string, detail: string, checked: boolean): HTMLElement => {
    const entry = h(
      'button',
      {
        type: 'button',
        role: 'menuitemradio',
        'aria-checked': String(checked),
        tabindex: '-1',
        class: 'menu-item',
      },
      icon('check'),
      h('span', {}, name),
      h('span', { class: 'menu-detail' }, detail),
    );
    entry.addEventListener('click', () => {
      choose(index);
      close(true);
    });
    return entry;
  };

  return {
    element,
    update(stats) {
      const current = stats.levels[stats.level];
      const name = current ? rungLabel(current) : '';
      setHidden(element, stats.levels.length === 0);
      setText(label, stats.auto ? (name ? `Auto · ${name}` : t.auto) : name || '…');
      button.setAttribute('aria-label', `Quality, ${label.textContent}`);
      const next = JSON.stringify([stats.levels, stats.auto, stats.auto ? AUTO : stats.level, name]);
      if (next === drawn) return;
      drawn = next;
      const hadFocus = items().indexOf(document.activeElement as HTMLElement);
      menu.replaceChildren(
        item(AUTO, t.auto, stats.auto ? name : '', stats.auto),
        ...menuOrder(stats).flatMap((index) => {
          const level = stats.levels[index];
          return level
            ? [item(index, rungLabel(level), bitrate(level.bitrate), !stats.auto && index === stats.level)]
            : [];
        }),
      );
      if (hadFocus >= 0) items()[hadFocus]?.focus();
    },
  };
}
