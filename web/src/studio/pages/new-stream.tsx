/** `/studio/new`: a new stream, and then its key, which is shown this once, with what a streamer does next. */

import { useEffect, useState } from 'preact/hooks';
import { postStreams, type Stream } from '../../api/generated/api';
import { ask } from '../../api/request';
import { latest } from '../../api/resource';
import { common } from '../../text/en';
import { newStream as t } from '../../text/en-later';
import { Button, LinkButton } from '../../ui/button';
import { TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { codeText } from '../problems';
import { nameOf, namePrefix } from '../publish';
import { streamPath } from '../routes';
import { may, session, waits } from '../session';
import { PageHead } from '../shell';
import { useStream } from '../streams';
import { useSubmit } from '../submit';
import { KeyPanel } from './key-panel';
import { Steps } from './steps';

function Made({ stream, secret }: { stream: Stream; secret: string }) {
  const watched = useStream(stream.name);
  const shown = latest(watched.resource.value) ?? stream;
  return (
    <>
      <PageHead title={stream.title || stream.name} back={['/studio/streams', common.streams]}>
        <p class="page-lead">{t.yourStreamIsMadeGiveIts}</p>
      </PageHead>
      <KeyPanel stream={shown} secret={secret} />
      <Steps stream={shown} />
      <div class="actions">
        <LinkButton href={streamPath(stream.name)} icon="pulse">
          {t.openTheStream}
        </LinkButton>
      </div>
    </>
  );
}

export function NewStreamPage() {
  const [title, setTitle] = useState('');
  const [name, setName] = useState<string | null>(null);
  const [made, setMade] = useState<Stream | null>(null);
  const prefix = namePrefix(session.value?.tenant.slug ?? 'default');
  const proposed = name ?? nameOf(title);
  const submit = useSubmit(async (idempotencyKey) => {
    const { value } = await ask(postStreams, {
      body: { name: prefix + proposed, title: title.trim() },
      idempotencyKey,
    });
    setMade(value);
  });
  useEffect(() => {
    if (made) document.querySelector<HTMLElement>('h1')?.focus();
  }, [made]);
  if (made?.key.secret !== undefined) return <Made stream={made} secret={made.key.secret} />;
  return (
    <>
      <PageHead title={t.newStream} back={['/studio/streams', common.streams]}>
        <p class="page-lead">{t.viewersFindItUnderItsName}</p>
      </PageHead>
      <Form submit={submit} failed={t.theStreamWasNotMade} fields={['name', 'title']}>
        <TextField
          label={t.title}
          value={title}
          onInput={setTitle}
          maxLength={200}
          placeholder={t.sundayConcert}
          error={codeText(submit.error?.of('title') ?? null)}
        />
        <TextField
          label={t.name}
          hint={t.lettersDigitsAndItStandsIn}
          value={proposed}
          onInput={setName}
          prefix={prefix}
          mono
          required
          maxLength={64}
          error={nameError(submit.error?.of('name') ?? null, submit.error?.type ?? '')}
        />
        <div class="actions">
          <Button
            type="submit"
            kind="main"
            busy={submit.busy}
            waits={may('streams:write') ? waits.value : t.yourRoleMakesNoStreams}
          >
            {t.create}
          </Button>
          <LinkButton href="/studio/streams" kind="quiet">
            {common.cancel}
          </LinkButton>
        </div>
      </Form>
    </>
  );
}

function nameError(code: string | null, type: string): string | null {
  return type === 'name-taken' ? t.aStreamHasThisNameAlready : codeText(code);
}
