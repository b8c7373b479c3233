/** `/sign-in`: with a name and a password, and back to where one wanted to go. */

import { postSession } from '../api/generated/api';
import { ask } from '../api/request';
import { h, setHidden } from '../dom';
import { nextOf } from '../studio/routes';
import { field, formPage } from './form';
import { issuers } from './issuers';

export function signInPage(): HTMLElement {
  const name = field({ id: 'name', label: 'Name', type: 'text', autocomplete: 'username' });
  const password = field({
    id: 'password',
    label: 'Password',
    type: 'password',
    autocomplete: 'current-password',
  });
  const send = async (): Promise<boolean> => {
    name.refuse(name.input.value.trim() === '' ? 'Give your name.' : null);
    password.refuse(password.input.value === '' ? 'Give your password.' : null);
    if (name.input.value.trim() === '' || password.input.value === '') {
      (name.input.value.trim() === '' ? name : password).input.focus();
      return false;
    }
    await ask(postSession, { body: { name: name.input.value.trim(), password: password.input.value } });
    location.assign(nextOf(location.search));
    return true;
  };
  const notSetUp = h(
    'p',
    { class: 'notice', role: 'status', hidden: true },
    'Nobody has set up this server yet: open the set-up link that its start has printed.',
  );
  const isBack = new URLSearchParams(location.search).has('problem');
  return formPage({
    title: 'Sign in',
    lead: 'To the studio: your streams, and how they do.',
    fields: [name, password],
    action: 'Sign in',
    send,
    ...(isBack ? { refused: 'You were not signed in there, or may not sign in here.' } : {}),
    note: h(
      'div',
      {},
      issuers({ returnTo: nextOf(location.search), onNotSetUp: () => setHidden(notSetUp, false) }),
      notSetUp,
      h(
        'p',
        { class: 'entrance-note' },
        'No account yet? Somebody who owns the tenant invites you with a link. The first one of a new server stands in what ',
        h('code', {}, 'sealcast up'),
        ' has printed.',
      ),
    ),
  });
}
