/** What the palette finds, and in which order. Pure. */

/** Most results that are shown: more are found by another letter. */
export const RESULTS_MAX = 9;

export interface Entry {
  id: string;
  label: string;
  /** What it is, for people. */
  kind: string;
  /** What else it is found by. */
  also?: string;
  run: () => void;
}

/** Letters without case and accents, so that `evensong` finds `Évensong`. */
const plain = (text: string): string =>
  text
    .normalize('NFD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase();

/** How well an entry answers: 0 where the label begins with what was typed; null where it does not have all words. */
function rank({ label, also }: Entry, query: string): number | null {
  const [name, all] = [plain(label), plain(`${label} ${also ?? ''}`)];
  if (!query.split(' ').every((word) => all.includes(word))) return null;
  if (name.startsWith(query)) return 0;
  return ` ${name}`.includes(` ${query}`) ? 1 : 2;
}

/** The entries that have all words of the query, the best first; of equals, those that came first. */
export function found(entries: readonly Entry[], typed: string): Entry[] {
  const query = plain(typed).replace(/\s+/g, ' ').trim();
  return entries
    .map((entry) => ({ entry, at: query === '' ? 0 : rank(entry, query) }))
    .filter((one): one is { entry: Entry; at: number } => one.at !== null)
    .sort((a, b) => a.at - b.at)
    .slice(0, RESULTS_MAX)
    .map(({ entry }) => entry);
}
