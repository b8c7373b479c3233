/** Fields: the label stands above, what helps below it, and what is wrong below the field, tied to it for screen readers. */

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface Common {
  label: string;
  hint?: ComponentChildren;
  error?: string | null;
}

interface FrameProps extends Common {
  children: (attributes: {
    id: string;
    'aria-describedby': string | undefined;
    'aria-invalid': 'true' | undefined;
  }) => ComponentChildren;
}

function Frame({ label, hint, error, children }: FrameProps) {
  const id = useId();
  const described = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {children({
        id,
        'aria-describedby': described || undefined,
        'aria-invalid': error ? 'true' : undefined,
      })}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

interface TextProps extends Common {
  value: string;
  onInput: (value: string) => void;
  prefix?: string;
  rows?: number;
  required?: boolean;
  maxLength?: number;
  mono?: boolean;
  type?: 'text' | 'url' | 'search';
  placeholder?: string;
}

export function TextField({
  value,
  onInput,
  prefix,
  rows,
  required,
  maxLength,
  mono,
  type = 'text',
  placeholder,
  ...common
}: TextProps) {
  const shared = { value, required, maxLength, placeholder, spellcheck: !mono, class: mono ? 'mono' : '' };
  return (
    <Frame {...common}>
      {(attributes) =>
        rows ? (
          <textarea
            {...attributes}
            {...shared}
            rows={rows}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        ) : (
          <span class="field-box">
            {prefix && (
              <span class="field-prefix mono" aria-hidden="true">
                {prefix}
              </span>
            )}
            <input
              {...attributes}
              {...shared}
              type={type as 'text'}
              autocomplete="off"
              autocapitalize="off"
              onInput={(event) => onInput(event.currentTarget.value)}
            />
          </span>
        )
      }
    </Frame>
  );
}

interface SelectProps extends Common {
  value: string;
  options: ReadonlyArray<readonly [value: string, label: string]>;
  onChange: (value: string) => void;
}

export function SelectField({ value, options, onChange, ...common }: SelectProps) {
  return (
    <Frame {...common}>
      {(attributes) => (
        <select {...attributes} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          {options.map(([option, label]) => (
            <option key={option} value={option}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Frame>
  );
}

interface ChoiceProps {
  legend: string;
  hint?: string;
  value: string;
  options: ReadonlyArray<readonly [value: string, label: string, about: string]>;
  onChange: (value: string) => void;
}

/** One of a few, each with a sentence of its own. */
export function Choice({ legend, hint, value, options, onChange }: ChoiceProps) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      {hint && <p class="field-hint">{hint}</p>}
      {options.map(([option, label, about]) => (
        <label key={option} class="choice-row">
          <input type="radio" name={name} checked={option === value} onChange={() => onChange(option)} />
          <span>
            <span class="choice-label">{label}</span>
            <span class="choice-about">{about}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** Any of many. */
export function Checks({
  legend,
  options,
  chosen,
  onChange,
}: {
  legend: string;
  options: readonly string[];
  chosen: readonly string[];
  onChange: (chosen: string[]) => void;
}) {
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      <div class="checks">
        {options.map((option) => (
          <label key={option} class="check-row mono">
            <input
              type="checkbox"
              checked={chosen.includes(option)}
              onChange={(event) =>
                onChange(
                  event.currentTarget.checked ? [...chosen, option] : chosen.filter((one) => one !== option),
                )
              }
            />
            {option}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
