/**
 * Types of a broadcast node's answers about streams (`/api/v1/streams`), and readers that turn untrusted
 * JSON into them. Pure. Lists omit malformed entries; a malformed single answer is an error.
 */

/** State of a stream as the node sees it. `reconnecting`: the session broke and its grace period runs. */
export type StreamState = 'live' | 'reconnecting' | 'ended';

export interface Rendition {
  /** Name in URLs: `1080p`, `audio`. */
  name: string;
  /** RFC 6381, for example `avc1.64001f`. */
  codec: string;
  /** Pixels; null for audio. */
  width: number | null;
  height: number | null;
  /** Frames per second; null for audio. */
  frameRate: number | null;
  /** Peak bits per second. */
  bandwidth: number | null;
}

export interface StreamSummary {
  name: string;
  live: boolean;
  state: StreamState;
  /** Start of the session, milliseconds since 1970 by the ingest's clock. */
  startedAt: number | null;
  /** Rises by one with each session. */
  epoch: number;
  /** The ingest node that seals the stream. */
  ingest: string;
  renditions: Rendition[];
  /** Path of the newest picture; null when there is none. */
  poster: string | null;
}

/** What the gate of the broadcast node checked, as the node itself reports it. */
export interface Verified {
  /** The broadcast node that checked. */
  node: string;
  /** Position in the seal log of the newest admitted seal. */
  sequence: number;
  epoch: number;
  /** SHA-256 of the newest admitted seal, hexadecimal. */
  digest: string;
  /** Key id of the sealing key, hexadecimal. */
  key: string;
  /** Signature algorithm, `ML-DSA-44`. */
  algorithm: string;
  /** When the ingest sealed, milliseconds since 1970. */
  issuedAt: number | null;
  /** When the node admitted the seal, milliseconds since 1970. */
  admittedAt: number | null;
  sealsAdmitted: number;
  /** Refusals by reason since the node started. */
  refused: Record<string, number>;
}

/** The recording of the stream. */
export interface Dvr {
  /** Path of its multivariant playlist. */
  url: string;
  windowSeconds: number;
}

export interface StreamDetail extends StreamSummary {
  /** Null when the node keeps no more than the live window. */
  dvr: Dvr | null;
  /** Path of a segment's picture, with the placeholders `{epoch}` and `{msn}`; null when there are no pictures. */
  thumbnails: string | null;
  /** Null until the node has admitted a seal of this stream. */
  verified: Verified | null;
  /** Viewers write beside the player. */
  hasChat: boolean;
}

/** Most streams read from an answer, so that a broken answer cannot fill the page. */
export const STREAMS_MAX = 500;
/** Most renditions read of a stream; a ladder has far fewer. */
export const RENDITIONS_MAX = 32;
/** Most reasons for refusal read; nodes know about ten. */
const REFUSAL_REASONS_MAX = 32;
/** Longest text read from an answer, characters. */
const TEXT_LENGTH_MAX = 256;

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value.length > 0 ? value.slice(0, TEXT_LENGTH_MAX) : null;
}

/** A path on this origin; null for any other URL, which the page must not request. */
function path(value: unknown): string | null {
  const address = text(value);
  return address !== null && /^\/(?!\/)/.test(address) ? address : null;
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

function positive(value: unknown): number | null {
  const number = count(value);
  return number === 0 ? null : number;
}

function readState(value: Json): StreamState {
  if (value.state === 'live' || value.state === 'reconnecting' || value.state === 'ended') return value.state;
  return value.live === true ? 'live' : 'ended';
}

function readRendition(value: unknown): Rendition | null {
  if (!isObject(value)) return null;
  const name = text(value.name);
  if (name === null) return null;
  return {
    name,
    codec: text(value.codec) ?? '',
    width: positive(value.width),
    height: positive(value.height),
    frameRate: positive(value.frame_rate),
    bandwidth: positive(value.bandwidth),
  };
}

function readList<T>(value: unknown, max: number, read: (item: unknown) => T | null): T[] {
  if (!Array.isArray(value)) return [];
  return value
    .slice(0, max)
    .map(read)
    .filter((item): item is T => item !== null);
}

function readSummary(value: unknown): StreamSummary | null {
  if (!isObject(value)) return null;
  const name = text(value.name);
  if (name === null) return null;
  const state = readState(value);
  return {
    name,
    state,
    live: state !== 'ended',
    startedAt: positive(value.started_at),
    epoch: count(value.epoch) ?? 0,
    ingest: text(value.ingest) ?? '',
    renditions: readList(value.renditions, RENDITIONS_MAX, readRendition),
    poster: path(value.poster),
  };
}

/** Null unless node, digest, key and sequence are all present: the page does not show half a statement. */
export function readVerified(value: unknown): Verified | null {
  if (!isObject(value)) return null;
  const node = text(value.node);
  const digest = text(value.digest);
  const key = text(value.key);
  const sequence = count(value.sequence);
  const algorithm = text(value.algorithm);
  if (node === null || digest === null || key === null || sequence === null || algorithm === null)
    return null;
  const refused: Record<string, number> = {};
  if (isObject(value.refused)) {
    for (const [reason, number] of Object.entries(value.refused).slice(0, REFUSAL_REASONS_MAX)) {
      refused[reason.slice(0, TEXT_LENGTH_MAX)] = count(number) ?? 0;
    }
  }
  return {
    node,
    sequence,
    digest,
    key,
    algorithm,
    epoch: count(value.epoch) ?? 0,
    issuedAt: positive(value.issued_at),
    admittedAt: positive(value.admitted_at),
    sealsAdmitted: count(value.seals_admitted) ?? 0,
    refused,
  };
}

function readDvr(value: unknown): Dvr | null {
  if (!isObject(value)) return null;
  const url = path(value.url);
  const windowSeconds = positive(value.window_s);
  return url === null || windowSeconds === null ? null : { url, windowSeconds };
}

export function readStreams(value: unknown): StreamSummary[] {
  if (!isObject(value) || !Array.isArray(value.streams)) throw new Error('the list of streams is malformed');
  return readList(value.streams, STREAMS_MAX, readSummary);
}

export function readStream(value: unknown): StreamDetail {
  const summary = readSummary(value);
  if (summary === null || !isObject(value)) throw new Error('the description of the stream is malformed');
  return {
    ...summary,
    verified: readVerified(value.verified),
    dvr: readDvr(value.dvr),
    thumbnails: path(value.thumbnails),
    hasChat: isObject(value.chat),
  };
}
