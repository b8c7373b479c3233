/** Draws a rosette from a stream's name, so that a stream without a thumbnail has a picture of its own. */

import { svg } from '../dom';

const SIZE = 200;
const STEPS = 360;

/** FNV-1a with a final mix, 32 bits, so that similar names look different. Not for secrets. Pure. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const char of text) {
    value ^= char.codePointAt(0) ?? 0;
    value = Math.imul(value, 0x01000193) >>> 0;
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** A closed curve like the guilloche on a banknote. Pure. */
export function rosette(petals: number, depth: number, twist: number, radius: number): string {
  let path = '';
  for (let step = 0; step <= STEPS; step += 1) {
    const angle = (step / STEPS) * 2 * Math.PI;
    const wave = Math.cos(petals * angle + twist) + 0.4 * Math.cos(2 * petals * angle - twist);
    const r = radius * (1 + depth * wave);
    const x = SIZE / 2 + r * Math.cos(angle);
    const y = SIZE / 2 + r * Math.sin(angle);
    path += `${step === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
  }
  return `${path}Z`;
}

export function sealArt(name: string): SVGElement {
  const seed = hash(name);
  const petals = 7 + (seed % 9);
  const depth = 0.1 + ((seed >>> 4) % 10) / 70;
  const hue = (seed >>> 8) % 360;
  const rings = [];
  for (let ring = 0; ring < 11; ring += 1) {
    rings.push(
      svg('path', {
        d: rosette(petals, depth, (ring * Math.PI) / 5.5, 26 + ring * 5.4),
        fill: 'none',
        stroke: `hsl(${(hue + ring * 5) % 360} 62% ${66 - ring * 2}%)`,
        'stroke-width': '0.6',
        opacity: String(0.95 - ring * 0.06),
      }),
    );
  }
  return svg(
    'svg',
    { viewBox: '-78 0 356 200', class: 'art', 'aria-hidden': 'true', preserveAspectRatio: 'xMidYMid slice' },
    svg('rect', { x: '-78', y: '0', width: '356', height: '200', fill: `hsl(${hue} 26% 13%)` }),
    svg('circle', { cx: '100', cy: '100', r: '150', fill: `hsl(${hue} 45% 22%)`, opacity: '0.35' }),
    svg('circle', { cx: '100', cy: '100', r: '98', fill: `hsl(${hue} 50% 26%)`, opacity: '0.4' }),
    ...rings,
  );
}
