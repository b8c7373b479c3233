/**
 * Readers turn untrusted JSON into values of a type. Everything has a bound, members that nobody knows are dropped, and a reader says where
 * an answer is not as the document says. The generated client is made of them. Pure.
 */

import { apiRead as t } from '../text/en';

/** Longest text without a bound of its own, characters. */
export const TEXT_LENGTH_MAX = 4_096;
/** Most items of a list without a bound of its own: the most rows of a page. */
export const ITEMS_MAX = 200;
/** Most members of an object that may have any. */
const MEMBERS_MAX = 200;
/** Deepest nesting of a value that may be anything. */
const DEPTH_MAX = 8;

/** An answer that is not as the document says. */
export class Malformed extends Error {
  constructor(
    /** Where, such as `items.key`. */
    readonly at: string,
    wanted: string,
  ) {
    super(t.theAnswerIsMalformedValueIs(at || 'it', wanted));
  }
}

export type Read<T> = (value: unknown, at: string) => T;
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function text(lengthMax = TEXT_LENGTH_MAX): Read<string> {
  return (value, at) => {
    if (typeof value !== 'string') throw new Malformed(at, 'text');
    return value.slice(0, lengthMax);
  };
}

export const integer: Read<number> = (value, at) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new Malformed(at, 'whole number');
  return value;
};

export const float: Read<number> = (value, at) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Malformed(at, 'number');
  return value;
};

export const flag: Read<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw new Malformed(at, 'truth value');
  return value;
};

export function nullable<T>(read: Read<T>): Read<T | null> {
  return (value, at) => (value === null ? null : read(value, at));
}

/** A list. Malformed items are left out, so that one row from a newer version does not hide the others. */
export function list<T>(read: Read<T>, itemsMax = ITEMS_MAX): Read<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw new Malformed(at, 'list');
    const items: T[] = [];
    for (const item of value.slice(0, itemsMax)) {
      try {
        items.push(read(item, at));
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
      }
    }
    return items;
  };
}

type Members = Record<string, Read<unknown>>;
type Values<M extends Members> = { [K in keyof M]: M[K] extends Read<infer T> ? T : never };

/** An object with members that have to be there, and with others that may. */
export function object<R extends Members, O extends Members>(
  required: R,
  optional: O,
): Read<Values<R> & Partial<Values<O>>> {
  return (value, at) => {
    if (!isObject(value)) throw new Malformed(at, 'object');
    const result: Record<string, unknown> = {};
    for (const [name, read] of Object.entries(required)) result[name] = read(value[name], path(at, name));
    for (const [name, read] of Object.entries(optional)) {
      if (value[name] !== undefined && value[name] !== null) result[name] = read(value[name], path(at, name));
    }
    return result as Values<R> & Partial<Values<O>>;
  };
}

const path = (at: string, name: string): string => (at === '' ? name : `${at}.${name}`);

/** Any JSON, cut to a bounded size. */
export const anything: Read<Json> = (value) => bounded(value, 0);

function bounded(value: unknown, depth: number): Json {
  if (typeof value === 'string') return value.slice(0, TEXT_LENGTH_MAX);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (depth >= DEPTH_MAX) return '…';
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((item) => bounded(item, depth + 1));
  if (!isObject(value)) return null;
  const members = Object.entries(value).slice(0, MEMBERS_MAX);
  return Object.fromEntries(
    members.map(([name, member]) => [name.slice(0, 200), bounded(member, depth + 1)]),
  );
}

/** An answer without a body. */
export const nothing: Read<null> = () => null;

/** One request of the API, as the document describes it. */
export interface Operation<Path, Query, Body, Answer> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: (names: Path) => string;
  readonly read: Read<Answer>;
  /** The scope that it needs; null: any credential. */
  readonly scope: string | null;
  /** Only for the compiler. */
  readonly types?: [Path, Query, Body];
}
