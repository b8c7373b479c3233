/** `/sign-in`: with a name and a password, and back to where one wanted to go. */

import { postSession } from '../api/generated/api';
import { ask } from '../api/request';
import { noteSignedIn } from '../chat/signed-in';
import { h, setHidden } from '../dom';
import { nextOf } from '../studio/routes';
import { signIn as t } from '../text/en';
import { field, formPage } from './form';
import { issuers } from './issuers';

export function signInPage(): HTMLElement {
  const name = field({ id: 'name', label: t.name, type: 'text', autocomplete: 'username' });
  const password = field({
    id: 'password',
    label: t.password,
    type: 'password',
    autocomplete: 'current-password',
  });
  const send = async (): Promise<boolean> => {
    name.refuse(name.input.value.trim() === '' ? t.giveYourName : null);
    password.refuse(password.input.value === '' ? t.giveYourPassword : null);
    if (name.input.value.trim() === '' || password.input.value === '') {
      (name.input.value.trim() === '' ? name : password).input.focus();
      return false;
    }
    await ask(postSession, { body: { name: name.input.value.trim(), password: password.input.value } });
    noteSignedIn(true);
    location.assign(nextOf(location.search));
    return true;
  };
  const notSetUp = h('p', { class: 'notice', role: 'status', hidden: true }, t.nobodyHasSetUpThisServer);
  const isBack = new URLSearchParams(location.search).has('problem');
  return formPage({
    title: t.signIn,
    lead: t.toTheStudioYourStreamsAnd,
    fields: [name, password],
    action: t.signIn,
    send,
    ...(isBack ? { refused: t.youWereNotSignedInThere } : {}),
    note: h(
      'div',
      {},
      issuers({ returnTo: nextOf(location.search), onNotSetUp: () => setHidden(notSetUp, false) }),
      notSetUp,
      h(
        'p',
        { class: 'entrance-note' },
        t.noAccountYetSomebodyWhoOwns,
        h('code', {}, 'sealcast up'),
        t.hasPrinted,
      ),
    ),
  });
}
