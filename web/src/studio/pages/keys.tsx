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
import { common } from '../../text/en';
import { keys as t } from '../../text/en-later';
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
    <Dialog title={t.newApiKey} onClose={onClose}>
      <Form submit={submit} failed={t.theKeyWasNotMade} fields={['name', 'scopes']}>
        <TextField
          label={t.name}
          value={name}
          onInput={setName}
          maxLength={100}
          required
          placeholder={t.websiteOfTheParish}
          error={codeText(submit.error?.of('name') ?? null)}
        />
        <Choice legend={t.whatItMayDo} value={role} onChange={setRole} options={roles} />
        {role === 'scopes' && (
          <Checks legend={t.scopes} options={[...scopes.value].sort()} chosen={chosen} onChange={setChosen} />
        )}
        <SelectField label={t.ends} value={lifetime} onChange={setLifetime} options={LIFETIMES} />
        <div class="actions">
          <Button type="submit" kind="main" busy={submit.busy} waits={waits.value}>
            {t.makeTheKey}
          </Button>
          <Button onClick={onClose}>{common.cancel}</Button>
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
    <Dialog title={t.replaceTheSecretOfName(of.name)} onClose={onClose}>
      <p>{t.theKeyKeepsItsNameAnd}</p>
      {submit.error && <Failure error={submit.error} what={t.theSecretWasNotReplaced} />}
      <SelectField
        label={t.theSecretInUse}
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
          {t.replaceTheSecret}
        </Button>
        <Button onClick={onClose}>{common.cancel}</Button>
      </div>
    </Dialog>
  );
}

function KeyRow({ shown, onRotate }: { shown: ApiKey; onRotate: () => void }) {
  const remove = (): void =>
    deleteLater(shown.id, t.nameIsBeingDeleted(shown.name), (isLast) =>
      ask(deleteApiKeysKey, { path: { key: shown.id }, keepalive: isLast }),
    );
  const cannot = may(WRITE) ? waits.value : t.yourRoleChangesNoKeys;
  return (
    <tr>
      <Cell of="Name">
        <span class="cell-main">{shown.name}</span>
        <code class="cell-note">{shown.hint}</code>
      </Cell>
      <Cell of="May">{rightsOf(shown.scopes)}</Cell>
      <Cell of={t.lastUsed}>{shown.last_used_at === null ? 'never' : <Ago at={shown.last_used_at} />}</Cell>
      <Cell of="Ends">{shown.expires_at === null ? 'never' : <On at={shown.expires_at} />}</Cell>
      <Cell of="Actions">
        <span class="cell-actions">
          <Button
            kind="quiet"
            waits={cannot}
            onClick={onRotate}
            label={t.replaceTheSecretOfName2(shown.name)}
          >
            {t.replace}
          </Button>
          <Button kind="quiet" waits={cannot} onClick={remove} label={t.deleteName(shown.name)}>
            {t.delete}
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
  const cannot = may(WRITE) ? waits.value : t.yourRoleMakesNoKeys;
  const make = (
    <Button kind="main" icon="add" onClick={() => setOpen({ what: 'new' })} waits={cannot}>
      {t.newKey}
    </Button>
  );
  return (
    <>
      <PageHead title={common.apiKeys} action={make}>
        <p class="page-lead">{t.forProgramsThatMakeStreamsRead}</p>
      </PageHead>
      {made?.secret !== undefined && (
        <section class="panel" aria-labelledby="made-title">
          <h2 id="made-title">
            {t.theSecretOf}
            {made.name}”
          </h2>
          <p class="panel-lead">{t.itIsShownThisOncePut}</p>
          <Secret label={t.secret} secret={made.secret} copyLabel={t.copySecret} main />
          <Button kind="quiet" onClick={() => setMade(null)}>
            {common.iHaveIt}
          </Button>
        </section>
      )}
      <Loaded
        resource={pages.resource.value}
        what={t.theKeysCannotBeShown}
        again={pages.again}
        placeholder={<Placeholder rows={4} />}
      >
        {({ items, next_cursor }) => {
          const shown = items.filter(({ id }) => !leaving.value.has(id));
          if (shown.length === 0) return <Empty title={t.noApiKeyYet}>{t.aKeyLetsAProgramDo}</Empty>;
          return (
            <>
              <Table caption={common.apiKeys} columns={[t.name, t.may, t.lastUsed, t.ends, common.actions]}>
                {shown.map((key) => (
                  <KeyRow key={key.id} shown={key} onRotate={() => setOpen({ what: 'rotate', key })} />
                ))}
              </Table>
              <Pager pages={pages} next={next_cursor} words={[common.earlier, common.later]} />
            </>
          );
        }}
      </Loaded>
      {open?.what === 'new' && <NewKey onMade={onMade} onClose={close} />}
      {open?.what === 'rotate' && <RotateKey of={open.key} onMade={onMade} onClose={close} />}
    </>
  );
}
