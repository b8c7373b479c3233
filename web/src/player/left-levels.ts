/**
 * Keeps what hls.js 1.7.4 cannot use from its loading of sound.
 *
 * A delta update that arrives while hls.js leaves its level is not merged, and has nothing where segments were skipped. The loading of
 * pictures drops it; that of sound takes it for the pictures' playlist and fails on the first segment. It fails inside the event that
 * announces the next picture's loading, which then never ends: no picture follows. To be left out when hls.js drops it for both.
 */

import type Hls from 'hls.js';
import { Events, type LevelLoadedData } from 'hls.js';

/** What was known of the level already, where an answer could not be merged with it. */
function keepKnown(_: Events.LEVEL_LOADED, data: LevelLoadedData): void {
  if (data.details.deltaUpdateFailed && data.levelInfo.details) data.details = data.levelInfo.details;
}

/** To be called once the loading of pictures listens and before that of sound does. */
export function keepKnownPlaylists(hls: Hls): void {
  hls.on(Events.LEVEL_LOADED, keepKnown);
}
