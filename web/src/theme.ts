/** The theme: dark, unless the viewer chose light on this device. */

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

/** The browser may refuse storage (private windows); the choice then lasts as long as the page. */
export function restoreTheme(): void {
  try {
    if (localStorage.getItem(KEY) === 'light') show('light');
  } catch {
    // Without storage, the theme is dark.
  }
}

export function toggleTheme(): void {
  const theme = currentTheme() === 'dark' ? 'light' : 'dark';
  show(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Without storage, the choice lasts until the viewer leaves the page.
  }
}
