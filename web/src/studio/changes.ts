/** What a record of the audit says that changed. Pure. */

import type { Json } from '../api/read';
import { changes as t } from '../text/en';

const ACTORS: Record<string, string> = {
  cookie: t.member,
  api_key: t.apiKey,
  jwt: t.tokenOfAnIssuer,
  certificate: t.commandOfControl,
  anonymous: t.nobodySignedIn,
};

/** With what kind of credential somebody acted. */
export const actorOf = (actor: string): string => ACTORS[actor] ?? actor;

/** Longest value of a change that is shown, characters. */
const VALUE_MAX = 120;

const said = (value: Json): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text === '' ? '–' : text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX)}…` : text;
};

const isObject = (value: Json | undefined): value is { [name: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What changed, one line a member: `title: Concert → Encore`. Pure. */
export function changeLines(changes: Json, name = ''): string[] {
  if (!isObject(changes)) return name === '' ? [] : [`${name}: ${said(changes)}`];
  const { from, to } = changes;
  if (from !== undefined && to !== undefined) return [`${name}: ${said(from)} → ${said(to)}`];
  return Object.entries(changes).flatMap(([member, value]) =>
    changeLines(value, name === '' ? member : `${name}.${member}`),
  );
}
