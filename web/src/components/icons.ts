/** The icons of the page, 24 × 24, drawn in the current colour. */

import { svg } from '../dom';

const PATHS = {
  shield: 'M12 2.8 4.8 5.6v5.6c0 4.7 3 8.5 7.2 10 4.2-1.5 7.2-5.3 7.2-10V5.6L12 2.8Z',
  shieldCheck:
    'M12 2.8 4.8 5.6v5.6c0 4.7 3 8.5 7.2 10 4.2-1.5 7.2-5.3 7.2-10V5.6L12 2.8Zm-3.4 9 2.5 2.5 4.5-4.8',
  shieldAlert: 'M12 2.8 4.8 5.6v5.6c0 4.7 3 8.5 7.2 10 4.2-1.5 7.2-5.3 7.2-10V5.6L12 2.8Zm0 5v5m0 3h.01',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  muted: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4Zm12 0 5 5m0-5-5 5',
  sliders: 'M4 7h9m5 0h2M4 17h3m5 0h8M13 4.5v5M7 14.5v5m0-12.5',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Zm0-5v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4m0-12.8L17 7M7 17l-1.4 1.4',
  moon: 'M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5Z',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1',
  back: 'm14.5 5-7 7 7 7',
  retry: 'M19 12a7 7 0 1 1-2-5m2.5-2.5V8H16',
  offline: 'M4 4l16 16M8.5 15.5a5 5 0 0 1 5-1.2M5.5 12.5a9 9 0 0 1 4-2.3m5-.1a9 9 0 0 1 4 2.4M12 19h.01',
  flag: 'M6 21V4m0 1c4-2.5 8 2.5 12 0v9c-4 2.5-8-2.5-12 0',
  signal:
    'M12 12h.01M8.5 15.5a5 5 0 0 1 0-7m7 0a5 5 0 0 1 0 7M5.6 18.4a9 9 0 0 1 0-12.8m12.8 0a9 9 0 0 1 0 12.8',
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative icon; the text beside it or the button's label gives its meaning. */
export function icon(name: IconName, className = 'icon'): SVGElement {
  return svg(
    'svg',
    { viewBox: '0 0 24 24', class: className, 'aria-hidden': 'true', focusable: 'false' },
    svg('path', {
      d: PATHS[name],
      fill: 'none',
      stroke: 'currentColor',
      'stroke-width': '1.8',
      'stroke-linecap': 'round',
      'stroke-linejoin': 'round',
    }),
  );
}
