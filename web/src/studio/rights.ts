/** Roles, and how a key's scopes read. Pure. */

import { rights as t } from '../text/en-later';

export const ROLES: ReadonlyArray<readonly [id: string, label: string, about: string]> = [
  ['viewer', t.viewer, t.readsStreamsRecordingsUsageAndTelemetry],
  ['producer', t.producer, t.thatAndMakesStreamsTheirKeys],
  ['owner', t.owner, t.everythingInThisTenantAlsoKeys],
  ['operator', t.operator, t.everythingInAllTenantsAndThe],
  ['scopes', t.singleScopes, t.onlyWhatYouChoose],
];

/** Roles of members: all but single scopes. */
export const MEMBER_ROLES = ROLES.filter(([id]) => id !== 'scopes');

/** Days until a key ends; empty for never. */
export const LIFETIMES: ReadonlyArray<readonly [value: string, label: string]> = [
  ['30', 'in 30 days'],
  ['90', 'in 90 days'],
  ['365', 'in a year'],
  ['', 'never'],
];

const DAY_MS = 86_400_000;

export const expiryAt = (days: string, nowMs: number): number | null =>
  days === '' ? null : nowMs + Number(days) * DAY_MS;

/** Scopes that are named before the rest is counted. */
const NAMED_MAX = 3;

/** `everything, cluster included`, or the first scopes. */
export function rightsOf(scopes: readonly string[]): string {
  if (scopes.includes('cluster:write') && scopes.includes('tenants:write'))
    return 'everything, in all tenants';
  if (scopes.includes('members:write') && scopes.includes('streams:write'))
    return 'everything in this tenant';
  if (scopes.includes('streams:keys') && scopes.includes('tokens:write')) return 'producer';
  const named = scopes.slice(0, NAMED_MAX).join(', ');
  return scopes.length > NAMED_MAX
    ? t.namedAndValueMore(named, scopes.length - NAMED_MAX)
    : named || 'nothing';
}
