/** `/setup#CODE`: whoever has a set-up link or an invitation chooses a name and a password. The code leaves the address at once. */

import { postSetup } from '../api/generated/api';
import { type ApiError, ask } from '../api/request';
import { noteSignedIn } from '../chat/signed-in';
import { h } from '../dom';
import { setup as t } from '../text/en';
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

/** The link that this browser has used last, as a digest: whoever opens it again is told at once. */
const USED_KEY = 'sealcast-used-link';

async function digestOf(code: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(code));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

async function isUsed(code: string): Promise<boolean> {
  try {
    return localStorage.getItem(USED_KEY) === (await digestOf(code));
  } catch {
    return false;
  }
}

async function noteUsed(code: string): Promise<void> {
  try {
    localStorage.setItem(USED_KEY, await digestOf(code));
  } catch {
    // Without storage, control says so when the form is sent.
  }
}

/** Why there is no form, and the way out. */
function without(title: string, lead: string, more: HTMLElement | null = null): HTMLElement {
  document.title = t.setUpSealcast;
  return h(
    'main',
    { id: 'main', class: 'entrance', tabindex: '-1' },
    h('h1', { tabindex: '-1' }, title),
    h('p', { class: 'entrance-lead' }, lead),
    more,
    h('p', {}, h('a', { class: 'btn btn-plain', href: '/sign-in' }, t.signIn)),
  );
}

function usedUp(): HTMLElement {
  const way = h('p', {}, t.operatorsWay, ' ', h('code', {}, 'sealcast member setup-link'), '.');
  return without(t.linkIsUsed, t.itWorkedOnce, way);
}

export function setupPage(): HTMLElement {
  const code = codeOf(location.hash);
  if (code === null) return without(t.thisPageNeedsItsLink, t.openTheWholeLinkThatYou);
  // Neither the history nor a screenshot keeps it.
  history.replaceState(null, '', '/setup');
  const name = field({
    id: 'name',
    label: t.name,
    type: 'text',
    autocomplete: 'username',
    hint: t.youSignInWithItWho,
  });
  name.input.required = false;
  const password = field({
    id: 'password',
    label: t.password,
    type: 'password',
    autocomplete: 'new-password',
    hint: t.atLeastPasswordCharsMinCharacters(PASSWORD_CHARS_MIN),
  });
  const send = async (): Promise<boolean> => {
    if ([...password.input.value].length < PASSWORD_CHARS_MIN) {
      password.refuse(t.useAtLeastPasswordCharsMin(PASSWORD_CHARS_MIN));
      password.input.focus();
      return false;
    }
    await ask(postSetup, { body: { code, name: name.input.value.trim(), password: password.input.value } });
    await noteUsed(code);
    noteSignedIn(true);
    location.assign('/studio');
    return true;
  };
  const showUsed = (): void => {
    const page = usedUp();
    form.replaceWith(page);
    page.querySelector('h1')?.focus();
  };
  const refuse = (error: ApiError): boolean => {
    if (error.type === 'gone') {
      void noteUsed(code);
      showUsed();
      return true;
    }
    const wrong = {
      name: error.of('name') ?? (error.type === 'name-taken' ? 'taken' : null),
      password: error.of('password'),
    };
    if (wrong.name)
      name.refuse(wrong.name === 'taken' ? t.somebodyHasThisNameWithAnother : t.giveAnotherName);
    if (wrong.password) password.refuse(t.useAnotherPassword);
    return wrong.name !== null || wrong.password !== null;
  };
  const form = formPage({
    title: t.welcome,
    lead: t.chooseHowYouSignInFrom,
    fields: [name, password],
    action: t.setUpAndSignIn,
    send,
    refuse,
    note: issuers({ returnTo: '/studio', code }),
  });
  void isUsed(code).then((is) => is && showUsed());
  return form;
}
