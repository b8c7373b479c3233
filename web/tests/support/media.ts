/** Media for the tests' origin: a ladder of fragmented MP4, cut into parts of half a second by ffmpeg. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const PART_SECONDS = 0.5;
const FRAMES_PER_SECOND = 30;
const KEYFRAME_SECONDS = 2;
const SAMPLE_RATE = 48_000;
const SAMPLES_PER_FRAME = 1_024;

export interface Rendition {
  name: string;
  init: Buffer;
  parts: Buffer[];
  /** Durations of the parts, seconds. */
  durations: number[];
}

/** The ladder. Pictures are small, because only names and bit rates in playlists matter. */
export const RUNGS = [
  { name: '360p', width: 160, height: 90, bandwidth: 800_000 },
  { name: '480p', width: 240, height: 136, bandwidth: 1_500_000 },
  { name: '720p', width: 320, height: 180, bandwidth: 3_500_000 },
] as const;

function boxes(file: Buffer): { type: string; bytes: Buffer }[] {
  const found = [];
  for (let at = 0; at + 8 <= file.length; ) {
    const size = file.readUInt32BE(at);
    found.push({ type: file.toString('latin1', at + 4, at + 8), bytes: file.subarray(at, at + size) });
    at += size;
  }
  return found;
}

/** The init segment and the fragments (`moof` and `mdat`) of a fragmented MP4. */
function fragments(file: Buffer): { init: Buffer; fragments: Buffer[] } {
  const all = boxes(file);
  const bytes = (type: string): Buffer[] => all.filter((box) => box.type === type).map((box) => box.bytes);
  const data = bytes('mdat');
  return {
    init: Buffer.concat([...bytes('ftyp'), ...bytes('moov')]),
    fragments: bytes('moof').map((head, index) => Buffer.concat([head, data[index] ?? Buffer.alloc(0)])),
  };
}

const FRAGMENTED = ['-movflags', 'empty_moov+default_base_moof', '-f', 'mp4'];

async function encode(file: string, args: string[]): Promise<{ init: Buffer; fragments: Buffer[] }> {
  await run('ffmpeg', ['-v', 'error', ...args, ...FRAGMENTED, file]);
  return fragments(await readFile(file));
}

async function picture(file: string, rung: (typeof RUNGS)[number], seconds: number): Promise<Rendition> {
  const source = `testsrc2=size=${rung.width}x${rung.height}:rate=${FRAMES_PER_SECOND}`;
  const group = String(FRAMES_PER_SECOND * KEYFRAME_SECONDS);
  const codec = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p'];
  const cuts = ['-g', group, '-keyint_min', group, '-sc_threshold', '0', '-frag_duration', '490000'];
  const made = await encode(file, ['-f', 'lavfi', '-i', source, '-t', String(seconds), ...codec, ...cuts]);
  return {
    name: rung.name,
    init: made.init,
    parts: made.fragments,
    durations: made.fragments.map(() => PART_SECONDS),
  };
}

/** Audio. Its frames do not divide half a second, so parts differ by one frame. */
async function sound(file: string, seconds: number): Promise<Rendition> {
  const source = `sine=frequency=440:sample_rate=${SAMPLE_RATE}`;
  const codec = ['-c:a', 'aac', '-b:a', '64k', '-frag_duration', '1000'];
  const made = await encode(file, ['-f', 'lavfi', '-i', source, '-t', String(seconds), ...codec]);
  const frames = (part: number): number =>
    Math.ceil((part * PART_SECONDS * SAMPLE_RATE) / SAMPLES_PER_FRAME - 1e-9);
  const parts: Buffer[] = [];
  const durations: number[] = [];
  for (let part = 0; frames(part) < made.fragments.length; part += 1) {
    const own = made.fragments.slice(frames(part), frames(part + 1));
    parts.push(Buffer.concat(own));
    durations.push((own.length * SAMPLES_PER_FRAME) / SAMPLE_RATE);
  }
  return { name: 'audio', init: made.init, parts, durations };
}

/** Makes this many seconds of each rung and of audio. */
export async function makeMedia(seconds: number): Promise<Rendition[]> {
  const directory = await mkdtemp(join(tmpdir(), 'sealcast-media-'));
  const file = (name: string): string => join(directory, `${name}.mp4`);
  try {
    return [
      ...(await Promise.all(RUNGS.map((rung) => picture(file(rung.name), rung, seconds)))),
      await sound(file('audio'), seconds),
    ];
  } finally {
    await rm(directory, { recursive: true });
  }
}
