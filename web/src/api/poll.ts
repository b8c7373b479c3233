/** Polls with one request at a time, more slowly while the page is hidden or requests fail. */

export interface PollOptions<T> {
  ask: (signal: AbortSignal) => Promise<T>;
  onAnswer: (answer: T) => void;
  /** `failures` is the number of failed requests in a row, from 1. */
  onFailure: (error: unknown, failures: number) => void;
  /** Milliseconds between the end of one request and the start of the next. */
  intervalMs: number;
  /** The same while the page is hidden. */
  hiddenIntervalMs: number;
}

export interface Poll {
  /** Sends a request at once, unless one is under way. */
  now(): void;
  stop(): void;
}

/** Longest wait between two requests while they fail, milliseconds; a longer interval stays. */
const BACKOFF_MS_MAX = 10_000;

/** Milliseconds until the next request, after `failures` failed requests in a row. Pure. */
export function nextDelayMs(intervalMs: number, failures: number): number {
  return Math.min(intervalMs * 2 ** Math.min(failures, 8), Math.max(BACKOFF_MS_MAX, intervalMs));
}

export function poll<T>(options: PollOptions<T>): Poll {
  const stopped = new AbortController();
  let failures = 0;
  let busy = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const run = async (): Promise<void> => {
    if (busy || stopped.signal.aborted) return;
    busy = true;
    clearTimeout(timer);
    try {
      const answer = await options.ask(stopped.signal);
      if (stopped.signal.aborted) return;
      failures = 0;
      options.onAnswer(answer);
    } catch (error) {
      if (stopped.signal.aborted) return;
      failures += 1;
      options.onFailure(error, failures);
    } finally {
      busy = false;
    }
    const interval = document.hidden ? options.hiddenIntervalMs : options.intervalMs;
    timer = setTimeout(run, nextDelayMs(interval, failures));
  };

  const onVisible = (): void => {
    if (!document.hidden) void run();
  };
  document.addEventListener('visibilitychange', onVisible);
  void run();
  return {
    now: () => void run(),
    stop: () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    },
  };
}
