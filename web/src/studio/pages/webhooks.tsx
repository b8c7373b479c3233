/** `/studio/settings/webhooks`: servers that hear of what happens, and what was sent to each. */

import { useState } from 'preact/hooks';
import {
  type Delivery,
  deleteWebhooksWebhook,
  getWebhooks,
  getWebhooksWebhookDeliveries,
  patchWebhooksWebhook,
  postWebhooks,
  postWebhooksWebhookDeliveriesDeliveryRedeliver,
  postWebhooksWebhookTest,
  type Webhook,
} from '../../api/generated/api';
import { ApiError, ask } from '../../api/request';
import { watch } from '../../api/resource';
import { common } from '../../text/en';
import { webhooks as t } from '../../text/en-later';
import { Badge } from '../../ui/badge';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Choice, TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { Empty, Loaded, Placeholder } from '../../ui/loaded';
import { Secret } from '../../ui/secret';
import { Ago, clockAt } from '../../ui/time';
import { deleteLater, leaving, say } from '../../ui/toasts';
import { codeText } from '../problems';
import { may, waits } from '../session';
import { PageHead } from '../shell';
import { useWatched } from '../streams';
import { useSubmit } from '../submit';
import { Cell, Pager, Table, usePages } from './list';

const WRITE = 'webhooks:write';
/** How often deliveries are read, milliseconds. */
const DELIVERIES_MS = 4_000;
/** Deliveries that are shown: the newest. */
const DELIVERIES_SHOWN = 20;

const KINDS: ReadonlyArray<readonly [types: string, label: string, about: string]> = [
  ['*', t.everything, t.streamsMembersKeysWebhooks],
  ['stream.*', common.streams, t.madeLiveEndedWarnings],
  ['stream.live stream.ended', t.broadcasts, t.whenOneBeginsAndWhenIt],
];

async function attempt(what: () => Promise<void>): Promise<void> {
  try {
    await what();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message, 'fault');
  }
}

