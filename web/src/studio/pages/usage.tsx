/** `/studio/settings/usage`: what the tenant has, and what it may have. */

import { getUsage, type Usage } from '../../api/generated/api';
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

type Line = readonly [label: string, used: number, of: number | null, format: (value: number) => string];

/** What the tenant uses, and the most of it that it may use; null: as much as it likes. Pure. */
export function lines({ quota, used }: Usage): Line[] {
  return [
    [common.streams, used.streams, quota.streams, integer],
    [t.publishersAtOnce, used.publishers, quota.publishers, integer],
    [t.incomingBitRate, used.input_bps, quota.input_bps, bitrate],
    [t.bitRateToViewers, used.egress_bps, quota.egress_bps, bitrate],
    [t.recordings, used.storage_bytes, quota.storage_bytes, bytes],
    [common.apiKeys, used.api_keys, null, integer],
  ];
}

function Used({ line: [label, used, of, format] }: { line: Line }) {
  const share = of === null ? null : of === 0 ? 1 : Math.min(1, used / of);
  return (
    <div class={`stat ${share !== null && share >= NEAR ? 'stat-warn' : ''}`}>
      <dt>{label}</dt>
      <dd>
        <span class="stat-value">{format(used)}</span>
        <span class="stat-note">{of === null ? t.noLimit : t.ofValue(format(of))}</span>
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
  return (
    <>
      <dl class="stats stats-wide">
        {lines(usage).map((line) => (
          <Used key={line[0]} line={line} />
        ))}
      </dl>
      <p class="panel-note">{t.theOperatorSetsLimitsAskThem}</p>
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
