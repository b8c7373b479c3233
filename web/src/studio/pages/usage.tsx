/** `/studio/settings/usage`: what the tenant has, and what it may have. */

import { getUsage, type Quota, type Usage } from '../../api/generated/api';
import { ask } from '../../api/request';
import { watch } from '../../api/resource';
import { bitrate, integer } from '../../format';
import { common } from '../../text/en';
import { usage as t } from '../../text/en-later';
import { Loaded, Placeholder } from '../../ui/loaded';
import { session } from '../session';
import { PageHead } from '../shell';
import { useWatched } from '../streams';

const INTERVAL_MS = 10_000;
/** From this share of a quota on, its bar warns. */
const NEAR = 0.9;

const bytes = (count: number): string =>
  count >= 1e12
    ? t.valueTb((count / 1e12).toFixed(1))
    : count >= 1e9
      ? t.valueGb((count / 1e9).toFixed(1))
      : t.valueMb(Math.round(count / 1e6));

/** Quotas that limit something, as text. Pure. */
export function limits(quota: Quota): Array<readonly [label: string, value: string]> {
  const all = [
    [t.publishersAtOnce, quota.publishers, integer],
    [t.incomingBitRate, quota.input_bps, bitrate],
    [t.bitRateToViewers, quota.egress_bps, bitrate],
    [t.recordings, quota.storage_bytes, bytes],
  ] as const;
  return all.flatMap(([label, value, format]) => (value === null ? [] : [[label, format(value)] as const]));
}

function Used({ label, used, of }: { label: string; used: number; of: number | null }) {
  const share = of === null || of === 0 ? null : Math.min(1, used / of);
  return (
    <div class={`stat ${share !== null && share >= NEAR ? 'stat-warn' : ''}`}>
      <dt>{label}</dt>
      <dd>
        <span class="stat-value">{integer(used)}</span>
        <span class="stat-note">{of === null ? 'no limit' : `of ${integer(of)}`}</span>
        {share !== null && (
          <svg
            class="bar"
            viewBox="0 0 100 4"
            preserveAspectRatio="none"
            aria-hidden="true"
            focusable="false"
          >
            <rect class="bar-all" width="100" height="4" />
            <rect class="bar-used" width={share * 100} height="4" />
          </svg>
        )}
      </dd>
    </div>
  );
}

function Figures({ usage }: { usage: Usage }) {
  const others = limits(usage.quota);
  return (
    <>
      <dl class="stats stats-wide">
        <Used label={common.streams} used={usage.used.streams} of={usage.quota.streams} />
        <Used label={common.apiKeys} used={usage.used.api_keys} of={null} />
      </dl>
      <section class="panel" aria-labelledby="limits-title">
        <h2 id="limits-title">{t.limits}</h2>
        {others.length === 0 ? (
          <p>{t.noOtherLimitIsSetFor}</p>
        ) : (
          <dl class="rows">
            {others.map(([label, value]) => (
              <div key={label} class="row">
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
        <p class="panel-note">{t.theOperatorSetsLimitsAskThem}</p>
      </section>
    </>
  );
}

export function UsagePage() {
  const { resource, again } = useWatched(
    () => watch(async (signal) => (await ask(getUsage, { signal })).value, INTERVAL_MS),
    [],
  );
  return (
    <>
      <PageHead title={t.usage}>
        <p class="page-lead">
          {t.what}
          {session.value?.tenant.name || 'this tenant'}
          {t.hasAndWhatItMayHave}
        </p>
      </PageHead>
      <Loaded
        resource={resource.value}
        what={t.theUsageCannotBeShown}
        again={again}
        placeholder={<Placeholder rows={2} kind="tile" />}
      >
        {(usage) => <Figures usage={usage} />}
      </Loaded>
    </>
  );
}
