/** What the forms of both pages share: fields with their errors, and one button. */

import { ApiError } from '../api/request';
import { h, setHidden, setText } from '../dom';
import { form as t } from '../text/en';

export interface Field {
  element: HTMLElement;
  input: HTMLInputElement;
  /** Says what is wrong with it; null: nothing. */
  refuse(text: string | null): void;
}

interface FieldOptions {
  id: string;
  label: string;
  type: 'text' | 'password';
  autocomplete: string;
  hint?: string;
}

export function field({ id, label, type, autocomplete, hint }: FieldOptions): Field {
  const error = h('p', { class: 'field-error', id: `${id}-error`, hidden: true });
  const input = h('input', {
    id,
    name: id,
    type,
    autocomplete,
    autocapitalize: 'off',
    spellcheck: 'false',
    required: true,
    'aria-describedby': `${hint ? `${id}-hint ` : ''}${id}-error`,
  });
  const element = h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    hint ? h('p', { class: 'field-hint', id: `${id}-hint` }, hint) : null,
    input,
    error,
  );
  return {
    element,
    input,
    refuse: (text) => {
      setText(error, text ?? '');
      setHidden(error, text === null);
      if (text === null) input.removeAttribute('aria-invalid');
      else input.setAttribute('aria-invalid', 'true');
    },
  };
}

export interface FormOptions {
  title: string;
  lead: string;
  fields: Field[];
  action: string;
  /** Sends it. Returns false when something is to be mended first. */
  send: () => Promise<boolean>;
  /** Says an error at its field; returns whether there is one. */
  refuse?: (error: ApiError) => boolean;
  /** What was refused before the page came. */
  refused?: string;
  note?: Node;
}

/** A page that is one form. */
export function formPage({
  title,
  lead,
  fields,
  action,
  send,
  refuse,
  refused,
  note,
}: FormOptions): HTMLElement {
  document.title = t.titleSealcast(title);
  const problem = h('p', { class: 'notice notice-fault', role: 'alert', hidden: !refused }, refused ?? null);
  const button = h('button', { type: 'submit', class: 'btn btn-main' }, action);
  const form = h(
    'form',
    { class: 'form', novalidate: true },
    problem,
    ...fields.map(({ element }) => element),
    button,
  );
  const submit = async (): Promise<void> => {
    if (button.getAttribute('aria-busy') === 'true') return;
    button.setAttribute('aria-busy', 'true');
    setHidden(problem, true);
    for (const one of fields) one.refuse(null);
    try {
      await send();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (refuse?.(error) !== true) {
        setText(problem, said(error));
        setHidden(problem, false);
      }
      fields.find(({ input }) => input.getAttribute('aria-invalid'))?.input.focus();
    } finally {
      button.removeAttribute('aria-busy');
    }
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });
  return h(
    'main',
    { id: 'main', class: 'entrance', tabindex: '-1' },
    h('h1', {}, title),
    h('p', { class: 'entrance-lead' }, lead),
    form,
    note ?? null,
  );
}

function said(error: ApiError): string {
  if (error.kind === 'away') return t.controlDoesNotAnswerTryAgain;
  const sentence = `${error.message.slice(0, 1).toUpperCase()}${error.message.slice(1)}.`.replace(
    /([.!?])\.$/,
    '$1',
  );
  return error.requestId ? `${sentence} (Request ${error.requestId})` : sentence;
}
