/**
 * Builds `verify.wasm` from `crates/verify` when it is missing or older than its sources. Where there are no sources (a stage of an image
 * build has only `web`), what is there is taken.
 *
 * The target directory is its own, because cargo may be waiting for this very build: the node's crate embeds the page.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WASM = fileURLToPath(new URL('verify.wasm', import.meta.url));
const SOURCES = ['media', 'messages', 'seal', 'metadata', 'verify'].map((name) =>
  join(ROOT, 'crates', name, 'src'),
);
const TARGET = process.env.SEALCAST_WASM_TARGET_DIR ?? join(ROOT, 'target', 'wasm');

/** When the newest file below a path was changed, milliseconds since 1970. */
function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

/** Cargo's settings for the crate that waits for this build are none of this one's. */
function environment() {
  const own = Object.entries(process.env).filter(
    ([name]) =>
      name === 'CARGO_HOME' ||
      !/^(CARGO|RUSTC|RUSTFLAGS|RUSTDOC|TARGET|HOST$|DEBUG$|OPT_LEVEL|OUT_DIR)/.test(name),
  );
  return Object.fromEntries(own);
}

const hasSources = SOURCES.every((path) => existsSync(path));
const built = existsSync(WASM) ? statSync(WASM).mtimeMs : 0;
if (hasSources && Math.max(...SOURCES.map(newest)) > built) {
  const flags = ['--locked', '--quiet', '--package', 'verify', '--lib', '--profile', 'wasm'];
  const target = ['--target', 'wasm32-unknown-unknown', '--crate-type', 'cdylib', '--target-dir', TARGET];
  try {
    execFileSync('cargo', ['rustc', ...flags, ...target], {
      cwd: ROOT,
      env: environment(),
      stdio: 'inherit',
    });
  } catch (error) {
    process.stderr.write(
      `verify.wasm: cargo failed (${error.message}). It needs Rust and the target: rustup target add wasm32-unknown-unknown\n`,
    );
    process.exit(1);
  }
  copyFileSync(join(TARGET, 'wasm32-unknown-unknown', 'wasm', 'verify.wasm'), WASM);
}
if (!existsSync(WASM)) {
  process.stderr.write(`verify.wasm: neither ${WASM} nor its sources are there\n`);
  process.exit(1);
}
