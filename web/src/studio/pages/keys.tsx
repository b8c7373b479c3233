/** `/studio/settings/keys`: API keys, for programs. */

import { useState } from 'preact/hooks';
import {
  type ApiKey,
  deleteApiKeysKey,
  getApiKeys,
  postApiKeys,
  postApiKeysKeyRotate,
} from '../../api/generated/api';
import { ask } from '../../api/request';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Checks, Choice, SelectField, TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { Empty, Failure, Loaded, Placeholder } from '../../ui/loaded';
import { Secret } from '../../ui/secret';
import { Ago, On } from '../../ui/time';
import { deleteLater, leaving } from '../../ui/toasts';
import { codeText } from '../problems';
import { expiryAt, LIFETIMES, ROLES, rightsOf } from '../rights';
import { may, scopes, waits } from '../session';
import { PageHead } from '../shell';
import { useSubmit } from '../submit';
import { Cell, Pager, Table, usePages } from './list';

const WRITE = 'api-keys:write';

function NewKey({ onMade, onClose }: { onMade: (key: ApiKey) => void; onClose: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState('producer');
  const [chosen, setChosen] = useState<string[]>([]);
  const [lifetime, setLifetime] = useState('90');
  const submit = useSubmit(async (idempotencyKey) => {
    const rights = role === 'scopes' ? { scopes: chosen } : { role };
    const body = { name: name.trim(), ...rights, expires_at: expiryAt(lifetime, Date.now()) };
    onMade((await ask(postApiKeys, { body, idempotencyKey })).value);
  });
  const roles = ROLES.filter(([id]) => id !== 'operator' || scopes.value.has('cluster:write'));
  return (
    <Dialog title="New API key" onClose={onClose}>
      <Form submit={submit} failed="The key was not made." fields={['name', 'scopes']}>
        <TextField
          label="Name"
          value={name}
          onInput={setName}
          maxLength={100}
          required
          placeholder="Website of the parish"
          error={codeText(submit.error?.of('name') ?? null)}
        />
        <Choice legend="What it may do" value={role} onChange={setRole} options={roles} />
        {role === 'scopes' && (
          <Checks legend="Scopes" options={[...scopes.value].sort()} chosen={chosen} onChange={setChosen} />
        )}
        <SelectField label="Ends" value={lifetime} onChange={setLifetime} options={LIFETIMES} />
        <div class="actions">
          <Button type="submit" kind="main" busy={submit.busy} waits={waits.value}>
            Make the key
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function RotateKey({
  of,
  onMade,
  onClose,
}: {
  of: ApiKey;
  onMade: (key: ApiKey) => void;
  onClose: () => void;
}) {
  const [overlap, setOverlap] = useState('86400');
  const submit = useSubmit(async (idempotencyKey) => {
    onMade(
      (
        await ask(postApiKeysKeyRotate, {
          path: { key: of.id },
          body: { overlap_s: Number(overlap) },
          idempotencyKey,
        })
      ).value,
    );
  });
  return (
    <Dialog title={`Replace the secret of “${of.name}”?`} onClose={onClose}>
      <p>The key keeps its name and rights, and gets another secret.</p>
      {submit.error && <Failure error={submit.error} what="The secret was not replaced." />}
      <SelectField
        label="The secret in use"
        value={overlap}
        onChange={setOverlap}
        options={[
          ['0', 'ends at once'],
          ['3600', 'is accepted for an hour more'],
          ['86400', 'is accepted for a day more'],
          ['604800', 'is accepted for a week more'],
        ]}
      />
      <div class="actions">
        <Button kind="main" busy={submit.busy} onClick={() => void submit.send()}>
          Replace the secret
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Dialog>
  );
}

function KeyRow({ shown, onRotate }: { shown: ApiKey; onRotate: () => void }) {
  const remove = (): void =>
    deleteLater(shown.id, `“${shown.name}” is being deleted`, (isLast) =>
      ask(deleteApiKeysKey, { path: { key: shown.id }, keepalive: isLast }),
    );
  const cannot = may(WRITE) ? waits.value : 'Your role changes no keys';
  return (
    <tr>
      <Cell of="Name">
        <span class="cell-main">{shown.name}</span>
        <code class="cell-note">{shown.hint}</code>
      </Cell>
      <Cell of="May">{rightsOf(shown.scopes)}</Cell>
      <Cell of="Last used">{shown.last_used_at === null ? 'never' : <Ago at={shown.last_used_at} />}</Cell>
      <Cell of="Ends">{shown.expires_at === null ? 'never' : <On at={shown.expires_at} />}</Cell>
      <Cell of="Actions">
        <span class="cell-actions">
          <Button
            kind="quiet"
            waits={cannot}
            onClick={onRotate}
            label={`Replace the secret of ${shown.name}`}
          >
            Replace
          </Button>
          <Button kind="quiet" waits={cannot} onClick={remove} label={`Delete ${shown.name}`}>
            Delete
          </Button>
        </span>
      </Cell>
    </tr>
  );
}

type Open = { what: 'new' } | { what: 'rotate'; key: ApiKey } | null;

export function KeysPage() {
  const pages = usePages(getApiKeys);
  const [open, setOpen] = useState<Open>(null);
  const [made, setMade] = useState<ApiKey | null>(null);
  const close = (): void => setOpen(null);
  const onMade = (key: ApiKey): void => {
    setMade(key);
    close();
    pages.again();
  };
  const cannot = may(WRITE) ? waits.value : 'Your role makes no keys';
  const make = (
    <Button kind="main" icon="add" onClick={() => setOpen({ what: 'new' })} waits={cannot}>
      New key
    </Button>
  );
  return (
    <>
      <PageHead title="API keys" action={make}>
        <p class="page-lead">
          For programs that make streams, read figures or hand out viewer tokens. People sign in instead.
        </p>
      </PageHead>
      {made?.secret !== undefined && (
        <section class="panel" aria-labelledby="made-title">
          <h2 id="made-title">The secret of “{made.name}”</h2>
          <p class="panel-lead">It is shown this once. Put it where only the program can read it.</p>
          <Secret label="Secret" secret={made.secret} copyLabel="Copy secret" main />
          <Button kind="quiet" onClick={() => setMade(null)}>
            I have it
          </Button>
        </section>
      )}
      <Loaded
        resource={pages.resource.value}
        what="The keys cannot be shown."
        again={pages.again}
        placeholder={<Placeholder rows={4} />}
      >
        {({ items, next_cursor }) => {
          const shown = items.filter(({ id }) => !leaving.value.has(id));
          if (shown.length === 0)
            return <Empty title="No API key yet">A key lets a program do what you could do here.</Empty>;
          return (
            <>
              <Table caption="API keys" columns={['Name', 'May', 'Last used', 'Ends', 'Actions']}>
                {shown.map((key) => (
                  <KeyRow key={key.id} shown={key} onRotate={() => setOpen({ what: 'rotate', key })} />
                ))}
              </Table>
              <Pager pages={pages} next={next_cursor} words={['Earlier', 'Later']} />
            </>
          );
        }}
      </Loaded>
      {open?.what === 'new' && <NewKey onMade={onMade} onClose={close} />}
      {open?.what === 'rotate' && <RotateKey of={open.key} onMade={onMade} onClose={close} />}
    </>
  );
}
