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
  ['*', 'Everything', 'Streams, members, keys, webhooks.'],
  ['stream.*', 'Streams', 'Made, live, ended, warnings.'],
  ['stream.live stream.ended', 'Broadcasts', 'When one begins, and when it ends.'],
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
    <Dialog title="New webhook" onClose={onClose}>
      <Form submit={submit} failed="The webhook was not made." fields={['url']}>
        <TextField
          label="Address"
          hint="https, and reachable from the internet."
          type="url"
          value={url}
          onInput={setUrl}
          placeholder="https://example.org/sealcast"
          required
          error={code === 'refused' ? (submit.error?.message ?? null) : codeText(code)}
        />
        <Choice legend="What it hears of" value={types} onChange={setTypes} options={KINDS} />
        <div class="actions">
          <Button type="submit" kind="main" busy={submit.busy} waits={waits.value}>
            Make the webhook
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function DeliveryState({ delivery }: { delivery: Delivery }) {
  const tries = delivery.attempts > 1 ? ` after ${delivery.attempts} tries` : '';
  switch (delivery.state) {
    case 'delivered':
      return <Badge kind="good">{`Delivered${tries}`}</Badge>;
    case 'pending':
      return <Badge kind="info">{delivery.due_at ? `Due ${clockAt(delivery.due_at)}` : 'Waits'}</Badge>;
    case 'failed':
      return <Badge kind="fault">{`Given up${tries}`}</Badge>;
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
      say('It is sent once more');
      again();
    });
  return (
    <Dialog title="Deliveries" onClose={onClose}>
      <p class="mono">{of.url}</p>
      <Loaded
        resource={resource.value}
        what="The deliveries cannot be shown."
        again={again}
        placeholder={<Placeholder rows={4} />}
      >
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="Nothing was sent yet">What happens from now on is.</Empty>
          ) : (
            <ul class="deliveries">
              {items.map((delivery) => (
                <li key={delivery.id}>
                  <span class="mono">{delivery.type}</span>
                  <span class="cell-note">
                    <Ago at={delivery.created_at} />
                    {delivery.status ? `, status ${delivery.status}` : ''}
                    {delivery.error ? `, ${delivery.error}` : ''}
                  </span>
                  <DeliveryState delivery={delivery} />
                  {delivery.state !== 'pending' && (
                    <Button
                      kind="quiet"
                      waits={may(WRITE) ? waits.value : 'Your role sends nothing'}
                      onClick={() => void redeliver(delivery)}
                    >
                      Send again
                    </Button>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <div class="actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

function WebhookState({ webhook }: { webhook: Webhook }) {
  if (webhook.state === 'disabled')
    return (
      <>
        <Badge kind="warn">Off</Badge>
        {webhook.disabled_reason && <span class="cell-note"> {webhook.disabled_reason}</span>}
      </>
    );
  if (webhook.failing_since_at)
    return (
      <>
        <Badge kind="fault">Fails</Badge>{' '}
        <span class="cell-note">since {clockAt(webhook.failing_since_at)}</span>
      </>
    );
  return <Badge kind="good">On</Badge>;
}

function WebhookRow({ webhook, again, onOpen }: { webhook: Webhook; again: () => void; onOpen: () => void }) {
  const cannot = may(WRITE) ? waits.value : 'Your role changes no webhooks';
  const isOn = webhook.state === 'active';
  const path = { webhook: webhook.id };
  const test = (): Promise<void> =>
    attempt(async () => {
      const { delivered, status, error } = (await ask(postWebhooksWebhookTest, { path })).value;
      if (delivered) say('The test event arrived');
      else say(`The test event did not arrive: ${error ?? `status ${status ?? 'unknown'}`}`, 'fault');
    });
  const turn = (): Promise<void> =>
    attempt(async () => {
      await ask(patchWebhooksWebhook, { path, body: { state: isOn ? 'disabled' : 'active' } });
      again();
    });
  const remove = (): void =>
    deleteLater(webhook.id, 'The webhook is being deleted', (isLast) =>
      ask(deleteWebhooksWebhook, { path, keepalive: isLast }),
    );
  return (
    <tr>
      <Cell of="Address">
        <span class="cell-main mono">{webhook.url}</span>
      </Cell>
      <Cell of="Hears of">
        {webhook.types.map((type) => (type === '*' ? 'everything' : type)).join(', ')}
      </Cell>
      <Cell of="State">
        <WebhookState webhook={webhook} />
      </Cell>
      <Cell of="Actions">
        <span class="cell-actions">
          <Button kind="quiet" onClick={onOpen} label={`Deliveries to ${webhook.url}`}>
            Deliveries
          </Button>
          <Button kind="quiet" waits={cannot} onClick={() => void test()} label={`Test ${webhook.url}`}>
            Test
          </Button>
          <Button
            kind="quiet"
            waits={cannot}
            onClick={() => void turn()}
            label={`Turn ${isOn ? 'off' : 'on'} ${webhook.url}`}
          >
            {isOn ? 'Turn off' : 'Turn on'}
          </Button>
          <Button kind="quiet" waits={cannot} onClick={remove} label={`Delete ${webhook.url}`}>
            Delete
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
  const cannot = may(WRITE) ? waits.value : 'Your role makes no webhooks';
  return (
    <>
      <PageHead
        title="Webhooks"
        action={
          <Button kind="main" icon="add" onClick={() => setNew(true)} waits={cannot}>
            New webhook
          </Button>
        }
      >
        <p class="page-lead">Your servers hear of what happens here, signed as Standard Webhooks says.</p>
      </PageHead>
      {made?.secret !== undefined && (
        <section class="panel" aria-labelledby="made-title">
          <h2 id="made-title">The secret that signs</h2>
          <p class="panel-lead">
            It is shown this once. Your server checks with it that an event comes from here.
          </p>
          <Secret label="Secret" secret={made.secret} copyLabel="Copy secret" main />
          <Button kind="quiet" onClick={() => setMade(null)}>
            I have it
          </Button>
        </section>
      )}
      <Loaded
        resource={pages.resource.value}
        what="The webhooks cannot be shown."
        again={pages.again}
        placeholder={<Placeholder rows={3} />}
      >
        {({ items, next_cursor }) => {
          const shown = items.filter(({ id }) => !leaving.value.has(id));
          if (shown.length === 0)
            return (
              <Empty title="No webhook yet">A webhook tells your own server when a stream goes live.</Empty>
            );
          return (
            <>
              <Table caption="Webhooks" columns={['Address', 'Hears of', 'State', 'Actions']}>
                {shown.map((webhook) => (
                  <WebhookRow
                    key={webhook.id}
                    webhook={webhook}
                    again={pages.again}
                    onOpen={() => setOpen(webhook)}
                  />
                ))}
              </Table>
              <Pager pages={pages} next={next_cursor} words={['Earlier', 'Later']} />
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
