/** The chat of a stream: who writes, how fast, and the chat itself with its moderation, as it stands beside the player. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { patchStreamsStream, postStreamsStreamWatch, type Stream } from '../../api/generated/api';
import { ApiError, ask } from '../../api/request';
import { accountOf } from '../../chat/account';
import { Chat } from '../../chat/panel';
import { common } from '../../text/en';
import { streamChat as t, chat as text } from '../../text/en-later';
import { Button } from '../../ui/button';
import { Choice } from '../../ui/field';
import { Form } from '../../ui/form';
import { Failure } from '../../ui/loaded';
import { say } from '../../ui/toasts';
import { may, session, waits } from '../session';
import { useSubmit } from '../submit';

/** Who may watch without a token. */
const OPEN = ['public', 'unlisted'];

function ChatForm({ stream, onSaved }: { stream: Stream; onSaved: (isOn: boolean) => void }) {
  const [on, setOn] = useState(stream.chat?.on ? 'on' : 'off');
  const [writers, setWriters] = useState<string>(stream.chat?.writers ?? 'everybody');
  const [kept, setKept] = useState({ on, writers });
  const submit = useSubmit(async () => {
    const body = { chat: { on: on === 'on', writers } };
    await ask(patchStreamsStream, { path: { stream: stream.name }, body });
    setKept({ on, writers });
    onSaved(on === 'on');
    say(common.saved);
  });
  const isChanged = on !== kept.on || writers !== kept.writers;
  const cannot = may('streams:write') ? waits.value : common.yourRoleChangesNoStreams;
  return (
    <section class="panel" aria-labelledby="chat-title">
      <h2 id="chat-title">{text.settings}</h2>
      <Form submit={submit} failed={common.nothingWasSaved}>
        <Choice legend={text.isOn} value={on} onChange={setOn} options={[text.on, text.isOff]} />
        <Choice
          legend={text.writers}
          value={writers}
          onChange={setWriters}
          options={[text.everybody, text.token]}
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

/** What stands before the paths of whoever may watch a stream that is not for everybody. */
async function tokenPath(stream: Stream): Promise<string> {
  if (OPEN.includes(stream.visibility ?? 'public')) return '';
  const { value } = await ask(postStreamsStreamWatch, { path: { stream: stream.name } });
  return `/t/${value.token}`;
}

function LiveChat({ stream }: { stream: Stream }) {
  const place = useRef<HTMLDivElement>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let chat: Chat | null = null;
    let isHere = true;
    setError(null);
    tokenPath(stream).then(
      async (token) => {
        const known = session.value;
        if (!isHere || !known) return;
        chat = new Chat(stream.name, token);
        place.current?.replaceChildren(chat.panel);
        await chat.enter(accountOf(known, true));
      },
      (failed: unknown) => isHere && failed instanceof ApiError && setError(failed),
    );
    return () => {
      isHere = false;
      chat?.close();
    };
  }, [stream.name, stream.visibility, attempt]);
  if (error)
    return <Failure error={error} what={t.theChatCannotBeShown} again={() => setAttempt(attempt + 1)} />;
  return <div ref={place} class="studio-chat" />;
}

export function ChatTab({ stream }: { stream: Stream }) {
  const [isOn, setOn] = useState(stream.chat?.on === true);
  return (
    <div class="panels">
      {isOn ? <LiveChat stream={stream} /> : <p class="page-note">{text.offNote}</p>}
      <ChatForm stream={stream} onSaved={setOn} />
    </div>
  );
}