function NewWebhook({ onMade, onClose }: { onMade: (webhook: Webhook) => void; onClose: () => void }) {
  const [url, setUrl] = useState('');
  const [types, setTypes] = useState('*');
  const submit = useSubmit(async (idempotencyKey) => {
    const body = { url: url.trim(), types: types.split(' ') };
    onMade((await ask(postWebhooks, { body, idempotencyKey })).value);
  });
  const code = submit.error?.of('url') ?? null;
  return (
    <Dialog title={t.newWebhook} onClose={onClose}>
      <Form submit={submit} failed={t.theWebhookWasNotMade} fields={['url']}>
        <TextField
          label={t.address}
          hint={t.httpsAndReachableFromTheInternet}
          type="url"
          value={url}
          onInput={setUrl}
          placeholder={t.httpsExampleOrgSealcast}
          required
          error={code === 'refused' ? (submit.error?.message ?? null) : codeText(code)}
        />
        <Choice legend={t.whatItHearsOf} value={types} onChange={setTypes} options={KINDS} />
        <div class="actions">
          <Button type="submit" kind="main" busy={submit.busy} waits={waits.value}>
            {t.makeTheWebhook}
          </Button>
          <Button onClick={onClose}>{common.cancel}</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function DeliveryState({ delivery }: { delivery: Delivery }) {
  const tries = delivery.attempts > 1 ? t.afterAttemptsTries(delivery.attempts) : '';
  switch (delivery.state) {
    case 'delivered':
      return <Badge kind="good">{t.deliveredTries(tries)}</Badge>;
    case 'pending':
      return <Badge kind="info">{delivery.due_at ? t.dueClock(clockAt(delivery.due_at)) : t.waits}</Badge>;
    case 'failed':
      return <Badge kind="fault">{t.givenUpTries(tries)}</Badge>;
    default:
      return <Badge kind="plain">{delivery.state}</Badge>;
  }
}

function Deliveries({ of, onClose }: { of: Webhook; onClose: () => void }) {
  const { resource, again } = useWatched(
    () =>
      watch(
        async (signal) =>
          (
            await ask(getWebhooksWebhookDeliveries, {
              path: { webhook: of.id },
              query: { limit: DELIVERIES_SHOWN },
              signal,
            })
          ).value,
        DELIVERIES_MS,
      ),
    [of.id],
  );
  const redeliver = (delivery: Delivery): Promise<void> =>
    attempt(async () => {
      const path = { webhook: of.id, delivery: delivery.id };
      await ask(postWebhooksWebhookDeliveriesDeliveryRedeliver, { path });
      say(t.itIsSentOnceMore);
      again();
    });
  return (
    <Dialog title={t.deliveries} onClose={onClose}>
      <p class="mono">{of.url}</p>
      <Loaded
        resource={resource.value}
        what={t.theDeliveriesCannotBeShown}
        again={again}
        placeholder={<Placeholder rows={4} />}
      >
        {({ items }) =>
          items.length === 0 ? (
            <Empty title={t.nothingWasSentYet}>{t.whatHappensFromNowOnIs}</Empty>
          ) : (
            <ul class="deliveries">
              {items.map((delivery) => (
                <li key={delivery.id}>
                  <span class="mono">{delivery.type}</span>
                  <span class="cell-note">
                    <Ago at={delivery.created_at} />
                    {delivery.status ? t.statusStatus(delivery.status) : ''}
                    {delivery.error ? `, ${delivery.error}` : ''}
                  </span>
                  <DeliveryState delivery={delivery} />
                  {delivery.state !== 'pending' && (
                    <Button
                      kind="quiet"
                      waits={may(WRITE) ? waits.value : t.yourRoleSendsNothing}
                      onClick={() => void redeliver(delivery)}
                    >
                      {t.sendAgain}
                    </Button>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <div class="actions">
        <Button onClick={onClose}>{t.close}</Button>
      </div>
    </Dialog>
  );
}

function WebhookState({ webhook }: { webhook: Webhook }) {
  if (webhook.state === 'disabled')
    return (
      <>
        <Badge kind="warn">{t.off}</Badge>
        {webhook.disabled_reason && <span class="cell-note"> {webhook.disabled_reason}</span>}
      </>
    );
  if (webhook.failing_since_at)
    return (
      <>
        <Badge kind="fault">{t.fails}</Badge>{' '}
        <span class="cell-note">
          {t.since}
          {clockAt(webhook.failing_since_at)}
        </span>
      </>
    );
  return <Badge kind="good">{t.on}</Badge>;
}

function WebhookRow({ webhook, again, onOpen }: { webhook: Webhook; again: () => void; onOpen: () => void }) {
  const cannot = may(WRITE) ? waits.value : t.yourRoleChangesNoWebhooks;
  const isOn = webhook.state === 'active';
  const path = { webhook: webhook.id };
  const test = (): Promise<void> =>
    attempt(async () => {
      const { delivered, status, error } = (await ask(postWebhooksWebhookTest, { path })).value;
      if (delivered) say(t.theTestEventArrived);
      else say(t.theTestEventDidNotArrive(error ?? `status ${status ?? 'unknown'}`), 'fault');
    });
  const turn = (): Promise<void> =>
    attempt(async () => {
      await ask(patchWebhooksWebhook, { path, body: { state: isOn ? 'disabled' : 'active' } });
      again();
    });
  const remove = (): void =>
    deleteLater(webhook.id, t.theWebhookIsBeingDeleted, (isLast) =>
      ask(deleteWebhooksWebhook, { path, keepalive: isLast }),
    );
  return (
    <tr>
      <Cell of="Address">
        <span class="cell-main mono">{webhook.url}</span>
      </Cell>
      <Cell of={t.hearsOf}>
        {webhook.types.map((type) => (type === '*' ? 'everything' : type)).join(', ')}
      </Cell>
      <Cell of="State">
        <WebhookState webhook={webhook} />
      </Cell>
      <Cell of="Actions">
        <span class="cell-actions">
          <Button kind="quiet" onClick={onOpen} label={t.deliveriesToUrl(webhook.url)}>
            {t.deliveries}
          </Button>
          <Button kind="quiet" waits={cannot} onClick={() => void test()} label={t.testUrl(webhook.url)}>
            {t.test}
          </Button>
          <Button
            kind="quiet"
            waits={cannot}
            onClick={() => void turn()}
            label={t.turnValueUrl(isOn ? 'off' : 'on', webhook.url)}
          >
            {isOn ? t.turnOff : t.turnOn}
          </Button>
          <Button kind="quiet" waits={cannot} onClick={remove} label={t.deleteUrl(webhook.url)}>
            {t.delete}
          </Button>
        </span>
      </Cell>
    </tr>
  );
}

export function WebhooksPage() {
  const pages = usePages(getWebhooks);
  const [isNew, setNew] = useState(false);
  const [open, setOpen] = useState<Webhook | null>(null);
  const [made, setMade] = useState<Webhook | null>(null);
  const cannot = may(WRITE) ? waits.value : t.yourRoleMakesNoWebhooks;
  return (
    <>
      <PageHead
        title={t.webhooks}
        action={
          <Button kind="main" icon="add" onClick={() => setNew(true)} waits={cannot}>
            {t.newWebhook}
          </Button>
        }
      >
        <p class="page-lead">{t.yourServersHearOfWhatHappens}</p>
      </PageHead>
      {made?.secret !== undefined && (
        <section class="panel" aria-labelledby="made-title">
          <h2 id="made-title">{t.theSecretThatSigns}</h2>
          <p class="panel-lead">{t.itIsShownThisOnceYour}</p>
          <Secret label={t.secret} secret={made.secret} copyLabel={t.copySecret} main />
          <Button kind="quiet" onClick={() => setMade(null)}>
            {common.iHaveIt}
          </Button>
        </section>
      )}
      <Loaded
        resource={pages.resource.value}
        what={t.theWebhooksCannotBeShown}
        again={pages.again}
        placeholder={<Placeholder rows={3} />}
      >
        {({ items, next_cursor }) => {
          const shown = items.filter(({ id }) => !leaving.value.has(id));
          if (shown.length === 0) return <Empty title={t.noWebhookYet}>{t.aWebhookTellsYourOwnServer}</Empty>;
          return (
            <>
              <Table caption="Webhooks" columns={[t.address, t.hearsOf, t.state, common.actions]}>
                {shown.map((webhook) => (
                  <WebhookRow
                    key={webhook.id}
                    webhook={webhook}
                    again={pages.again}
                    onOpen={() => setOpen(webhook)}
                  />
                ))}
              </Table>
              <Pager pages={pages} next={next_cursor} words={[common.earlier, common.later]} />
            </>
          );
        }}
      </Loaded>
      {isNew && (
        <NewWebhook
          onClose={() => setNew(false)}
          onMade={(webhook) => {
            setMade(webhook);
            setNew(false);
            pages.again();
          }}
        />
      )}
      {open && <Deliveries of={open} onClose={() => setOpen(null)} />}
    </>
  );
}
