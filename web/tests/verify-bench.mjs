/** How fast `verify/verify.wasm` is, for `bench verify`: one line of JSON. */
import { readFileSync } from 'node:fs';

const HOW_LONG_MS = 3_000;
const read = (path) => readFileSync(new URL(path, import.meta.url));
const log = JSON.parse(read('../../crates/verify/testdata/log.json'));
const { instance } = await WebAssembly.instantiate(read('../verify/verify.wasm'), {});
const { memory, input, call, output } = instance.exports;

function answer(number, bytes) {
  // Room for the input may make the memory grow, which detaches older views.
  const at = input(bytes.length);
  new Uint8Array(memory.buffer, at, bytes.length).set(bytes);
  const length = call(number, performance.now());
  return Buffer.from(memory.buffer, output(), length).toString();
}

/** Runs until the time is over; returns runs per second. */
function rate(run) {
  const began = performance.now();
  let runs = 0;
  for (; performance.now() - began < HOW_LONG_MS; runs += 1) run();
  return (1_000 * runs) / (performance.now() - began);
}

const [begin, trust, seals] = [
  Buffer.from(`${log.stream}\n`),
  Buffer.from(log.trust, 'hex'),
  Buffer.from(log.seals, 'hex'),
];
const logs = rate(() => {
  answer(1, begin);
  answer(2, trust);
  const said = answer(3, seals);
  if (!said.includes('"seals":8,')) throw new Error(`the recorded log does not verify: ${said}`);
});
const object = Buffer.concat([Buffer.from('720p/9/17.2.m4s\n'), Buffer.alloc(1_000_000, 7)]);
const megabytesPerSecond = rate(() => answer(5, object));
process.stdout.write(JSON.stringify({ sealsPerSecond: 8 * logs, megabytesPerSecond }));
