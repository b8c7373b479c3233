/** How an encoder reaches this server, and how far it is. Pure. */

import type { Stream } from '../api/generated/api';

/** A line that publishes a file. The shell puts the key in, so that the line itself can be shown and kept. */
export const ffmpegLine = (server: string): string =>
  `ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -b:v 4M -g 60 -c:a aac -b:a 160k -f flv "${server}/$KEY"`;

/** A stream's name out of a title: what the form proposes. */
export function nameOf(title: string): string {
  const plain = title
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase();
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 48);
}

/** What stands before the names of a tenant's streams. */
export const namePrefix = (slug: string): string => (slug === 'default' ? '' : `${slug}.`);

export type StepsDone = readonly [keyUsed: boolean, picture: boolean, sealed: boolean, playable: boolean];

/** Which steps are done. A later one holds those before it. Pure. */
export function stepsDone(stream: Stream, isPlayable: boolean): StepsDone {
  const isSealed = stream.live?.state === 'live' || isPlayable;
  const hasPicture = stream.input?.video !== undefined || isSealed;
  const isKeyUsed = stream.input?.connected_at !== undefined || hasPicture;
  return [isKeyUsed, hasPicture, isSealed, isPlayable];
}
