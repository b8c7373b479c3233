/** `/setup#CODE`: whoever has a set-up link or an invitation chooses a name and a password. The code leaves the address at once. */

import { postSetup } from '../api/generated/api';
import { type ApiError, ask } from '../api/request';
import { h } from '../dom';
import { field, formPage } from './form';
import { issuers } from './issuers';

/** Fewest characters of a password, as control has it. */
const PASSWORD_CHARS_MIN = 12;
/** Longest code that is sent, characters; a valid one has 62. */
const CODE_CHARS_MAX = 128;

/** The code of a set-up link; null when there is none. Pure. */
export function codeOf(hash: string): string | null {
  const code = hash.replace(/^#/, '');
  return /^sci_[0-9A-Za-z_-]+$/.test(code) && code.length <= CODE_CHARS_MAX ? code : null;
}

function withoutCode(): HTMLElement {
  document.title = 'Set up · Sealcast';
  return h(
    'main',
    { id: 'main', class: 'entrance', tabindex: '-1' },
    h('h1', {}, 'This page needs its link'),
    h(
      'p',
      { class: 'entrance-lead' },
      'Open the whole link that you were given, once more. It works once, and for a limited time.',
    ),
    h('p', {}, h('a', { class: 'btn btn-plain', href: '/sign-in' }, 'Sign in')),
  );
}

export function setupPage(): HTMLElement {
  const code = codeOf(location.hash);
  if (code === null) return withoutCode();
  // Neither the history nor a screenshot keeps it.
  history.replaceState(null, '', '/setup');
  const name = field({
    id: 'name',
    label: 'Name',
    type: 'text',
    autocomplete: 'username',
    hint: 'You sign in with it. Who gets a new password keeps the name.',
  });
  name.input.required = false;
  const password = field({
    id: 'password',
    label: 'Password',
    type: 'password',
    autocomplete: 'new-password',
    hint: `At least ${PASSWORD_CHARS_MIN} characters: a few words are easy to keep and hard to guess.`,
  });
  const send = async (): Promise<boolean> => {
    if ([...password.input.value].length < PASSWORD_CHARS_MIN) {
      password.refuse(`Use at least ${PASSWORD_CHARS_MIN} characters.`);
      password.input.focus();
      return false;
    }
    await ask(postSetup, { body: { code, name: name.input.value.trim(), password: password.input.value } });
    location.assign('/studio');
    return true;
  };
  const refuse = (error: ApiError): boolean => {
    const wrong = {
      name: error.of('name') ?? (error.type === 'name-taken' ? 'taken' : null),
      password: error.of('password'),
    };
    if (wrong.name)
      name.refuse(
        wrong.name === 'taken' ? 'Somebody has this name, with another password.' : 'Give another name.',
      );
    if (wrong.password) password.refuse('Use another password.');
    return wrong.name !== null || wrong.password !== null;
  };
  return formPage({
    title: 'Welcome',
    lead: 'Choose how you sign in from now on. The link works once.',
    fields: [name, password],
    action: 'Set up and sign in',
    send,
    refuse,
    note: issuers({ returnTo: '/studio', code }),
  });
}
