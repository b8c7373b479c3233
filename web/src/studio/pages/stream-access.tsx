/** Who may watch a stream, how they get there, and which sites may show it. */

import { useState } from 'preact/hooks';
import { patchStreamsStream, postViewerTokens, type Stream, type ViewerToken } from '../../api/generated/api';
import { ask } from '../../api/request';
import { Button } from '../../ui/button';
import { CopyLine } from '../../ui/copy';
import { Choice, SelectField, TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { Secret } from '../../ui/secret';
import { exactAt } from '../../ui/time';
import { say } from '../../ui/toasts';
import { may, waits } from '../session';
import { useSubmit } from '../submit';

const VISIBILITIES: ReadonlyArray<readonly [id: string, label: string, about: string]> = [
  ['public', 'Everybody', 'It stands on the first page while it is live.'],
  ['unlisted', 'Whoever has the address', 'It stands on no page.'],
  ['members', 'Members', 'Whoever is signed in and belongs to this tenant.'],
  ['token', 'Whoever has a token', 'You hand tokens out, or your website does.'],
];

const EMBEDS: ReadonlyArray<readonly [id: string, label: string]> = [
  ['listed', 'on the sites listed here'],
  ['anywhere', 'on every site'],
  ['nowhere', 'nowhere'],
];

const LIVES: ReadonlyArray<readonly [seconds: string, label: string]> = [
  ['3600', 'an hour'],
  ['14400', 'four hours'],
  ['86400', 'a day'],
];

/** A frame with the player, for another site. Names of streams have no character that HTML reads. */
export const embedCode = (origin: string, name: string): string =>
  `<iframe src="${origin}/live/${encodeURIComponent(name)}/embed" width="640" height="360" allow="autoplay; fullscreen" allowfullscreen></iframe>`;

function Viewers({ stream }: { stream: Stream }) {
  const [visibility, setVisibility] = useState<string>(stream.visibility ?? 'public');
  const [kept, setKept] = useState(visibility);
  const submit = useSubmit(async () => {
    await ask(patchStreamsStream, { path: { stream: stream.name }, body: { visibility } });
    setKept(visibility);
    say('Saved');
  });
  const cannot = may('streams:write') ? waits.value : 'Your role changes no streams';
  return (
    <section class="panel" aria-labelledby="viewers-title">
      <h2 id="viewers-title">Who may watch</h2>
      <Form submit={submit} failed="Nothing was saved.">
        <Choice legend="Viewers" value={visibility} onChange={setVisibility} options={VISIBILITIES} />
        <div class="actions">
          <Button
            type="submit"
            kind="main"
            busy={submit.busy}
            waits={visibility === kept ? 'Nothing is changed' : cannot}
          >
            Save
          </Button>
        </div>
      </Form>
    </section>
  );
}

function Token({ stream }: { stream: Stream }) {
  const [life, setLife] = useState('14400');
  const [made, setMade] = useState<ViewerToken | null>(null);
  const submit = useSubmit(async (idempotencyKey) => {
    const body = { streams: [stream.name], ttl_s: Number(life) };
    setMade((await ask(postViewerTokens, { body, idempotencyKey })).value);
  });
  const page = made && `${location.origin}/watch/${encodeURIComponent(stream.name)}#t=${made.token}`;
  return (
    <section class="panel" aria-labelledby="token-title">
      <h2 id="token-title">Viewer tokens</h2>
      <p>A token opens this stream for whoever has it, until its time is over.</p>
      <Form submit={submit} failed="The token was not made.">
        <SelectField label="It counts for" value={life} onChange={setLife} options={LIVES} />
        <div class="actions">
          <Button
            type="submit"
            busy={submit.busy}
            waits={may('tokens:write') ? waits.value : 'Your role makes no tokens'}
          >
            Make a token
          </Button>
        </div>
      </Form>
      {made && page !== null && (
        <>
          <Secret key={made.token} label="Page" secret={page} copyLabel="Copy address" />
          <p class="panel-note">Until {exactAt(made.expires_at)}. It is shown this once.</p>
        </>
      )}
    </section>
  );
}

function Embed({ stream }: { stream: Stream }) {
  const [embed, setEmbed] = useState<string>(stream.embed ?? 'listed');
  const [sites, setSites] = useState((stream.origins ?? []).join('\n'));
  const [kept, setKept] = useState({ embed, sites });
  const submit = useSubmit(async () => {
    const origins = sites.split(/\s+/).filter((site) => site !== '');
    await ask(patchStreamsStream, { path: { stream: stream.name }, body: { embed, origins } });
    setKept({ embed, sites });
    say('Saved');
  });
  const wrong = submit.error?.errors.find(({ pointer }) => pointer.startsWith('#/origins'));
  const line = wrong && sites.split(/\s+/)[Number(wrong.pointer.split('/')[2] ?? 0)];
  const isChanged = embed !== kept.embed || sites !== kept.sites;
  const cannot = may('streams:write') ? waits.value : 'Your role changes no streams';
  return (
    <section class="panel" aria-labelledby="embed-title">
      <h2 id="embed-title">On other sites</h2>
      <Form submit={submit} failed="Nothing was saved.">
        <SelectField label="The player may stand" value={embed} onChange={setEmbed} options={EMBEDS} />
        <TextField
          label="Sites"
          hint="One a line, such as https://town.example. Only these may read the stream by script, too; without one, every site may."
          rows={3}
          mono
          value={sites}
          onInput={setSites}
          error={wrong ? `This is no site: ${line ?? ''}. Write https:// and a host.` : null}
        />
        <div class="actions">
          <Button type="submit" busy={submit.busy} waits={isChanged ? cannot : 'Nothing is changed'}>
            Save
          </Button>
        </div>
      </Form>
      {embed !== 'nowhere' && (
        <CopyLine label="Code" text={embedCode(location.origin, stream.name)} copyLabel="Copy code" />
      )}
    </section>
  );
}

export function AccessTab({ stream }: { stream: Stream }) {
  const name = encodeURIComponent(stream.name);
  return (
    <div class="panels">
      <section class="panel" aria-labelledby="share-title">
        <h2 id="share-title">Share</h2>
        <CopyLine label="Page" text={`${location.origin}/watch/${name}`} copyLabel="Copy address" />
        <CopyLine
          label="Players"
          text={`${location.origin}/live/${name}/index.m3u8`}
          copyLabel="Copy address"
        />
        <p class="panel-note">VLC, ffplay and any HLS player open the second one.</p>
      </section>
      {stream.visibility !== undefined && (
        <>
          <Viewers stream={stream} />
          <Token stream={stream} />
        </>
      )}
      {stream.embed !== undefined && <Embed stream={stream} />}
    </div>
  );
}
