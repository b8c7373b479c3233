/** A form whose main button sends it, and that says what was refused. */

import type { ComponentChildren } from 'preact';
import type { Submit } from '../studio/submit';
import { Failure } from './loaded';

interface Props {
  submit: Submit;
  /** What failed, as a sentence: "The stream was not made." */
  failed: string;
  /** Members whose errors stand at their fields. */
  fields?: readonly string[];
  children: ComponentChildren;
}

export function Form({ submit, failed, fields = [], children }: Props) {
  const { error } = submit;
  const isAtFields =
    error !== null &&
    error.errors.length > 0 &&
    error.errors.every(({ pointer }) => fields.includes(pointer.slice(2)));
  return (
    <form
      class="form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit.send();
      }}
    >
      {error && !isAtFields && <Failure error={error} what={failed} />}
      {children}
    </form>
  );
}
