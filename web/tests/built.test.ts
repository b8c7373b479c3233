/** What is built: how much a page loads, and who imports whom. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const ASSETS = join(WEB, 'dist/assets');

/** Bytes of a file as browsers get it: the build compresses it, unless it is too short or is compressed already, as the font is. */
const compressed = (path: string): number => statSync(existsSync(`${path}.br`) ? `${path}.br` : path).size;

/** Files that a file names, itself included. With `lazily`, also those that it imports when they are needed. */
function loaded(file: string, lazily: boolean, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!/\.(?:html|js|css)$/.test(file)) return seen;
  const text = readFileSync(join(WEB, 'dist', file), 'utf8');
  for (const name of readdirSync(ASSETS)) {
    const isNamed = text.includes(name);
    const isLazy = file.endsWith('.js') && !new RegExp(`(?:from|import)\\s*["']\\./${name}["']`).test(text);
    if (isNamed && (lazily || !isLazy)) loaded(`assets/${name}`, lazily, seen);
  }
  return seen;
}

/** Kilobytes of a page: all its files, or those of its first view. */
function kilobytes(page: string, lazily: boolean): number {
  // Only names with letters outside of Latin-1 load the second file of the font. Who signs in gets the font for the studio.
  const isLater = (file: string): boolean =>
    file.includes('latin-ext') || (page === 'sign-in.html' && file.endsWith('.woff2'));
  const files = [...loaded(page, lazily)].filter((file) => lazily || !isLater(file));
  return files.reduce((sum, file) => sum + compressed(join(WEB, 'dist', file)), 0) / 1_000;
}

/** Modules of the source tree, with what each imports from it. */
function imports(folder: string): Array<readonly [from: string, to: string]> {
  const files = readdirSync(join(WEB, 'src'), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.startsWith(`${folder}/`) && /\.tsx?$/.test(file))
    .flatMap((file) => {
      const text = readFileSync(join(WEB, 'src', file), 'utf8');
      const named = [...text.matchAll(/(?:from|import\()\s*'(\.[^']*)'/g)].map(([, path]) => path ?? '');
      return named.map(
        (path) => [file, relative(join(WEB, 'src'), join(WEB, 'src', file, '..', path))] as const,
      );
    });
}

describe('what is built', () => {
  it.each([
    ['sign-in.html', false, 20],
    ['studio.html', false, 65],
    ['studio.html', true, 120],
    ['index.html', false, 20],
    ['index.html', true, 400],
  ])('%s_with_all_its_files_%s_is_at_most_%d_kB', (page, lazily, most) => {
    const is = kilobytes(page, lazily);
    expect(is).toBeGreaterThan(most / 10);
    expect(is).toBeLessThanOrEqual(most);
  });

  it('has_no_part_of_the_studio_in_what_viewers_load', () => {
    const viewers = loaded('index.html', true);
    const studio = loaded('studio.html', true);
    const shared = [...studio].filter((file) => viewers.has(file));
    // Both builds have the icon, and what makes elements, as the same file.
    expect(shared.filter((file) => !/\/(?:favicon|dom)-/.test(file))).toEqual([]);
  });
});

describe('who imports whom', () => {
  it('keeps_the_player_and_the_studio_apart', () => {
    const forbidden = (folder: string, wanted: RegExp): unknown[] =>
      imports(folder).filter(([, to]) => wanted.test(to));
    for (const folder of ['studio', 'ui', 'sign-in'])
      expect(forbidden(folder, /^(?:player|pages)\//)).toEqual([]);
    for (const folder of ['player', 'pages', 'components'])
      expect(forbidden(folder, /^(?:studio|ui|sign-in)\//)).toEqual([]);
    expect(imports('studio').length).toBeGreaterThan(50);
  });
});
