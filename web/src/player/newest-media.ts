/** Finds where the newest listed media ends, without gaps. Pure. */

/** The fields used of hls.js's `Part` and `Fragment`; seconds on the player's timeline. */
interface Listed {
  end: number;
  gap?: boolean;
}

/** The fields used of hls.js's `LevelDetails`. */
export interface ListedMedia {
  live: boolean;
  fragments: readonly (Listed | null)[];
  partList: readonly Listed[] | null;
}

/** A live playlist that has not loaded for longer than this counts as growing since, because its loading has stopped. Seconds. */
export const UNHEARD_SECONDS_MAX = 4;

function mediaEnd({ fragments, partList }: ListedMedia): number | null {
  const isMedia = (listed: Listed | null): boolean => listed !== null && !listed.gap;
  return partList?.findLast(isMedia)?.end ?? fragments.findLast(isMedia)?.end ?? null;
}

/** The latest end of media in several playlists of one stream, seconds; null when none lists media. */
export function newestMedia(
  playlists: readonly (ListedMedia | null | undefined)[],
  unheardSeconds: number,
): number | null {
  const ends = playlists.flatMap((playlist) => {
    const end = playlist ? mediaEnd(playlist) : null;
    return end === null ? [] : [end];
  });
  if (ends.length === 0) return null;
  const isLive = playlists.some((playlist) => playlist?.live);
  return Math.max(...ends) + (isLive ? Math.max(0, unheardSeconds - UNHEARD_SECONDS_MAX) : 0);
}
