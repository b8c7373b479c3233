/** A stream's texts, its key, and its end. Two people who change one row see both versions. */

import { useEffect, useState } from 'preact/hooks';
import {
  deleteStreamsStream,
  patchStreamsStream,
  postStreamsStreamRotateKey,
  type Stream,
} from '../../api/generated/api';
import { changed, merge } from '../../api/merge';
import { ApiError, ask } from '../../api/request';
import { common } from '../../text/en';
import { streamSettings as t } from '../../text/en-later';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { Failure, Placeholder } from '../../ui/loaded';
import { deleteLater, say } from '../../ui/toasts';
import { codeText } from '../problems';
import { go } from '../router';
import { may, waits } from '../session';
import { readStreamRow } from '../streams';
import { useSubmit } from '../submit';
import { KeyPanel, Servers } from './key-panel';

interface Texts extends Record<string, unknown> {
  title: string;
  description: string;
  category: string;
}

const LABELS: Record<keyof Texts & string, string> = {
  title: t.title,
  description: t.description,
  category: t.category,
};
const textsOf = ({ title, description, category }: Stream): Texts => ({ title, description, category });

interface Row {
  stream: Stream;
  etag: string | null;
}

/** Both versions of fields that two people changed: mine is sent again unless theirs is taken. */
function Both({
  theirs,
  mine,
  fields,
  take,
}: {
  theirs: Texts;
  mine: Texts;
  fields: readonly string[];
  take: (field: string) => void;
}) {
  return (
    <div class="notice notice-warn" role="alert">
      <div>
        <p class="notice-title">{t.somebodyElseChangedThisToo}</p>
        <p>{t.chooseWhatToKeepAndSave}</p>
        {fields.map((field) => (
          <div key={field} class="both">
            <p class="both-name">{LABELS[field]}</p>
            <p>
              <span class="both-label">{t.yours}</span> {String(mine[field]) || '–'}
            </p>
            <p>
              <span class="both-label">{t.theirs}</span> {String(theirs[field]) || '–'}
            </p>
            <Button onClick={() => take(field)}>{t.takeTheirs}</Button>
          </div>
        ))}
      </div>
    </div>
  );
}

function TextsForm({ row, onRow }: { row: Row; onRow: (row: Row) => void }) {
  const [base, setBase] = useState(textsOf(row.stream));
  const [etag, setEtag] = useState(row.etag);
  const [mine, setMine] = useState(base);
  const [conflict, setConflict] = useState<{ theirs: Texts; fields: string[] } | null>(null);
  const set = (field: string, value: unknown): void => setMine({ ...mine, [field]: value });
  const patch = changed(base, mine);
  const isChanged = Object.keys(patch).length > 0;
  const meet = async (): Promise<void> => {
    const { value, etag: theirTag } = await readStreamRow(row.stream.name);
    const theirs = textsOf(value);
    const merged = merge(base, mine, theirs);
    setMine(merged.value);
    setBase(theirs);
    setEtag(theirTag);
    setConflict(merged.conflicts.length > 0 ? { theirs, fields: merged.conflicts } : null);
    if (merged.conflicts.length === 0) say(t.somebodyElseChangedOtherFieldsSave);
  };
  const submit = useSubmit(async () => {
    try {
      const { value, etag: newTag } = await ask(patchStreamsStream, {
        path: { stream: row.stream.name },
        body: patch,
        ifMatch: etag,
      });
      setBase(textsOf(value));
      setMine(textsOf(value));
      setEtag(newTag);
      setConflict(null);
      onRow({ stream: value, etag: newTag });
      say(common.saved);
    } catch (error) {
      if (!(error instanceof ApiError) || error.type !== 'version-mismatch') throw error;
      await meet();
    }
  });
  const cannot = may('streams:write') ? waits.value : common.yourRoleChangesNoStreams;
  return (
    <section class="panel" aria-labelledby="texts-title">
      <h2 id="texts-title">{t.whatViewersRead}</h2>
      <Form submit={submit} failed={common.nothingWasSaved} fields={['title', 'description', 'category']}>
        {conflict && (
          <Both
            {...conflict}
            mine={mine}
            take={(field) => {
              set(field, conflict.theirs[field]);
              const rest = conflict.fields.filter((one) => one !== field);
              setConflict(rest.length > 0 ? { ...conflict, fields: rest } : null);
            }}
          />
        )}
        <TextField
          label={t.title}
          value={mine.title}
          onInput={(value) => set('title', value)}
          maxLength={200}
          error={codeText(submit.error?.of('title') ?? null)}
        />
        <TextField
          label={t.description}
          rows={4}
          value={mine.description}
          onInput={(value) => set('description', value)}
          maxLength={5000}
          error={codeText(submit.error?.of('description') ?? null)}
        />
        <TextField
          label={t.category}
          value={mine.category}
          onInput={(value) => set('category', value)}
          maxLength={50}
          error={codeText(submit.error?.of('category') ?? null)}
        />
        <div class="actions">
          <Button
            type="submit"
            kind="main"
            busy={submit.busy}
            waits={isChanged ? cannot : common.nothingIsChanged}
          >
            {common.save}
          </Button>
        </div>
      </Form>
    </section>
  );
}

