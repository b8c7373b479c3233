/** A change that a form sends: once, although it may be sent again, and with what was said of it. */

import { useRef, useState } from 'preact/hooks';
import { ApiError, newIdempotencyKey } from '../api/request';

export interface Submit {
  busy: boolean;
  error: ApiError | null;
  /** Sends it, unless it is under way. */
  send(): Promise<void>;
}

/** `run` gets a key that is the same until control has answered: a request whose answer was lost is repeated, not made twice. */
export function useSubmit(run: (idempotencyKey: string) => Promise<void>): Submit {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const key = useRef<string | null>(null);
  const send = async (): Promise<void> => {
    if (busy) return;
    setBusy(true);
    setError(null);
    key.current ??= newIdempotencyKey();
    try {
      await run(key.current);
      key.current = null;
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      if (failed.kind === 'refused') key.current = null;
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, send };
}
