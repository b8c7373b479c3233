/** Formats values as text for people. Pure. */

import type { Rendition } from './api/types';
import { format as t } from './text/en';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. Never negative, although clocks of two machines differ. */
export function duration(ms: number): string {
  const span = Math.max(0, ms);
  if (span < MINUTE) return `${Math.floor(span / SECOND)} s`;
  if (span < HOUR) return t.valueMin(Math.floor(span / MINUTE));
  const [big, small, bigName, smallName] = span < DAY ? [HOUR, MINUTE, 'h', 'min'] : [DAY, HOUR, 'd', 'h'];
  const rest = Math.floor((span % big) / small);
  const whole = `${Math.floor(span / big)} ${bigName}`;
  return rest === 0 ? whole : `${whole} ${rest} ${smallName}`;
}

/** Seconds with one decimal: `2.4 s`. */
export function seconds(value: number | null): string {
  return value === null ? '–' : `${value.toFixed(1)} s`;
}

/** `0:07`, `12:34`, `1:02:03`: a distance in a recording. */
export function timeSpan(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3_600), Math.floor(whole / 60) % 60];
  return hours === 0 ? `${minutes}:${two(whole % 60)}` : `${hours}:${two(minutes)}:${two(whole % 60)}`;
}

/** Distance to the live edge, for the live button: `2.1 s`, `−12:34`. */
export function behindLive(seconds: number | null): string {
  if (seconds === null) return '–.– s';
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `−${timeSpan(seconds)}`;
}

/** First and last characters of a digest or key, enough to compare by eye. */
export function short(hex: string): string {
  return hex.length <= 16 ? hex : `${hex.slice(0, 8)}…${hex.slice(-8)}`;
}

export function bitrate(bitsPerSecond: number): string {
  if (bitsPerSecond >= 1_000_000) return `${(bitsPerSecond / 1_000_000).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1_000)} kbit/s`;
}

/** `1080p`, and `1080p60` when the frame rate is above the usual 30. */
export function rungLabel(rung: {
  width: number | null;
  height: number | null;
  frameRate: number | null;
}): string {
  if (rung.height === null) return t.audio;
  const side = rung.width === null ? rung.height : Math.min(rung.width, rung.height);
  const fast = rung.frameRate !== null && rung.frameRate > 31;
  return `${side}p${fast ? Math.round(rung.frameRate ?? 0) : ''}`;
}

/** The highest video rendition of a ladder, or null when it has none. */
export function topRung(renditions: Rendition[]): Rendition | null {
  return renditions
    .filter((rendition) => rendition.height !== null)
    .reduce<Rendition | null>((best, next) => ((next.height ?? 0) > (best?.height ?? 0) ? next : best), null);
}

export function clockTime(ms: number | null): string {
  if (ms === null) return '–';
  return new Date(ms).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

export function integer(value: number): string {
  return value.toLocaleString('en-US').replaceAll(',', '\u202f');
}
