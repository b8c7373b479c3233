/** `/watch/{stream}`: plays the stream, and shows what the node says it verified. */

import { rootOfFragment, StreamVerifier } from '../../verify/src';
import { fetchStream, NotFound, Refused } from '../api/client';
import { type Poll, poll } from '../api/poll';
import type { StreamDetail } from '../api/types';
import { maybeSignedIn } from '../chat/signed-in';
import { copyButton } from '../components/copy-button';
import { bareStage, picture } from '../components/picture';
import type { Stage } from '../components/stage';
import { statsPanel } from '../components/stats-panel';
import { stateTag } from '../components/stream-card';
import { type VerifiedPanel, verifiedPanel, verifiedState } from '../components/verified-panel';
import { h, setHidden, setText } from '../dom';
import { duration, rungLabel, seconds, topRung } from '../format';
import { dropMemberToken, keepMemberToken, viewerPath } from '../member-token';
import { abilities, cannotPlay } from '../player/browser-limits';
import type { EarlyJoin } from '../player/early';
import { Player } from '../player/player';
import { Recording } from '../player/recording';
import { type ApiState, shouldLoad, shouldStop, type ViewInputs, viewState } from '../player/view-state';
import { publishPlayer } from '../probe';
import { livePlaylist, posterImage } from '../routes';
import { watch as t } from '../text/en';

const POLL_MS = 2_000;
const POLL_HIDDEN_MS = 10_000;
/**
 * The page asks the node about the stream after the first picture, at once when the playlists do not come, or at the latest after this time.
 * Milliseconds.
 */
const FIRST_POLL_MS = 3_000;
/**
 * What is around the picture (controls, recording, chat, the check) comes this long after the first picture, or at once when there will be none
 * or the viewer reaches for it. On a busy machine, it would make the first pictures wait. Milliseconds.
 */
const DRESS_AFTER_PICTURE_MS = 1_500;
/** It comes at the latest after this time, milliseconds. */
const DRESS_MS = 5_000;
/** Interval at which the page redraws its numbers, milliseconds. */
const DRAW_MS = 500;

/** `Live for 12 min · 1080p60 · 4 qualities · ingest i1`. Pure. */
export function subtitle(detail: StreamDetail, nowMs: number): string {
  const top = topRung(detail.renditions);
  const since = detail.startedAt === null ? null : duration(nowMs - detail.startedAt);
  const when = since && (detail.state === 'ended' ? t.startedSinceAgo(since) : t.liveForSince(since));
  return [when, top && t.upToRunglabel(rungLabel(top)), detail.ingest && `from ${detail.ingest}`]
    .filter(Boolean)
    .join(' · ');
}

class Watch {
  readonly #stream: string;
  /** What stands before all paths: the viewer's token. */
  readonly #token: string;
  readonly #place: HTMLElement;
  readonly #player: Player;
  readonly #verifier: StreamVerifier;
  readonly #verified: VerifiedPanel = verifiedPanel(() => this.#trustNewRoot());
  readonly #stats = statsPanel();
  readonly #tag = h('span', { class: 'tag-slot' });
  readonly #latency = h('span', { class: 'latency-chip', hidden: true });
  readonly #side = h('aside', { class: 'side', 'aria-label': t.aboutThisStream });
  readonly #subtitle = h('p', { class: 'subtitle' });
  #detail: StreamDetail | null = null;
  #api: ApiState = 'unknown';
  #apiFailures = 0;
  #endedEpoch: number | null = null;
  #newSealAtMs = performance.now();
  #loads = 0;
  #playable = true;
  #polls: Poll | null = null;
  /** Why the node does not take the token. */
  #refusal: string | null = null;
  #stage: Stage | null = null;
  #isDressed = false;
  #hasPicture = false;
  #isEntering = false;
  #recording: Recording | null = null;

