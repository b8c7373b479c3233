import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Runs a program so that it ends with this process, however that ends. */
export const WITH_PARENT = fileURLToPath(new URL('with-parent.sh', import.meta.url));

/** The first of the paths that exists; an error that says how to install the browser, if none does. */
export function installed(name, paths) {
  const found = paths.find((path) => path && existsSync(path));
  if (!found)
    throw new Error(`${name} is not installed: run scripts/setup.sh test, or set ${name.toUpperCase()}`);
  return found;
}
