/** Who may watch a stream, how they get there, and which sites may show it. */

import { useState } from 'preact/hooks';
import { patchStreamsStream, postViewerTokens, type Stream, type ViewerToken } from '../../api/generated/api';
import { ask } from '../../api/request';
import { common } from '../../text/en';
import { streamAccess as t } from '../../text/en-later';
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
  ['public', t.everybody, t.itStandsOnTheFirstPage],
  ['unlisted', t.whoeverHasTheAddress, t.itStandsOnNoPage],
  ['members', common.members, t.whoeverIsSignedInAndBelongs],
  ['token', t.whoeverHasAToken, t.youHandTokensOutOrYour],
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
    say(common.saved);
  });
  const cannot = may('streams:write') ? waits.value : common.yourRoleChangesNoStreams;
  return (
    <section class="panel" aria-labelledby="viewers-title">
      <h2 id="viewers-title">{t.whoMayWatch}</h2>
      <Form submit={submit} failed={common.nothingWasSaved}>
        <Choice legend={t.viewers} value={visibility} onChange={setVisibility} options={VISIBILITIES} />
        <div class="actions">
          <Button
            type="submit"
            kind="main"
            busy={submit.busy}
            waits={visibility === kept ? common.nothingIsChanged : cannot}
          >
            {common.save}
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
      <h2 id="token-title">{t.viewerTokens}</h2>
      <p>{t.aTokenOpensThisStreamFor}</p>
      <Form submit={submit} failed={t.theTokenWasNotMade}>
        <SelectField label={t.itCountsFor} value={life} onChange={setLife} options={LIVES} />
        <div class="actions">
          <Button
            type="submit"
            busy={submit.busy}
            waits={may('tokens:write') ? waits.value : t.yourRoleMakesNoTokens}
          >
            {t.makeAToken}
          </Button>
        </div>
      </Form>
      {made && page !== null && (
        <>
          <Secret key={made.token} label={t.page} secret={page} copyLabel={t.copyAddress} />
          <p class="panel-note">
            {t.until}
            {exactAt(made.expires_at)}
            {t.itIsShownThisOnce}
          </p>
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
    say(common.saved);
  });
  const wrong = submit.error?.errors.find(({ pointer }) => pointer.startsWith('#/origins'));
  const line = wrong && sites.split(/\s+/)[Number(wrong.pointer.split('/')[2] ?? 0)];
  const isChanged = embed !== kept.embed || sites !== kept.sites;
  const cannot = may('streams:write') ? waits.value : common.yourRoleChangesNoStreams;
  return (
    <section class="panel" aria-labelledby="embed-title">
      <h2 id="embed-title">{t.onOtherSites}</h2>
      <Form submit={submit} failed={common.nothingWasSaved}>
        <SelectField label={t.thePlayerMayStand} value={embed} onChange={setEmbed} options={EMBEDS} />
        <TextField
          label={t.sites}
          hint={t.oneALineSuchAsHttps}
          rows={3}
          mono
          value={sites}
          onInput={setSites}
          error={wrong ? t.thisIsNoSiteValueWrite(line ?? '') : null}
        />
        <div class="actions">
          <Button type="submit" busy={submit.busy} waits={isChanged ? cannot : common.nothingIsChanged}>
            {common.save}
          </Button>
        </div>
      </Form>
      {embed !== 'nowhere' && (
        <CopyLine label={t.code} text={embedCode(location.origin, stream.name)} copyLabel={t.copyCode} />
      )}
    </section>
  );
}

export function AccessTab({ stream }: { stream: Stream }) {
  const name = encodeURIComponent(stream.name);
  return (
    <div class="panels">
      <section class="panel" aria-labelledby="share-title">
        <h2 id="share-title">{t.share}</h2>
        <CopyLine label={t.page} text={`${location.origin}/watch/${name}`} copyLabel={t.copyAddress} />
        <CopyLine
          label={t.players}
          text={`${location.origin}/live/${name}/index.m3u8`}
          copyLabel={t.copyAddress}
        />
        <p class="panel-note">{t.vlcFfplayAndAnyHlsPlayer}</p>
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
