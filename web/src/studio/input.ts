/** What comes in from a publisher, as text, and what its warnings are called. Pure. */

import type { Input, Warning } from '../api/generated/api';
import { bitrate } from '../format';

const TITLES: Record<string, string> = {
  no_picture: 'No picture',
  slower_than_real_time: 'Upload too slow',
  rungs_shed: 'Qualities left out',
  pass_through_ended: 'Picture is encoded again',
  frame_rate: 'Frames are missing',
  no_audio: 'No sound',
  audio_skew: 'Sound and picture apart',
  keyframe_interval: 'Keyframes too far apart',
  bit_rate_low: 'Bit rate below the announced one',
  bit_rate_high: 'Bit rate above the announced one',
  faster_than_real_time: 'Faster than real time',
  clock_jumped: 'Encoder’s clock jumped',
  clock_offset: 'Clocks of sound and picture differ',
  damaged: 'Damaged pictures',
  reconnects: 'Encoder keeps reconnecting',
  b_frames: 'B-frames add delay',
  video_transcoded: 'Picture is encoded again',
  audio_transcoded: 'Sound is encoded again',
};

export const warningTitle = (warning: Warning): string =>
  TITLES[warning.kind] ?? warning.kind.replaceAll('_', ' ').replace(/^./, (letter) => letter.toUpperCase());

/** Warnings that viewers notice and that are not over: what counts. */
export const openWarnings = (input: Input | null | undefined): Warning[] =>
  (input?.warnings ?? []).filter(({ severity, until }) => severity === 'warning' && until === undefined);

/** `1080p60`, from the figures that are known. */
export function picture(input: Input): string | null {
  const { video } = input;
  if (!video) return null;
  const rate = video.frame_rate_millihertz ?? video.announced_frame_rate_millihertz;
  return `${video.width} × ${video.height}${rate === undefined ? '' : `, ${frames(rate)}`}`;
}

export const frames = (millihertz: number): string =>
  `${(millihertz / 1_000).toFixed(millihertz % 1_000 === 0 ? 0 : 2)} fps`;

/** `6.0 Mbit/s · 1920 × 1080, 60 fps`. */
export function inputLine(input: Input | null | undefined): string | null {
  if (!input || input.connected_at === undefined) return null;
  return [bitrate(input.bit_rate ?? 0), picture(input)].filter(Boolean).join(' · ');
}

/** A codec as people call it, with the RFC 6381 name. */
export function codec(name: string): string {
  const known = [
    [/^avc1/, 'H.264'],
    [/^h(?:vc|ev)1/, 'HEVC'],
    [/^av01/, 'AV1'],
    [/^vp09/, 'VP9'],
    [/^mp4a\.40/, 'AAC'],
    [/^opus/i, 'Opus'],
    [/^mp3|^mp4a\.6b/i, 'MP3'],
  ] as const;
  const word = known.find(([form]) => form.test(name))?.[1];
  return word ? `${word} (${name})` : name;
}

export interface Row {
  label: string;
  value: string;
  /** What is wrong with it, or what it should be. */
  note?: string | undefined;
}

function videoRows(input: Input): Row[] {
  const { video } = input;
  if (!video) return [{ label: 'Picture', value: '–', note: 'none has come' }];
  const announced = video.announced_frame_rate_millihertz;
  const interval = video.keyframe_interval_ms;
  return [
    { label: 'Picture', value: `${video.width} × ${video.height}`, note: codec(video.codec) },
    {
      label: 'Frame rate',
      value: video.frame_rate_millihertz === undefined ? '–' : frames(video.frame_rate_millihertz),
      note: announced === undefined ? undefined : `${frames(announced)} announced`,
    },
    {
      label: 'Keyframes',
      value: interval === undefined ? '–' : `every ${(interval / 1_000).toFixed(1)} s`,
      note: '2 s is best',
    },
    {
      label: 'Top quality',
      value: video.passed_through === true ? 'passed through' : 'encoded again',
      note: bitrate(video.bit_rate ?? 0),
    },
  ];
}

function audioRow({ audio }: Input): Row {
  if (!audio) return { label: 'Sound', value: '–', note: 'none has come' };
  const channels =
    { 1: 'mono', 2: 'stereo' }[audio.channels ?? 0] ?? (audio.channels ? `${audio.channels} channels` : '');
  const rate = audio.sample_rate_hz ? `${(audio.sample_rate_hz / 1_000).toFixed(1)} kHz` : '';
  return {
    label: 'Sound',
    value: codec(audio.codec),
    note: [bitrate(audio.bit_rate ?? 0), channels, rate].filter(Boolean).join(', '),
  };
}

/** What `sealcast stream show` says of an input. */
export function inputRows(input: Input): Row[] {
  const { drops } = input;
  const dropped = drops ? drops.early + drops.refused + drops.concealed + drops.skipped : null;
  const skew = input.video_ahead_of_audio_ms;
  return [
    { label: 'Bit rate', value: bitrate(input.bit_rate ?? 0), note: pace(input.pace_permille) },
    ...videoRows(input),
    audioRow(input),
    {
      label: 'Sound and picture',
      value: skew === undefined ? '–' : `${Math.abs(skew)} ms apart`,
      note: skewNote(skew),
    },
    { label: 'Dropped frames', value: dropped === null ? '–' : String(dropped), note: 'since it connected' },
    { label: 'Clock jumps', value: String(input.clock_jumps ?? 0) },
    { label: 'Reconnects', value: String(input.reconnects ?? 0) },
    { label: 'Encoder', value: input.encoder ?? '–' },
    { label: 'Ingest', value: input.ingest },
  ];
}

const pace = (permille: number | undefined): string | undefined =>
  permille === undefined ? undefined : `${Math.round(permille / 10)} % of real time`;

function skewNote(skew: number | undefined): string | undefined {
  if (!skew) return undefined;
  return skew > 0 ? 'sound is behind' : 'picture is behind';
}
