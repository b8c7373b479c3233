/** A profile for OBS, as it keeps one itself: a folder that Profile > Import takes. Pure. */

import { obsProfile as t } from '../text/en-later';
import { zip } from './zip';

export interface ObsProfile {
  /** The stream's name. */
  name: string;
  server: string;
  key: string;
}

/** Values of an INI file are one line each. */
const line = (text: string): string => text.replace(/[\r\n]/g, ' ');

/** The files of the folder: what OBS 29 to 32 read. */
export function obsFiles({ name, server, key }: ObsProfile): Array<{ path: string; text: string }> {
  const folder = t.sealcastName(name);
  const basic = [
    '[General]',
    `Name=${line(folder)}`,
    '',
    '[Output]',
    'Mode=Advanced',
    '',
    '[AdvOut]',
    'Encoder=obs_x264',
    'ApplyServiceSettings=false',
    'TrackIndex=1',
    'Track1Bitrate=160',
    'AudioEncoder=ffmpeg_aac',
    '',
    '[Video]',
    'BaseCX=1920',
    'BaseCY=1080',
    'OutputCX=1920',
    'OutputCY=1080',
    'FPSType=0',
    'FPSCommon=30',
    '',
  ];
  const service = { type: 'rtmp_custom', settings: { server, key, use_auth: false, bwtest: false } };
  // Keyframes every two seconds: the ingest then passes the picture through.
  const encoder = {
    rate_control: 'CBR',
    bitrate: 6000,
    keyint_sec: 2,
    preset: 'veryfast',
    profile: 'high',
    bf: 0,
  };
  return [
    { path: `${folder}/basic.ini`, text: basic.join('\n') },
    { path: `${folder}/service.json`, text: `${JSON.stringify(service, null, 2)}\n` },
    { path: `${folder}/streamEncoder.json`, text: `${JSON.stringify(encoder, null, 2)}\n` },
  ];
}

export const obsProfile = (profile: ObsProfile): Uint8Array<ArrayBuffer> => zip(obsFiles(profile));
