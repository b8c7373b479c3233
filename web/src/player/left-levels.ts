/**
 * Keeps playlists that hls.js 1.7.4 failed to merge from its loading of audio.
 *
 * hls.js does not merge a delta update that arrives while it leaves that level, so the playlist has holes where segments were skipped.
 * The loading of video drops such a playlist. The loading of audio takes it for the video's playlist and fails on the first segment. It
 * throws within the event that announces the next load of video, which then never ends: no picture follows. Remove this when hls.js
 * drops the playlist for both.
 */

import type Hls from 'hls.js';
import { Events, type LevelLoadedData } from 'hls.js';

/** Replaces a delta update that could not be merged by the level's previous playlist. */
function keepKnown(_: Events.LEVEL_LOADED, data: LevelLoadedData): void {
  if (data.details.deltaUpdateFailed && data.levelInfo.details) data.details = data.levelInfo.details;
}

/** Call this after the loading of video has registered its listeners, and before the loading of audio does. */
export function keepKnownPlaylists(hls: Hls): void {
  hls.on(Events.LEVEL_LOADED, keepKnown);
}
