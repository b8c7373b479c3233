/** The WebAssembly of `crates/verify`: one stream's verifier. Knows no network, worker or page. */

/** Why something was refused. `key` may pass with a newer word of control; the others do not. */
export interface Refusal {
  reason: 'malformed' | 'key' | 'signature' | 'identity' | 'epoch' | 'chain' | 'equivocation' | 'implausible';
  detail: string;
}

/** What the checks have come to. Field by field what `crates/verify/src/calls.rs` writes. */
export interface Standing {
  /** Why the last call was refused. */
  refused: Refusal | null;
  /** Seals that count. */
  seals: number;
  /** Objects that are what a seal names. */
  objects: number;
  /** Objects whose seals are not here yet, and how long the oldest has waited. */
  waiting: number;
  longestWaitMs: number;
  /** Objects from before the log that is here; an older piece of it may list them. */
  before: number;
  /** Objects that are not checked, because they are older than all that the node has of the log. */
  unlisted: number;
  /** Sequence to ask for seals from; null while no log is here. */
  next: number | null;
  /** The ingest that signed the newest seal. */
  node: string | null;
  /** Why the newest seals do not count yet. */
  doubt: Refusal | null;
  /** What is wrong. It stays. */
  wrong: string | null;
  /** SHA-256 of the root key, hexadecimal; null before control's first word. */
  root: string | null;
  /** Identity of the cluster's metadata log. */
  log: string | null;
  /** When control said who may seal, by its clock; milliseconds since 1970. */
  saidAt: number | null;
  /** First and last seal that the node has. */
  keptFrom: number | null;
  keptTo: number | null;
  /** The key, digest and place of the newest seal, and when it was signed. */
  key: string | null;
  digest: string | null;
  epoch: number | null;
  sequence: number | null;
  issuedAt: number | null;
  /** Oldest seal that is here; null when no older piece of the log can be taken. */
  oldest: number | null;
}

interface Exports {
  memory: WebAssembly.Memory;
  input(length: number): number;
  call(number: number, nowMs: number): number;
  output(): number;
}

/** Numbers of the calls. */
const BEGIN = 1;
const TRUST = 2;
const SEALS = 3;
const PAST = 4;
const OBJECT = 5;
const STANDING = 6;
const SIGNATURE = 7;

export class Core {
  readonly #wasm: Exports;
  readonly #now: () => number;

  private constructor(wasm: Exports, now: () => number) {
    this.#wasm = wasm;
    this.#now = now;
  }

  /** Compiles the WebAssembly. `now` is any clock in milliseconds that does not go back. */
  static async load(wasm: BufferSource, now: () => number): Promise<Core> {
    const { instance } = await WebAssembly.instantiate(wasm, {});
    return new Core(instance.exports as unknown as Exports, now);
  }

  /** Begins anew. `root` is the SHA-256 of the root key, or its first 16 bytes, in hexadecimal; null believes the first answer. */
  begin(stream: string, root: string | null): Standing {
    return this.#standing(BEGIN, text(`${stream}\n${root ?? ''}`));
  }

  /** Takes an answer of `/api/v1/trust/{stream}`. */
  trust(answer: Uint8Array): Standing {
    return this.#standing(TRUST, answer);
  }

  /** Takes an answer of `/live/{stream}/seals`. */
  seals(answer: Uint8Array): Standing {
    return this.#standing(SEALS, answer);
  }

  /** Takes the same of before the oldest seal here. */
  past(answer: Uint8Array): Standing {
    return this.#standing(PAST, answer);
  }

  /** Takes a media object; `place` is `720p/3/17.2.m4s`. */
  object(place: string, bytes: Uint8Array): Standing {
    return this.#standing(OBJECT, text(`${place}\n`), bytes);
  }

  standing(): Standing {
    return this.#standing(STANDING);
  }

  /** Whether a signature is that of a public key (ML-DSA-44). */
  isSigned(key: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
    return this.#call(SIGNATURE, [key, signature, message]) === 'true';
  }

  #standing(call: number, ...parts: Uint8Array[]): Standing {
    const answer = this.#call(call, parts);
    if (answer !== null) return JSON.parse(answer) as Standing;
    return { ...this.standing(), refused: { reason: 'malformed', detail: 'more bytes than any object has' } };
  }

  /** The answer; null when there is no room for the input. */
  #call(call: number, parts: Uint8Array[]): string | null {
    const { memory, input, call: make, output } = this.#wasm;
    const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
    let at = input(length);
    if (at === 0) return null;
    for (const part of parts) {
      // A call may have made the memory grow, which detaches older views.
      new Uint8Array(memory.buffer, at, part.byteLength).set(part);
      at += part.byteLength;
    }
    const answer = make(call, this.#now());
    return new TextDecoder().decode(new Uint8Array(memory.buffer, output(), answer));
  }
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
