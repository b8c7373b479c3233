/** What surrounds the picture: controls, live button, latency, seek bar, overlays. */

import { stage as t } from '../text/en';
import '../player/chrome';
import { h, setHidden, setText } from '../dom';
import { behindLive } from '../format';
import type { Player } from '../player/player';
import { banner, type ViewInputs, viewState } from '../player/view-state';
import { icon } from './icons';
import { overlay } from './overlay';
import { qualityMenu } from './quality-menu';
import { type SeekBarActions, seekBar } from './seek-bar';

/** Seconds without movement after which the controls hide. */
const AUTOHIDE_SECONDS = '3';

export interface Stage {
  element: HTMLElement;
  update(player: Player, inputs: ViewInputs, detail?: string): void;
}

export interface StageActions extends SeekBarActions {
  chooseLevel(index: number): void;
  retry(): void;
}

function liveButton(onClick: () => void): {
  element: HTMLElement;
  update(atEdge: boolean, latency: number | null): void;
} {
  const text = h('span', { class: 'latency' });
  const element = h(
    'button',
    { type: 'button', class: 'control live', title: t.jumpToTheLiveEdgeL },
    h('span', { class: 'dot' }),
    h('span', { class: 'live-word' }, 'LIVE'),
    text,
  );
  element.addEventListener('click', onClick);
  return {
    element,
    update(atEdge, latency) {
      element.classList.toggle('at-edge', atEdge);
      setText(text, behindLive(latency));
      const behind = latency === null ? '' : t.valueSecondsBehindTheLiveEdge(latency.toFixed(0));
      const label = `${atEdge ? t.live : t.jumpToTheLiveEdge}${behind}`;
      if (element.getAttribute('aria-label') !== label) element.setAttribute('aria-label', label);
    },
  };
}

/** True when the focused element takes no keys itself. A click on empty space gives `main` the focus. */
function isIdle(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target === document.body || target.id === 'main');
}

/** Adds the keys that work on the whole page, not only when the player has the focus. */
function pageKeys(controller: HTMLElement, video: HTMLVideoElement, actions: StageActions): void {
  const keys: Record<string, () => void> = {
    l: actions.seekToLive,
    m: () => {
      video.muted = !video.muted;
    },
    k: () => void (video.paused ? video.play().catch(() => undefined) : video.pause()),
    f: () => void (document.fullscreenElement ? document.exitFullscreen() : controller.requestFullscreen?.()),
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    const inPlayer = controller.contains(event.target as Node);
    // Inside the player, Media Chrome handles its own keys, so only `l` is handled here.
    if (inPlayer ? key === 'l' : isIdle(event.target)) keys[key]?.();
  });
}

export function stage(video: HTMLVideoElement, actions: StageActions): Stage {
  const over = overlay(actions.retry);
  const live = liveButton(actions.seekToLive);
  const bannerElement = h('div', {
    class: 'banner',
    slot: 'top-chrome',
    noautohide: true,
    role: 'status',
    hidden: true,
  });
  const unmute = h(
    'button',
    { type: 'button', class: 'unmute', slot: 'top-chrome', noautohide: true, hidden: true },
    icon('muted'),
    t.tapForSound,
  );
  unmute.addEventListener('click', () => {
    video.muted = false;
    if (video.volume === 0) video.volume = 1;
  });

  const controller = h('media-controller', {
    class: 'player',
    autohide: AUTOHIDE_SECONDS,
    defaultstreamtype: 'live',
    // After a pause, playback resumes where it was; `player.ts` decides what to do when that has left the window.
    noautoseektolive: true,
    novolumepref: true,
    nosubtitleslangpref: true,
    hotkeys: 'noarrowleft noarrowright',
  });
  const quality = qualityMenu(actions.chooseLevel, (open) => {
    controller.setAttribute('autohide', open ? '-1' : AUTOHIDE_SECONDS);
  });
  const seek = seekBar(actions);
  controller.append(
    video,
    h('div', { class: 'top', slot: 'top-chrome', noautohide: true }, unmute, bannerElement),
    over.element,
    seek.element,
    h(
      'media-control-bar',
      { class: 'bar' },
      h('media-play-button', {}),
      h('media-mute-button', {}),
      h('media-volume-range', {}),
      live.element,
      h('span', { class: 'spacer' }),
      quality.element,
      h('media-pip-button', {}),
      h('media-fullscreen-button', {}),
    ),
  );
  pageKeys(controller, video, actions);

  return {
    element: h('div', { class: 'stage' }, controller),
    update(player, inputs, detail) {
      const stats = player.stats();
      const view = viewState(inputs);
      over.show(view, detail);
      controller.dataset.view = view;
      live.update(player.atLiveEdge(), stats.latencySeconds);
      quality.update(stats);
      seek.update(view === 'offline' || view === 'ended' ? null : player.span());
      setHidden(unmute, !(video.muted || video.volume === 0) || view !== 'playing');
      const line = banner(inputs);
      setHidden(bannerElement, line === null);
      setText(bannerElement, line ?? '');
    },
  };
}