function RotateKey({ stream }: { stream: Stream }) {
  const [isAsking, setAsking] = useState(false);
  const [made, setMade] = useState<Stream | null>(null);
  const submit = useSubmit(async (idempotencyKey) => {
    const { value } = await ask(postStreamsStreamRotateKey, {
      path: { stream: stream.name },
      idempotencyKey,
    });
    setAsking(false);
    setMade(value);
  });
  const secret = made?.key.secret;
  if (made && secret !== undefined) return <KeyPanel stream={made} secret={secret} />;
  return (
    <section class="panel" aria-labelledby="rotate-title">
      <h2 id="rotate-title">{t.streamKey}</h2>
      <p>
        {t.theKeyInUseIs}
        <code>{stream.key.hint}</code>
        {t.replaceItWhenItWasLost}
      </p>
      <Servers stream={stream} />
      <div class="actions">
        <Button
          icon="key"
          onClick={() => setAsking(true)}
          waits={may('streams:keys') ? waits.value : t.yourRoleMakesNoKeys}
        >
          {t.makeANewKey}
        </Button>
      </div>
      {isAsking && (
        <Dialog title={t.makeANewKey2} onClose={() => setAsking(false)}>
          <p>{t.theKeyInUseEndsAt}</p>
          {submit.error && <Failure error={submit.error} what={t.theKeyWasNotReplaced} />}
          <div class="actions">
            <Button kind="main" busy={submit.busy} onClick={() => void submit.send()}>
              {t.makeANewKey}
            </Button>
            <Button onClick={() => setAsking(false)}>{t.keepTheKey}</Button>
          </div>
        </Dialog>
      )}
    </section>
  );
}

function DeleteStream({ name, id }: { name: string; id: string }) {
  const remove = (): void => {
    deleteLater(id, t.nameIsBeingDeleted(name), (isLast) =>
      ask(deleteStreamsStream, { path: { stream: name }, keepalive: isLast }),
    );
    go('/studio/streams');
  };
  return (
    <section class="panel panel-end" aria-labelledby="delete-title">
      <h2 id="delete-title">{t.deleteTheStream}</h2>
      <p>{t.itsPageAndItsKeyGo}</p>
      <div class="actions">
        <Button
          kind="danger"
          onClick={remove}
          waits={may('streams:write') ? waits.value : t.yourRoleDeletesNoStreams}
        >
          {t.deleteTheStream}
        </Button>
      </div>
    </section>
  );
}

export function SettingsTab({ name, id }: { name: string; id: string }) {
  const [row, setRow] = useState<Row | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isHere = true;
    setError(null);
    readStreamRow(name).then(
      ({ value, etag }) => isHere && setRow({ stream: value, etag }),
      (failed: unknown) => isHere && failed instanceof ApiError && setError(failed),
    );
    return () => {
      isHere = false;
    };
  }, [name, attempt]);
  if (error)
    return <Failure error={error} what={t.theSettingsCannotBeShown} again={() => setAttempt(attempt + 1)} />;
  if (!row) return <Placeholder rows={4} />;
  return (
    <div class="panels">
      <TextsForm row={row} onRow={setRow} />
      <RotateKey stream={row.stream} />
      <DeleteStream name={name} id={id} />
    </div>
  );
}
