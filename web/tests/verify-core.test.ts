import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { Core } from '../verify/src/core';

/** What `crates/verify/tests/page.rs` recorded, and judges with the nodes' library. */
const LOG = JSON.parse(
  readFileSync(new URL('../../crates/verify/testdata/log.json', import.meta.url), 'utf8'),
) as {
  stream: string;
  fingerprint: string;
  otherFingerprint: string;
  trust: string;
  seals: string;
  objects: { place: string; bytes: string }[];
  signatures: { key: string; message: string; signature: string; valid: boolean }[];
};
const WASM = readFileSync(fileURLToPath(new URL('../verify/verify.wasm', import.meta.url)));

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

describe('the WebAssembly', () => {
  let core: Core;

  beforeAll(async () => {
    core = await Core.load(WASM, () => 1_000);
  });

  it('verifies_a_recorded_log_and_its_objects', () => {
    core.begin(LOG.stream, LOG.fingerprint);
    expect(core.trust(bytes(LOG.trust))).toMatchObject({ refused: null, root: LOG.fingerprint });
    expect(core.seals(bytes(LOG.seals))).toMatchObject({ refused: null, seals: 8, next: 8, node: 'i1' });
    for (const { place, bytes: hex } of LOG.objects) core.object(place, bytes(hex));
    expect(core.standing()).toMatchObject({ objects: LOG.objects.length, waiting: 0, wrong: null });
  });

  it('finds_a_changed_byte_of_an_object', () => {
    core.begin(LOG.stream, LOG.fingerprint);
    core.trust(bytes(LOG.trust));
    core.seals(bytes(LOG.seals));
    const { place = '', bytes: hex = '' } = LOG.objects[4] ?? {};
    const changed = bytes(hex);
    changed[3] = (changed[3] ?? 0) ^ 1;
    expect(core.object(place, changed).wrong).toContain(`${place} is not what seal`);
  });

  it('refuses_a_changed_byte_of_a_seal_or_of_the_trust', () => {
    for (const at of [30, 700, 3_000]) {
      core.begin(LOG.stream, LOG.fingerprint);
      const trust = bytes(LOG.trust);
      trust[at] = (trust[at] ?? 0) ^ 1;
      expect(core.trust(trust).refused, `trust ${at}`).not.toBeNull();
      expect(core.trust(bytes(LOG.trust)).refused).toBeNull();
      const seals = bytes(LOG.seals);
      seals[at] = (seals[at] ?? 0) ^ 1;
      expect(core.seals(seals).refused, `seals ${at}`).not.toBeNull();
    }
  });

  it('refuses_everything_under_another_root_key', () => {
    core.begin(LOG.stream, LOG.otherFingerprint);
    expect(core.trust(bytes(LOG.trust)).refused?.reason).toBe('key');
    expect(core.seals(bytes(LOG.seals))).toMatchObject({ refused: { reason: 'key' }, seals: 0 });
  });

  it('judges_signatures_as_the_nodes_do', () => {
    const judged = LOG.signatures.map(({ key, signature, message }) =>
      core.isSigned(bytes(key), bytes(signature), bytes(message)),
    );
    expect(judged).toEqual(LOG.signatures.map(({ valid }) => valid));
  });
});
