/** Ends the session, and leaves the studio. */

import { deleteSession } from '../api/generated/api';
import { ApiError, ask } from '../api/request';
import { noteSignedIn } from '../chat/signed-in';
import { signOut as t } from '../text/en';
import { say } from '../ui/toasts';
import { isSignedOut } from './session';

export async function signOut(): Promise<void> {
  try {
    await ask(deleteSession);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // Whose session is over already has nothing left to end.
    if (error.status !== 401) {
      say(t.youAreStillSignedInMessage(error.message), 'fault');
      return;
    }
    isSignedOut.value = false;
  }
  noteSignedIn(false);
  location.assign('/sign-in');
}
