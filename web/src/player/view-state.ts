/** Decides what the watch page shows over the picture, and when it loads the stream again. Pure. */

/**
 * State of the stream by the node; `unknown` before the first answer, `unreachable` when the node does not answer, `refused` when it does
 * not take the viewer's token.
 */
export type ApiState = 'unknown' | 'unreachable' | 'missing' | 'refused' | 'live' | 'reconnecting' | 'ended';

/**
 * State of the player. `idle`: nothing loaded. `starting`: no frame yet. `waiting`: the buffer ran out.
 * `finished`: played to the end of the stream. `failed`: recovery gave up. `halted`: stopped, because what came is not what was sealed.
 */
export type PlayerPhase =
  | 'idle'
  | 'starting'
  | 'playing'
  | 'paused'
  | 'waiting'
  | 'finished'
  | 'failed'
  | 'halted';

export type ViewState =
  | 'connecting'
  | 'playing'
  | 'buffering'
  | 'reconnecting'
  | 'ended'
  | 'offline'
  | 'error'
  | 'refused'
  | 'forged';

export interface ViewInputs {
  api: ApiState;
  player: PlayerPhase;
  /** Number of requests to the node that failed in a row. */
  apiFailures: number;
}

/** After this many failed polls in a row without a picture, show an error instead of "connecting". About ten seconds. */
export const API_FAILURES_TO_ERROR = 3;

export function viewState({ api, player, apiFailures }: ViewInputs): ViewState {
  if (player === 'halted') return 'forged';
  // Nothing covers a moving picture: the node's answer may be seconds older than the picture.
  if (player === 'playing' || player === 'paused') return 'playing';
  if (api === 'refused') return 'refused';
  if (api === 'missing') return 'offline';
  if (api === 'ended') return 'ended';
  if (api === 'reconnecting') return 'reconnecting';
  if (player === 'finished') return 'ended';
  if (player === 'failed') return 'error';
  if (player === 'waiting') return 'buffering';
  if (api === 'unreachable' && apiFailures >= API_FAILURES_TO_ERROR) return 'error';
  return 'connecting';
}

/** A line over the moving picture, about what the viewer is about to notice; null for none. */
export function banner({ api, player }: ViewInputs): string | null {
  if (player !== 'playing') return null;
  return api === 'reconnecting' ? 'The streamer is reconnecting…' : null;
}

export interface LoadInputs {
  api: ApiState;
  player: PlayerPhase;
  /** Epoch the node reports now; null before its first answer. */
  epoch: number | null;
  /** Epoch when the player saw the end of the stream; null while it has not. */
  endedEpoch: number | null;
  /** Milliseconds since the player finished, null while it has not. */
  finishedForMs: number | null;
}

/** The node may report `live` for a moment after the playlist has ended, so a return in the same epoch waits this long. */
export const RETURN_GRACE_MS = 6_000;

/** True when the player should load the stream from the start: the first time, or because it came back. */
export function shouldLoad(inputs: LoadInputs): boolean {
  if (inputs.player === 'halted') return false;
  const there = inputs.api === 'live' || inputs.api === 'reconnecting';
  // The page asks the node only after the first picture. Until then, assume that the stream exists.
  if (inputs.player === 'idle') return there || inputs.api === 'unreachable' || inputs.api === 'unknown';
  if (!there || inputs.endedEpoch === null) return false;
  if (inputs.epoch !== null && inputs.epoch > inputs.endedEpoch) return true;
  return inputs.finishedForMs !== null && inputs.finishedForMs >= RETURN_GRACE_MS;
}

/**
 * True when a load that began before the node's answer must stop, because the node says that there is nothing to play; and when the viewer's
 * token is refused, as soon as the buffer has run out.
 */
export function shouldStop({ api, player }: Pick<LoadInputs, 'api' | 'player'>): boolean {
  if (api === 'refused') return player === 'starting' || player === 'waiting' || player === 'failed';
  return (api === 'missing' || api === 'ended') && player === 'starting';
}
