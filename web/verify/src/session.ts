/**
 * Checks one stream: asks the node for control's word and for seals, and compares the objects that the player loads. Runs in a worker;
 * knows no worker itself, so that tests run it in Node.js.
 */

import type { Core, Refusal, Standing } from './core';

/**
 * `starting`: nothing is checked yet. `checked`: every object so far is what a seal names. `behind`: objects wait, and the node does not
 * answer what is needed to check them. `wrong`: something is not what was sealed, or the root key is another one.
 * `impossible`: this browser's player does not hand out its bytes.
 */
export type Phase = 'starting' | 'checked' | 'behind' | 'wrong' | 'impossible';

export interface Checks {
  phase: Phase;
  /** What is wrong, or why the checks are behind; one sentence for a person. */
  detail: string | null;
  /** True when the node speaks for another root key than the expected one. */
  isOtherRoot: boolean;
  /** Seals that count. */
  seals: number;
  /** Objects that are what a seal names, of so many loaded. */
  objects: number;
  loaded: number;
  /** Objects that are not checked: older than the node's log, or loaded before the checks could begin. */
  unchecked: number;
  /** The key that signed the newest seal, and the ingest that has it. */
  key: string | null;
  node: string | null;
  epoch: number | null;
  sequence: number | null;
  /** SHA-256 of the root key, hexadecimal. */
  root: string | null;
  /** When control last said who may seal, by its clock; milliseconds since 1970. */
  saidAt: number | null;
  /** Time spent on checking, milliseconds. */
  busyMs: number;
}

export const NOTHING: Checks = {
  phase: 'starting',
  detail: null,
  isOtherRoot: false,
  seals: 0,
  objects: 0,
  loaded: 0,
  unchecked: 0,
  key: null,
  node: null,
  epoch: null,
  sequence: null,
  root: null,
  saidAt: null,
  busyMs: 0,
};

export interface Place {
  /** The server, `https://host:port`, and what may stand before `/live/`. */
  base: string;
  stream: string;
}

