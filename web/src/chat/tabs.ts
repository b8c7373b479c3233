/** Two panels in one place, as tabs (ARIA Authoring Practices, "Tabs with manual activation"). */

import '../styles/tabs.css';
import { h, setHidden } from '../dom';

export interface Tab {
  id: string;
  label: string;
  panel: HTMLElement;
}

/** The list of tabs; the first one is chosen. `choose` chooses another by its id. */
export function tabs(label: string, all: Tab[]): { list: HTMLElement; choose(id: string): void } {
  const buttons = all.map(({ id, label, panel }) => {
    panel.id ||= `tab-panel-${id}`;
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', `tab-${id}`);
    return h(
      'button',
      { type: 'button', role: 'tab', class: 'tab', id: `tab-${id}`, 'aria-controls': panel.id },
      label,
    );
  });
  const choose = (id: string): void => {
    for (const [n, button] of buttons.entries()) {
      const isChosen = all[n]?.id === id;
      button.setAttribute('aria-selected', String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
      const panel = all[n]?.panel;
      if (panel) setHidden(panel, !isChosen);
    }
  };
  for (const [n, button] of buttons.entries())
    button.addEventListener('click', () => choose(all[n]?.id ?? ''));
  const list = h('div', { role: 'tablist', class: 'tabs', 'aria-label': label }, ...buttons);
  list.addEventListener('keydown', (event) => {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1 };
    const step = steps[event.key];
    const at = buttons.indexOf(event.target as HTMLButtonElement);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
  });
  choose(all[0]?.id ?? '');
  return { list, choose };
}
