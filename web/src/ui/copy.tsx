/** Copies a text, and says so, also to a screen reader. */

import { useRef, useState } from 'preact/hooks';
import { uiCopy as t } from '../text/en';
import { Icon } from './icon';

/** How long "Copied" is shown, milliseconds. */
const COPIED_MS = 1_600;

export function CopyButton({ label, text, main = false }: { label: string; text: string; main?: boolean }) {
  const [said, setSaid] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid(t.copied);
    } catch {
      setSaid(t.copyingFailedSelectTheText);
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(''), COPIED_MS);
  };
  return (
    <button
      type="button"
      class={`btn ${main ? 'btn-main' : 'btn-plain'} btn-copy`}
      onClick={() => void copy()}
    >
      <Icon name={said === 'Copied' ? 'check' : 'copy'} />
      <span>{said || label}</span>
      <span class="visually-hidden" role="status">
        {said}
      </span>
    </button>
  );
}

/** A line of text to take along: an address, a command. */
export function CopyLine({
  label,
  text,
  copyLabel = t.copy,
}: {
  label: string;
  text: string;
  copyLabel?: string;
}) {
  return (
    <div class="copy-line">
      <span class="copy-line-label">{label}</span>
      <code class="copy-line-text">{text}</code>
      <CopyButton label={copyLabel} text={text} />
    </div>
  );
}
