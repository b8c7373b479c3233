/** From the key to the viewers: four things that have to happen, each ticked when it has. */

import { useEffect, useState } from 'preact/hooks';
import type { Stream } from '../../api/generated/api';
import { livePlaylist } from '../../routes';
import { steps as t } from '../../text/en';
import { Icon } from '../../ui/icon';
import { stepsDone } from '../publish';

/** How often it is asked whether viewers can play, milliseconds. */
const ASK_MS = 2_000;

const LABELS = [t.yourKeyIsUsed, t.aPictureComesIn, t.itIsSealed, t.viewersCanPlayIt] as const;

/** Whether a node answers with the stream's playlist, as it does to any viewer. */
function usePlayable(stream: Stream): boolean {
  const [isPlayable, setPlayable] = useState(false);
  const isLive = stream.live?.state === 'live';
  useEffect(() => {
    if (!isLive || isPlayable) return undefined;
    const look = async (): Promise<void> => {
      const answer = await fetch(livePlaylist(stream.name), { cache: 'no-store' }).catch(() => null);
      if (answer?.ok) setPlayable(true);
    };
    const timer = setInterval(() => void look(), ASK_MS);
    void look();
    return () => clearInterval(timer);
  }, [stream.name, isLive, isPlayable]);
  return isPlayable;
}

export function Steps({ stream }: { stream: Stream }) {
  const done = stepsDone(stream, usePlayable(stream));
  const next = done.indexOf(false);
  return (
    <section class="panel" aria-labelledby="steps-title">
      <h2 id="steps-title">{t.onTheWayToYourViewers}</h2>
      <ol class="steps">
        {LABELS.map((label, index) => {
          const state = done[index] ? 'done' : index === next ? 'next' : 'later';
          return (
            <li key={label} class={`step step-${state}`}>
              <span class="step-mark" aria-hidden="true">
                {done[index] && <Icon name="check" />}
              </span>
              {label}
              <span class="visually-hidden">{done[index] ? ', done' : ', not yet'}</span>
            </li>
          );
        })}
      </ol>
      <p class="panel-note" role="status">
        {next === -1 ? t.youAreLive : done[0] ? '' : t.waitingForYourEncoder}
      </p>
    </section>
  );
}
