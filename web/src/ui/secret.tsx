/** A secret that is shown once: masked after a minute, in no address, no storage and no log. It goes with the page. */

import { useEffect, useState } from 'preact/hooks';
import { uiSecret as t } from '../text/en';
import { Button } from './button';
import { CopyButton } from './copy';

/** How long a secret stays readable, milliseconds: somebody may stand behind the streamer. */
export const READABLE_MS = 60_000;

/** What stands in its place: as many dots for every secret, and its end, which the lists show, too. Pure. */
export function masked(secret: string): string {
  return `${'•'.repeat(24)}${secret.slice(-4)}`;
}

export function Secret({
  label,
  secret,
  copyLabel,
  main = false,
}: {
  label: string;
  secret: string;
  copyLabel: string;
  main?: boolean;
}) {
  const [isShown, setShown] = useState(true);
  useEffect(() => {
    if (!isShown) return undefined;
    const timer = setTimeout(() => setShown(false), READABLE_MS);
    return () => clearTimeout(timer);
  }, [isShown]);
  return (
    <div class="copy-line copy-line-secret">
      <span class="copy-line-label">{label}</span>
      <code class="copy-line-text" data-secret={isShown ? 'shown' : 'masked'}>
        {isShown ? secret : masked(secret)}
      </code>
      <Button kind="quiet" icon={isShown ? 'hidden' : 'shown'} onClick={() => setShown(!isShown)}>
        {isShown ? t.hide : t.show}
      </Button>
      <CopyButton label={copyLabel} text={secret} main={main} />
    </div>
  );
}
