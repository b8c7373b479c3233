/** The theme: dark, unless the person chose light, or what the system says, on this device. */

export type Theme = 'dark' | 'light';
export type ThemeChoice = Theme | 'system';

const KEY = 'sealcast-theme';
const BROWSER_BAR: Record<Theme, string> = { dark: '#100f13', light: '#faf7f4' };
const prefersLight = (): MediaQueryList => matchMedia('(prefers-color-scheme: light)');

let choice: ThemeChoice = 'dark';

export function currentTheme(): Theme {
  return document.documentElement.dataset.theme === 'light' ? 'light' : 'dark';
}

export function themeChoice(): ThemeChoice {
  return choice;
}

function show(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', BROWSER_BAR[theme]);
}

function apply(): void {
  if (choice === 'system') show(prefersLight().matches ? 'light' : 'dark');
  else show(choice);
}

/** The browser may refuse storage (private windows); the choice then lasts as long as the page. */
export function restoreTheme(): void {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === 'light' || kept === 'system') choice = kept;
  } catch {
    // Without storage, the theme is dark.
  }
  apply();
  prefersLight().addEventListener('change', apply);
}

export function chooseTheme(wanted: ThemeChoice): void {
  choice = wanted;
  apply();
  try {
    localStorage.setItem(KEY, wanted);
  } catch {
    // Without storage, the choice lasts until the person leaves the page.
  }
}

export function toggleTheme(): void {
  chooseTheme(currentTheme() === 'dark' ? 'light' : 'dark');
}
