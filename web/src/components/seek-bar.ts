/** The seek bar of a recording, for mouse, finger and keyboard. It previews the picture and the time of the moment under the pointer. */

import { h, setHidden, setText } from '../dom';
import { clockTime, timeSpan } from '../format';
import type { Span } from '../player/engine';
import { seekBar as t } from '../text/en';

/** Steps of the arrow keys, and of Page Up and Page Down, seconds. */
const STEP_SECONDS = 10;
const LEAP_SECONDS = 60;

export interface SeekBarActions {
  seekTo(dateMs: number): void;
  seekToLive(): void;
  /** URL of the picture of a moment, milliseconds since 1970; null when there is none, or none yet. */
  thumbnail(dateMs: number): string | null;
}

export interface SeekBar {
  element: HTMLElement;
  /** Draws the span; null hides the bar. */
  update(span: Span | null): void;
}

/** Position of a moment on the bar, 0 to 1. Pure. */
export function fraction({ startMs, endMs }: Span, dateMs: number): number {
  return endMs > startMs ? Math.min(1, Math.max(0, (dateMs - startMs) / (endMs - startMs))) : 1;
}

/** The moment at a position on the bar, 0 to 1. Pure. */
export function momentAt({ startMs, endMs }: Span, place: number): number {
  return startMs + Math.min(1, Math.max(0, place)) * (endMs - startMs);
}

/** The moment that a key seeks to; `live` is the live edge, null a key that the bar ignores. Pure. */
export function keyMoment(key: string, span: Span): number | 'live' | null {
  const from = span.positionMs ?? span.endMs;
  const steps: Record<string, number> = {
    ArrowLeft: -STEP_SECONDS,
    ArrowDown: -STEP_SECONDS,
    ArrowRight: STEP_SECONDS,
    ArrowUp: STEP_SECONDS,
    PageDown: -LEAP_SECONDS,
    PageUp: LEAP_SECONDS,
  };
  if (key === 'Home') return span.startMs;
  if (key === 'End') return 'live';
  const step = steps[key];
  if (step === undefined) return null;
  const moment = from + 1_000 * step;
  return moment >= span.endMs ? 'live' : Math.max(span.startMs, moment);
}

function preview(): { element: HTMLElement; show(url: string | null, time: string): void } {
  const image = h('img', { class: 'seek-picture', alt: '', decoding: 'async', hidden: true });
  const label = h('span', { class: 'seek-time' });
  image.addEventListener('error', () => setHidden(image, true));
  image.addEventListener('load', () => setHidden(image, false));
  return {
    element: h('div', { class: 'seek-preview', 'aria-hidden': 'true', hidden: true }, image, label),
    show(url, time) {
      setText(label, time);
      if (url === null) setHidden(image, true);
      else if (image.getAttribute('src') !== url) image.setAttribute('src', url);
      else if (image.complete && image.naturalWidth > 0) setHidden(image, false);
    },
  };
}

export function seekBar(actions: SeekBarActions): SeekBar {
  const pointed = preview();
  const element = h(
    'div',
    { class: 'seek', role: 'slider', tabindex: '0', 'aria-label': t.goBackInTheStream, hidden: true },
    h('div', { class: 'seek-track' }, h('div', { class: 'seek-played' })),
    h('div', { class: 'seek-thumb' }),
    pointed.element,
  );
  let span: Span | null = null;
  let isDragged = false;

  const place = (event: PointerEvent): number => {
    const { left, width } = element.getBoundingClientRect();
    return width > 0 ? (event.clientX - left) / width : 1;
  };
  const draw = (dateMs: number): void => {
    if (span) element.style.setProperty('--at', `${(100 * fraction(span, dateMs)).toFixed(3)}%`);
  };
  const point = (event: PointerEvent): void => {
    if (!span) return;
    const moment = momentAt(span, place(event));
    element.style.setProperty('--pointed', `${(100 * fraction(span, moment)).toFixed(3)}%`);
    const behind = timeSpan((span.endMs - moment) / 1_000);
    pointed.show(actions.thumbnail(moment), `${clockTime(moment)} · −${behind}`);
    setHidden(pointed.element, false);
    if (isDragged) draw(moment);
  };

  element.addEventListener('pointermove', point);
  element.addEventListener('pointerleave', () => setHidden(pointed.element, !isDragged));
  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    isDragged = true;
    element.setPointerCapture(event.pointerId);
    point(event);
  });
  const end = (event: PointerEvent, isMeant: boolean): void => {
    if (!isDragged || !span) return;
    isDragged = false;
    setHidden(pointed.element, event.pointerType !== 'mouse');
    const at = place(event);
    if (isMeant) at >= 1 ? actions.seekToLive() : actions.seekTo(momentAt(span, at));
  };
  element.addEventListener('pointerup', (event) => end(event, true));
  element.addEventListener('pointercancel', (event) => end(event, false));
  // The player pauses at a click on the picture; a click on the bar must not reach it.
  element.addEventListener('click', (event) => event.stopPropagation());
  element.addEventListener('keydown', (event) => {
    const moment = span && keyMoment(event.key, span);
    if (moment === null) return;
    event.preventDefault();
    event.stopPropagation();
    if (moment === 'live') actions.seekToLive();
    else actions.seekTo(moment);
  });

  return {
    element,
    update(next) {
      span = next;
      setHidden(element, next === null);
      if (!next || isDragged) return;
      const positionMs = next.positionMs ?? next.endMs;
      draw(positionMs);
      const behind = Math.round((next.endMs - positionMs) / 1_000);
      const values = {
        'aria-valuemin': '0',
        'aria-valuemax': String(Math.round((next.endMs - next.startMs) / 1_000)),
        'aria-valuenow': String(Math.round((positionMs - next.startMs) / 1_000)),
        'aria-valuetext': t.clocktimeTimespanBehindTheLiveEdge(clockTime(positionMs), timeSpan(behind)),
      };
      for (const [name, value] of Object.entries(values)) {
        if (element.getAttribute(name) !== value) element.setAttribute(name, value);
      }
    },
  };
}
