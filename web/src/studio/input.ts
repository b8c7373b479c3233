/** What comes in from a publisher, as text, and what its warnings are called. Pure. */

import type { Input, Warning } from '../api/generated/api';
import { bitrate } from '../format';
import { common, streamInput as t } from '../text/en';

const TITLES: Record<string, string> = {
  no_picture: t.noPicture,
  slower_than_real_time: t.uploadTooSlow,
  rungs_shed: t.qualitiesLeftOut,
  pass_through_ended: t.pictureIsEncodedAgain,
  frame_rate: t.framesAreMissing,
  no_audio: t.noSound,
  audio_skew: t.soundAndPictureApart,
  keyframe_interval: t.keyframesTooFarApart,
  bit_rate_low: t.bitRateBelowTheAnnouncedOne,
  bit_rate_high: t.bitRateAboveTheAnnouncedOne,
  faster_than_real_time: t.fasterThanRealTime,
  clock_jumped: t.encoderSClockJumped,
  clock_offset: t.clocksOfSoundAndPictureDiffer,
  damaged: t.damagedPictures,
  reconnects: t.encoderKeepsReconnecting,
  b_frames: t.bFramesAddDelay,
  video_transcoded: t.pictureIsEncodedAgain,
  audio_transcoded: t.soundIsEncodedAgain,
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
  t.valueFps((millihertz / 1_000).toFixed(millihertz % 1_000 === 0 ? 0 : 2));

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
  if (!video) return [{ label: t.picture, value: '–', note: t.noneHasCome }];
  const announced = video.announced_frame_rate_millihertz;
  const interval = video.keyframe_interval_ms;
  return [
    { label: t.picture, value: `${video.width} × ${video.height}`, note: codec(video.codec) },
    {
      label: t.frameRate,
      value: video.frame_rate_millihertz === undefined ? '–' : frames(video.frame_rate_millihertz),
      note: announced === undefined ? undefined : t.framesAnnounced(frames(announced)),
    },
    {
      label: t.keyframes,
      value: interval === undefined ? '–' : `every ${(interval / 1_000).toFixed(1)} s`,
      note: t.n2SIsBest,
    },
    {
      label: t.topQuality,
      value: video.passed_through === true ? 'passed through' : 'encoded again',
      note: bitrate(video.bit_rate ?? 0),
    },
  ];
}

function audioRow({ audio }: Input): Row {
  if (!audio) return { label: t.sound, value: '–', note: t.noneHasCome };
  const channels =
    { 1: 'mono', 2: 'stereo' }[audio.channels ?? 0] ??
    (audio.channels ? t.channelsChannels(audio.channels) : '');
  const rate = audio.sample_rate_hz ? t.valueKhz((audio.sample_rate_hz / 1_000).toFixed(1)) : '';
  return {
    label: t.sound,
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
    { label: common.bitRate, value: bitrate(input.bit_rate ?? 0), note: pace(input.pace_permille) },
    ...videoRows(input),
    audioRow(input),
    {
      label: t.soundAndPicture,
      value: skew === undefined ? '–' : t.valueMsApart(Math.abs(skew)),
      note: skewNote(skew),
    },
    { label: t.droppedFrames, value: dropped === null ? '–' : String(dropped), note: t.sinceItConnected },
    { label: t.clockJumps, value: String(input.clock_jumps ?? 0) },
    { label: t.reconnects, value: String(input.reconnects ?? 0) },
    { label: t.encoder, value: input.encoder ?? '–' },
    { label: t.ingest, value: input.ingest },
  ];
}

const pace = (permille: number | undefined): string | undefined =>
  permille === undefined ? undefined : t.valueOfRealTime(Math.round(permille / 10));

function skewNote(skew: number | undefined): string | undefined {
  if (!skew) return undefined;
  return skew > 0 ? 'sound is behind' : 'picture is behind';
}
