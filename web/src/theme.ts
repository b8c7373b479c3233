/** Dark unless the viewer chose light; the choice stays on this device. */

export type Theme = 'dark' | 'light';

const KEY = 'sealcast-theme';
const BROWSER_BAR: Record<Theme, string> = { dark: '#100f13', light: '#faf7f4' };

export function currentTheme(): Theme {
  return document.documentElement.dataset.theme === 'light' ? 'light' : 'dark';
}

function show(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', BROWSER_BAR[theme]);
}

/** Storage may be refused (private windows); the theme then lasts as long as the page. */
export function restoreTheme(): void {
  try {
    if (localStorage.getItem(KEY) === 'light') show('light');
  } catch {
    // No storage: dark.
  }
}

export function toggleTheme(): void {
  const theme = currentTheme() === 'dark' ? 'light' : 'dark';
  show(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // No storage: until the page is left.
  }
}