  constructor(stream: string, early: EarlyJoin | null) {
    this.#stream = stream;
    this.#token = viewerPath(stream);
    const video = picture(stream, posterImage(stream, this.#token));
    this.#place = bareStage(video);
    this.#side.append(this.#verified.panel, this.#stats.panel);
    this.#verifier = new StreamVerifier({
      url: livePlaylist(stream, this.#token),
      root: rootOfFragment(location.hash),
      onChange: () => this.#onChecks(),
    });
    this.#player = new Player(video, early, this.#verifier, () => this.#react());
    this.#publish();
    this.#react();
    setTimeout(() => void this.#dress(), DRESS_MS);
    setTimeout(() => this.#poll(), FIRST_POLL_MS);
    early?.asked.catch(() => this.#poll());
    for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      addEventListener(event, () => void this.#dress(), { once: true, passive: true });
    }
    setInterval(() => this.#draw(), DRAW_MS);
  }

  /** Puts the controls around the picture. They come after the first frame, because they take longer to make. */
  async #dress(): Promise<void> {
    if (this.#isDressed) return;
    this.#isDressed = true;
    const { stage } = await import('../components/stage');
    this.#stage = stage(this.#player.video, {
      seekToLive: () => this.#player.seekToLive(),
      seekTo: (dateMs) => void this.#player.seekTo(dateMs),
      thumbnail: (dateMs) => this.#recording?.thumbnail(dateMs) ?? null,
      chooseLevel: (index) => this.#player.chooseLevel(index),
      retry: () => this.#load(),
    });
    this.#place.replaceWith(this.#stage.element);
    if (this.#player.phase !== 'halted') this.#verifier.start();
    this.#furnish();
    this.#draw();
  }

  /** Follows what the node says of recording and chat. */
  #furnish(): void {
    const detail = this.#detail;
    if (!detail || !this.#isDressed) return;
    this.#record(detail);
    if (detail.hasChat)
      void import('../chat/beside').then((chat) => chat.attachChat(this.#side, this.#stream, this.#token));
  }

  element(): HTMLElement {
    return h(
      'main',
      { id: 'main', class: 'watch', tabindex: '-1' },
      h('div', { class: 'main-column' }, this.#place, this.#title()),
      this.#side,
    );
  }

  #title(): HTMLElement {
    // The token is the viewer's own.
    const address = (): string => (this.#token ? (location.href.split('#')[0] ?? '') : location.href);
    const share = copyButton(t.copyTheAddressOfThisPage, address, t.share);
    return h(
      'div',
      { class: 'title' },
      h('div', { class: 'title-text' }, h('h1', {}, this.#stream), this.#subtitle),
      h('div', { class: 'title-side' }, this.#tag, this.#latency, this.#verified.badge, share),
    );
  }

  #poll(): void {
    if (this.#polls) return;
    this.#polls = poll({
      ask: (signal) => fetchStream(this.#stream, this.#token, signal),
      onAnswer: (detail) => this.#onAnswer(detail),
      onFailure: (error, failures) => this.#onFailure(error, failures),
      intervalMs: POLL_MS,
      hiddenIntervalMs: POLL_HIDDEN_MS,
    });
  }

  #inputs(): ViewInputs {
    return { api: this.#api, player: this.#player.phase, apiFailures: this.#apiFailures };
  }

  #onAnswer(detail: StreamDetail): void {
    const before = this.#detail?.verified;
    if (
      detail.verified &&
      (detail.verified.sequence !== before?.sequence || detail.verified.digest !== before.digest)
    ) {
      this.#newSealAtMs = performance.now();
    }
    this.#detail = detail;
    this.#furnish();
    this.#api = detail.state;
    this.#apiFailures = 0;
    this.#react();
    if (detail.state === 'live') void this.#enterAsMember();
  }

  /** Begins again with a token, where nodes tell somebody who is signed in of a stream, and give its media to holders of tokens alone. */
  async #enterAsMember(): Promise<void> {
    if (this.#isEntering || this.#hasPicture || this.#token !== '' || !maybeSignedIn()) return;
    this.#isEntering = true;
    try {
      const { status } = await fetch(livePlaylist(this.#stream), { method: 'HEAD' });
      if (status !== 404) return;
      const token = await (await import('./member')).askForToken(this.#stream);
      if (token !== null && keepMemberToken(this.#stream, token, Date.now())) location.reload();
    } catch {
      // Control is away, or the network: the next answer of the node tries again.
      this.#isEntering = false;
    }
  }

  /** Follows the node's statement on DVR: without DVR there is no recording, and it may begin later. */
  #record({ dvr, thumbnails }: StreamDetail): void {
    if (dvr?.url === this.#recording?.url) return;
    this.#recording = dvr && new Recording(dvr, thumbnails);
    this.#player.setRecording(this.#recording);
    // The index makes the seek bar as long as the recording.
    void this.#recording?.refresh().catch(() => undefined);
  }

  /** Stops at the first thing that is wrong. */
  #onChecks(): void {
    if (this.#verifier.checks.phase === 'wrong' && this.#player.phase !== 'halted') {
      this.#player.halt();
      void this.#dress();
    }
    this.#draw();
  }

  /** For a viewer who has heard from the operator that the cluster has a new root key. */
  #trustNewRoot(): void {
    this.#verifier.forgetRoot();
    location.reload();
  }

  #onFailure(error: unknown, failures: number): void {
    this.#api = error instanceof NotFound ? 'missing' : 'unreachable';
    this.#apiFailures = failures;
    if (error instanceof Refused && dropMemberToken(this.#stream, Date.now())) {
      // It was for an hour. Whoever is still a member gets another.
      location.reload();
      return;
    }
    if (error instanceof Refused) {
      // It stays refused: only another link helps.
      this.#api = 'refused';
      this.#refusal = error.message || null;
      this.#polls?.stop();
      void this.#dress();
    }
    this.#react();
  }

  #load(): void {
    this.#loads += 1;
    this.#endedEpoch = null;
    this.#playable = this.#player.load(livePlaylist(this.#stream, this.#token));
    this.#draw();
  }

  #react(): void {
    const hasPicture = this.#player.phase === 'playing' || this.#player.phase === 'paused';
    if (hasPicture && !this.#hasPicture) {
      this.#hasPicture = true;
      this.#poll();
      setTimeout(() => void this.#dress(), DRESS_AFTER_PICTURE_MS);
    }
    // The controls say what there is instead of a picture.
    if (!hasPicture && viewState(this.#inputs()) !== 'connecting') void this.#dress();
    if (shouldStop({ api: this.#api, player: this.#player.phase })) this.#player.stop();
    const epoch = this.#detail?.epoch ?? null;
    if (this.#player.stats().endOfStream) this.#endedEpoch ??= epoch ?? 0;
    else this.#endedEpoch = null;
    const load = shouldLoad({
      api: this.#api,
      player: this.#player.phase,
      epoch,
      endedEpoch: this.#endedEpoch,
      finishedForMs: this.#player.finishedForMs,
    });
    if (load) this.#load();
    else this.#draw();
  }

  #draw(): void {
    const detail = this.#detail;
    this.#stage?.update(this.#player, this.#inputs(), this.#cover());
    this.#stats.update(this.#player);
    this.#drawLatency();
    setHidden(this.#side, this.#api === 'missing' || this.#api === 'refused');
    const known = detail && this.#api !== 'missing' ? detail : null;
    const sinceNewSealMs = performance.now() - this.#newSealAtMs;
    const live = this.#api === 'live' || this.#api === 'unreachable';
    const verified = known?.verified ?? null;
    this.#verified.update(
      verified,
      this.#api === 'missing' ? 'absent' : verifiedState(verified, known !== null, live, sinceNewSealMs),
    );
    this.#verified.check(this.#verifier.checks, this.#verifier.rootOrigin);
    const state = known?.state ?? null;
    document.title = t.valueStreamSealcast(state === 'live' ? '● ' : '', this.#stream);
    setText(this.#subtitle, known ? subtitle(known, Date.now()) : this.#api === 'missing' ? t.notLive : '');
    if (this.#tag.dataset.state !== (state ?? '')) {
      this.#tag.dataset.state = state ?? '';
      this.#tag.replaceChildren(...(state ? [stateTag(state)] : []));
    }
  }

  /** What the cover of the picture says in detail. */
  #cover(): string | undefined {
    const { phase, detail } = this.#verifier.checks;
    if (phase === 'wrong') return detail ?? undefined;
    if (this.#refusal !== null) return this.#refusal;
    return this.#playable ? undefined : (cannotPlay(abilities(this.#player.video)) ?? undefined);
  }

  #drawLatency(): void {
    const glass = this.#player.glassToGlassSeconds;
    const { latencySeconds } = this.#player.stats();
    setHidden(this.#latency, latencySeconds === null);
    setText(
      this.#latency,
      glass === null ? t.secondsBehindLive(seconds(latencySeconds)) : t.glassToGlassSeconds(seconds(glass)),
    );
    const title = glass === null ? t.distanceToTheLiveEdge : t.fromTheClockInThePicture;
    if (this.#latency.title !== title) this.#latency.title = title;
  }

  #publish(): void {
    const watch = this;
    const player = this.#player;
    const frames = (): VideoPlaybackQuality | undefined => player.video.getVideoPlaybackQuality?.();
    publishPlayer({
      stream: this.#stream,
      get engine() {
        return player.engineKind;
      },
      get view() {
        return viewState(watch.#inputs());
      },
      get api() {
        return watch.#api;
      },
      get phase() {
        return player.phase;
      },
      get currentTime() {
        return player.video.currentTime;
      },
      get paused() {
        return player.video.paused;
      },
      get muted() {
        return player.video.muted;
      },
      get latencySeconds() {
        return player.stats().latencySeconds;
      },
      get targetLatencySeconds() {
        return player.stats().targetSeconds;
      },
      get glassToGlassSeconds() {
        return player.glassToGlassSeconds;
      },
      get endToEndSeconds() {
        return player.stats().endToEndSeconds;
      },
      get origin() {
        return player.stats().origin;
      },
      get bufferSeconds() {
        return player.bufferSeconds();
      },
      get level() {
        return player.stats().level;
      },
      get autoLevel() {
        return player.stats().auto;
      },
      get levels() {
        return player.stats().levels;
      },
      get videoWidth() {
        return player.video.videoWidth;
      },
      get videoHeight() {
        return player.video.videoHeight;
      },
      get fatalErrors() {
        return player.stats().fatalErrors;
      },
      get nonFatalErrors() {
        return player.stats().nonFatalErrors;
      },
      get errors() {
        return player.stats().errors;
      },
      get stalls() {
        return player.stalls();
      },
      get watchdog() {
        return player.watchdog();
      },
      get startupMs() {
        return player.startupMs;
      },
      get firstFrame() {
        return player.firstFrame;
      },
      get span() {
        return player.span();
      },
      get playbackRate() {
        return player.video.playbackRate;
      },
      get droppedFrames() {
        return frames()?.droppedVideoFrames ?? 0;
      },
      get decodedFrames() {
        return frames()?.totalVideoFrames ?? 0;
      },
      get loads() {
        return watch.#loads;
      },
      get checks() {
        return watch.#verifier.checks;
      },
      get verified() {
        return watch.#detail?.verified ?? null;
      },
      actions: {
        chooseLevel: (index: number) => player.chooseLevel(index),
        seekToLive: () => player.seekToLive(),
        seekTo: (dateMs: number) => void player.seekTo(dateMs),
      },
    });
  }
}

export function watchPage(stream: string, early: EarlyJoin | null): HTMLElement {
  return new Watch(stream, early).element();
}
