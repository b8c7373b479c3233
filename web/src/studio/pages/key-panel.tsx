/** What an encoder needs: the server and the key, for OBS and for ffmpeg. */

import type { Stream } from '../../api/generated/api';
import { Button } from '../../ui/button';
import { CopyLine } from '../../ui/copy';
import { Secret } from '../../ui/secret';
import { obsProfile } from '../obs-profile';
import { ffmpegLine, serverUrl } from '../publish';

/** Gives the browser a file to keep. It never leaves this machine. */
function download(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/zip' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function KeyPanel({ stream, secret }: { stream: Stream; secret: string }) {
  const server = serverUrl(location.hostname);
  return (
    <section class="panel key-panel" aria-labelledby="key-title">
      <h2 id="key-title">Stream key</h2>
      <p class="panel-lead">It is shown this once. Whoever has it can broadcast as you.</p>
      <Secret label="Key" secret={secret} copyLabel="Copy key" main />
      <h3>OBS</h3>
      <p>
        Settings › Stream: the service “Custom…”, this server, and the key. Settings › Output: a keyframe
        interval of 2 s.
      </p>
      <CopyLine label="Server" text={server} copyLabel="Copy server" />
      <p class="panel-note">This is the usual address. Where your operator chose another, they know it.</p>
      <Button
        icon="download"
        onClick={() =>
          download(`${stream.name}-obs-profile.zip`, obsProfile({ name: stream.name, server, key: secret }))
        }
      >
        Download an OBS profile
      </Button>
      <p class="panel-note">
        A folder with these settings and the key: unpack it, then Profile › Import in OBS.
      </p>
      <h3>ffmpeg</h3>
      <CopyLine label="Command" text={ffmpegLine(server)} copyLabel="Copy command" />
      <p class="panel-note">
        <code>read -rs KEY</code> asks for the key before that, so that it stands in no file and no shell’s
        history.
      </p>
    </section>
  );
}