/** Shortest time between two questions for seals. A viewer of half-second parts asks once for two of them. */
const SEALS_MS = 1_000;
/** Time between two questions for control's word, while all is well: so old may a revocation be. */
const TRUST_MS = 30_000;
/** The same while a key is not known. */
const TRUST_MS_MIN = 1_000;
/** Shortest time between two questions for an older piece of the log. */
const PAST_MS = 5_000;
/** Seals before the newest with which to begin: twelve seconds, so that the log has what the player has begun with. */
const SEALS_BEFORE = 24;
/** Most ranges that wait for their objects. More are counted as not checked. */
const RANGES_MAX = 64;
/** Longest object, in bytes, of which a range is checked: a segment of ten seconds at 50 Mbit/s. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024;
/** How long an object may wait for its seal before the checks are behind. */
const BEHIND_MS = 8_000;
/** How long a key may be unknown, or a node may have an older log, before that is wrong: another node may know more. */
const DOUBT_MS = 10_000;
/** Refusals that another node, or a moment, may lift. */
const MAY_PASS: ReadonlySet<Refusal['reason']> = new Set(['key', 'epoch', 'chain']);
/** Most bytes of an answer: a node sends at most 4 MiB of seals. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

export interface Surroundings {
  fetch: (url: string) => Promise<Response>;
  now: () => number;
  onChange: (checks: Checks) => void;
}

export class Session {
  readonly #core: Core;
  readonly #place: Place;
  readonly #around: Surroundings;
  #standing: Standing;
  #loaded = 0;
  #skipped = 0;
  #busyMs = 0;
  #wrong: string | null = null;
  #isOtherRoot = false;
  /** Since when something is refused that may pass, and what. */
  #doubt: { sinceMs: number; detail: string } | null = null;
  /** Since when the node has not answered, and what. */
  #unanswered: { sinceMs: number; detail: string } | null = null;
  #asked = {
    trust: Number.NEGATIVE_INFINITY,
    seals: Number.NEGATIVE_INFINITY,
    past: Number.NEGATIVE_INFINITY,
  };
  /** Ranges whose objects were not asked for yet, and the object of the newest that was. */
  #ranges: { place: string; start: number; bytes: Uint8Array }[] = [];
  #whole: { place: string; bytes: Uint8Array } | null = null;
  #asking: Promise<void> | null = null;
  #hasEnded = false;

  /** `root` is the SHA-256 of the root key in hexadecimal, or the first 16 bytes of it; null believes the first answer. */
  constructor(core: Core, place: Place, root: string | null, around: Surroundings) {
    this.#core = core;
    this.#place = place;
    this.#around = around;
    this.#standing = this.#measured(() => core.begin(place.stream, root));
    if (this.#standing.refused)
      this.#fail(`The root key in the address cannot be read: ${this.#standing.refused.detail}.`);
  }

  /** Takes an object that the player has loaded. */
  object(place: string, bytes: Uint8Array): void {
    this.#loaded += 1;
    if (this.#wrong !== null) return;
    this.#take(
      this.#measured(() => this.#core.object(place, bytes)),
      'media',
    );
    void this.ask();
  }

  /** Takes a range of an object, from byte `start` on. Seals name whole objects, so its object is loaded once. */
  range(place: string, start: number, bytes: Uint8Array): void {
    this.#loaded += 1;
    if (this.#wrong !== null) return;
    if (this.#ranges.length >= RANGES_MAX) this.#skipped += 1;
    else this.#ranges.push({ place, start, bytes });
    void this.ask();
  }

  /** Notes objects that were loaded and cannot be checked any more. */
  skip(objects: number): void {
    this.#loaded += objects;
    this.#skipped += objects;
  }

  end(): void {
    this.#hasEnded = true;
  }

  /** Asks for what is needed now, once at a time. The owner calls it about every second. */
  ask(): Promise<void> {
    if (this.#wrong !== null || this.#hasEnded) return Promise.resolve();
    this.#asking ??= this.#askAll().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askAll(): Promise<void> {
    await this.#askTrust();
    await this.#askWhole();
    await this.#askSeals();
    await this.#askPast();
    this.#judge();
  }

  checks(): Checks {
    const { seals, objects, waiting, before, unlisted, key, node, epoch, sequence, root, saidAt } =
      this.#standing;
    const overdue = waiting > 0 && this.#standing.longestWaitMs > BEHIND_MS;
    const phase: Phase =
      this.#wrong !== null ? 'wrong' : overdue ? 'behind' : objects > 0 ? 'checked' : 'starting';
    const behind =
      this.#doubt?.detail ?? this.#unanswered?.detail ?? 'The node has not sent the seals of what plays.';
    return {
      phase,
      detail: this.#wrong ?? (phase === 'behind' ? behind : null),
      isOtherRoot: this.#isOtherRoot,
      seals,
      objects,
      loaded: this.#loaded - before,
      unchecked: unlisted + this.#skipped,
      key,
      node,
      epoch,
      sequence,
      root,
      saidAt,
      busyMs: Math.round(this.#busyMs),
    };
  }

  #measured(call: () => Standing): Standing {
    const began = this.#around.now();
    const standing = call();
    this.#busyMs += this.#around.now() - began;
    return standing;
  }

  #isDue(what: 'trust' | 'seals' | 'past', everyMs: number): boolean {
    const now = this.#around.now();
    if (now - this.#asked[what] < everyMs) return false;
    this.#asked[what] = now;
    return true;
  }

  async #askTrust(): Promise<void> {
    const isUrgent = this.#standing.root === null || this.#standing.doubt !== null;
    if (!this.#isDue('trust', isUrgent ? TRUST_MS_MIN : TRUST_MS)) return;
    const answer = await this.#answer(
      `${this.#place.base}/api/v1/trust/${this.#place.stream}`,
      'application/cbor',
    );
    if (answer)
      this.#take(
        this.#measured(() => this.#core.trust(answer)),
        'trust',
      );
  }

  async #askSeals(): Promise<void> {
    const { root, waiting, next, keptFrom, keptTo } = this.#standing;
    if (root === null || waiting === 0 || this.#wrong !== null || !this.#isDue('seals', SEALS_MS)) return;
    const from = next ?? Math.max(keptFrom ?? 0, (keptTo ?? 0) - SEALS_BEFORE);
    const answer = await this.#answer(this.#seals(from), 'application/cbor-seq');
    if (answer)
      this.#take(
        this.#measured(() => this.#core.seals(answer)),
        'seals',
      );
  }

  /** Compares ranges with their objects, and these with the log. What the node does not send whole is not checked. */
  async #askWhole(): Promise<void> {
    for (const { place, start, bytes } of this.#ranges.splice(0)) {
      if (this.#whole?.place !== place) {
        const whole = await this.#loadedWhole(place);
        this.#whole = whole && { place, bytes: whole };
      }
      if (this.#wrong !== null) return;
      if (this.#whole === null) {
        this.#skipped += 1;
        continue;
      }
      const whole = this.#whole.bytes;
      const isPart = bytes.every((byte, at) => whole[start + at] === byte);
      if (!isPart) {
        this.#fail(
          `What this page was sent is not what the streamer’s ingest sealed: ${place} has other bytes.`,
        );
        return;
      }
      this.#take(
        this.#measured(() => this.#core.object(place, whole)),
        'media',
      );
    }
  }

  async #loadedWhole(place: string): Promise<Uint8Array | null> {
    try {
      const response = await this.#around.fetch(`${this.#place.base}/live/${this.#place.stream}/${place}`);
      const length = Number(response.headers.get('content-length') ?? 0);
      if (!response.ok || length > WHOLE_BYTES_MAX) return null;
      return new Uint8Array(await response.arrayBuffer());
    } catch {
      return null;
    }
  }

  async #askPast(): Promise<void> {
    const { before, oldest, keptFrom } = this.#standing;
    const hasMore = oldest !== null && keptFrom !== null && keptFrom < oldest;
    if (before === 0 || !hasMore || this.#wrong !== null || !this.#isDue('past', PAST_MS)) return;
    const answer = await this.#answer(this.#seals(keptFrom), 'application/cbor-seq');
    if (answer)
      this.#take(
        this.#measured(() => this.#core.past(answer)),
        'past',
      );
  }

  #seals(from: number): string {
    return `${this.#place.base}/live/${this.#place.stream}/seals?from=${from}`;
  }

  /** What the node answers; null when that is nothing, or of another type: a page of a proxy, for one. */
  async #answer(url: string, type: string): Promise<Uint8Array | null> {
    const because = (why: string): null => {
      this.#unanswered ??= {
        sinceMs: this.#around.now(),
        detail: `The node does not answer what the checks need: ${why}.`,
      };
      return null;
    };
    try {
      const response = await this.#around.fetch(url);
      const found = response.headers.get('content-type')?.split(';', 1)[0];
      if (!response.ok) return because(`status ${response.status}`);
      if (found !== type) return because(`an answer of type ${found ?? 'unknown'}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (bytes.byteLength > ANSWER_BYTES_MAX) return because('an answer that is too long');
      this.#unanswered = null;
      return bytes;
    } catch {
      return because('no connection');
    }
  }

  #take(standing: Standing, of: 'trust' | 'seals' | 'past' | 'media'): void {
    const wasUnknown = this.#standing.root === null;
    this.#standing = standing;
    const { refused, wrong } = standing;
    if (wrong !== null) {
      this.#fail(`What this page was sent is not what the streamer’s ingest sealed: ${wrong}.`);
    } else if (refused === null) {
      if (of === 'seals') this.#doubt = null;
    } else if (of === 'trust') {
      this.#refuseTrust(refused, wasUnknown);
    } else if (of === 'seals') {
      this.#refuse(`The stream’s log is refused: ${refused.detail}.`, refused);
    } else if (of === 'media') {
      this.#fail(`What this page was sent cannot be checked: ${refused.detail}.`);
    }
    // An older piece that is refused proves nothing: two nodes may differ about what a new epoch has just voided.
  }

  #refuseTrust(refused: Refusal, isFirst: boolean): void {
    if (refused.reason === 'identity' || (isFirst && refused.reason === 'key')) {
      this.#isOtherRoot = true;
      this.#fail(
        `This server speaks for another root key than the one that this browser expects: ${refused.detail}.`,
      );
      return;
    }
    this.#refuse(`The cluster’s statement of who may seal is refused: ${refused.detail}.`, refused);
  }

  #refuse(detail: string, { reason }: Refusal): void {
    const now = this.#around.now();
    this.#doubt ??= { sinceMs: now, detail };
    if (!MAY_PASS.has(reason) || now - this.#doubt.sinceMs > DOUBT_MS) this.#fail(detail);
  }

  #fail(detail: string): void {
    this.#wrong ??= detail;
    this.#around.onChange(this.checks());
  }

  #judge(): void {
    if (this.#wrong === null && !this.#hasEnded) {
      this.#standing = this.#measured(() => this.#core.standing());
      this.#around.onChange(this.checks());
    }
  }
}
