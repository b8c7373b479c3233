/** What an encoder needs: the server and the key, for OBS and for ffmpeg. */

import type { Stream } from '../../api/generated/api';
import { keyPanel as t } from '../../text/en-later';
import { Button } from '../../ui/button';
import { CopyLine } from '../../ui/copy';
import { Secret } from '../../ui/secret';
import { obsProfile } from '../obs-profile';
import { ffmpegLine } from '../publish';

/** Gives the browser a file to keep. It never leaves this machine. */
function download(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/zip' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Where an encoder publishes. */
export function Servers({ stream }: { stream: Stream }) {
  const servers = stream.publish_urls ?? [];
  if (servers.length === 0) return <p class="panel-note">{t.noIngestIsThereNow}</p>;
  return servers.map((server) => (
    <CopyLine key={server} label={t.server} text={server} copyLabel={t.copyServer} />
  ));
}

export function KeyPanel({ stream, secret }: { stream: Stream; secret: string }) {
  const server = stream.publish_urls?.[0];
  return (
    <section class="panel key-panel" aria-labelledby="key-title">
      <h2 id="key-title">{t.streamKey}</h2>
      <p class="panel-lead">{t.itIsShownThisOnceWhoever}</p>
      <Secret label={t.key} secret={secret} copyLabel={t.copyKey} main />
      <h3>OBS</h3>
      <p>{t.settingsStreamTheServiceCustomThis}</p>
      <Servers stream={stream} />
      {server !== undefined && (
        <>
          <Button
            icon="download"
            onClick={() =>
              download(
                `${stream.name}-obs-profile.zip`,
                obsProfile({ name: stream.name, server, key: secret }),
              )
            }
          >
            {t.downloadAnObsProfile}
          </Button>
          <p class="panel-note">{t.aFolderWithTheseSettingsAnd}</p>
          <h3>ffmpeg</h3>
          <CopyLine label={t.command} text={ffmpegLine(server)} copyLabel={t.copyCommand} />
          <p class="panel-note">
            <code>read -rs KEY</code>
            {t.asksForTheKeyBeforeThat}
          </p>
        </>
      )}
    </section>
  );
}
