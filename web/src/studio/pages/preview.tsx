/** What viewers see: their player, in a frame. Where this server has no frame for the stream, its newest picture. */

import { useEffect, useState } from 'preact/hooks';
import { postStreamsStreamWatch, type Stream } from '../../api/generated/api';
import { ApiError, ask } from '../../api/request';
import { preview as t } from '../../text/en';
import { Poster } from './streams';

/** Where the frame's page is; null until that is known, or where there is none. */
function useFrame(stream: Stream): string | null {
  const [token, setToken] = useState<string | null>(null);
  const isForSome = stream.visibility === 'members' || stream.visibility === 'token';
  const hasFrame = stream.embed !== undefined && stream.live?.state === 'live';
  useEffect(() => {
    if (!hasFrame || !isForSome || token !== null) return;
    // The studio's cookie opens nothing at a node: a token for this one stream does.
    ask(postStreamsStreamWatch, { path: { stream: stream.name } }).then(
      ({ value }) => setToken(value.token),
      (error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
      },
    );
  }, [stream.name, hasFrame, isForSome, token]);
  if (!hasFrame || (isForSome && token === null)) return null;
  const page = `/live/${encodeURIComponent(stream.name)}/embed`;
  return isForSome ? `${page}#t=${token}` : page;
}

export function Preview({ stream }: { stream: Stream }) {
  const frame = useFrame(stream);
  if (frame === null) return <Poster stream={stream} />;
  return <iframe title={t.whatViewersSee} src={frame} allow="autoplay; fullscreen" />;
}
