/** Signing in where people have an account already: the issuers that this server knows, as buttons. */

import { getAuth, postAuthLogin } from '../api/generated/api';
import { ApiError, ask } from '../api/request';
import { h, setText } from '../dom';
import { issuers as t } from '../text/en';

export interface Ways {
  /** Where the browser returns to. */
  returnTo: string;
  /** Of a set-up link, for whoever becomes a member with it. */
  code?: string;
  /** Called when nobody has set up this server. */
  onNotSetUp?: () => void;
}

/** Buttons for the issuers; empty where there are none, and on a server that knows none. */
export function issuers({ returnTo, code, onNotSetUp }: Ways): HTMLElement {
  const said = h('p', { class: 'field-error', role: 'status' });
  const list = h('div', { class: 'entrance-ways' });
  const begin = async (issuer: string): Promise<void> => {
    try {
      const body = { issuer, return_to: returnTo, ...(code ? { code } : {}) };
      const { url } = (await ask(postAuthLogin, { body })).value;
      // Only a page of the web: no other scheme becomes an address.
      if (/^https?:\/\//.test(url)) location.assign(url);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(said, error.message);
    }
  };
  const fill = async (): Promise<void> => {
    const known = (await ask(getAuth)).value;
    if (!known.is_set_up) onNotSetUp?.();
    for (const { url, name } of known.issuers) {
      const button = h('button', { type: 'button', class: 'btn btn-plain' }, t.signInWithName(name));
      button.addEventListener('click', () => void begin(url));
      list.append(button);
    }
  };
  // Without an answer, there is the password.
  fill().catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error;
  });
  return h('div', {}, list, said);
}
