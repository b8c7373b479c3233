/** A dialog of the browser's own: it holds the focus, closes on Escape, and gives the focus back. */

import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';

interface Props {
  title: string;
  children: ComponentChildren;
  /** Null: the dialog stays until what it asks for has happened. */
  onClose: (() => void) | null;
}

export function Dialog({ title, children, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before the next key: it may be meant for what is in the dialog.
  useLayoutEffect(() => {
    const [own, opener] = [dialog.current, document.activeElement];
    own?.showModal();
    return () => {
      // While it is open, nothing else can have the focus.
      own?.close();
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}
