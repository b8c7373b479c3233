/** Asks control for the token of a member. Loaded only where somebody may be signed in, and nodes show nothing of the stream. */

import { postStreamsStreamWatch } from '../api/generated/api';
import { ask } from '../api/request';
import { readAccount } from '../chat/account';

/**
 * The token of whoever is signed in and belongs to the tenant of the stream; null for anybody else.
 *
 * @throws ApiError when control does not say.
 */
export async function askForToken(stream: string): Promise<string | null> {
  const account = await readAccount(stream);
  if (!account?.isMember) return null;
  return (await ask(postStreamsStreamWatch, { path: { stream } })).value.token;
}
