/**
 * Plans what a join of a live stream loads first, from its playlists. Reads only the tags that this needs; hls.js reads the rest. Pure.
 */

import { BANDWIDTH_SHARE } from './hls-config';

export interface Variant {
  url: string;
  /** Peak bits per second. */
  bandwidth: number;
  /** URL of the audio rendition's playlist; null when audio is not a rendition of its own. */
  audio: string | null;
}

/** Most objects fetched ahead for a rendition: an init segment, and the parts of two GOPs of 2 s. */
export const EARLY_OBJECTS_MAX = 10;

function attribute(line: string, name: string): string | null {
  const value = new RegExp(`[:,]${name}=("[^"]*"|[^,]*)`).exec(line)?.[1];
  return value === undefined ? null : value.replaceAll('"', '');
}

function absolute(uri: string | null, base: string): string | null {
  return uri !== null && URL.canParse(uri, base) ? new URL(uri, base).href : null;
}

/** Audio playlist of each group: the default rendition, else the first. */
function audioPlaylists(lines: string[], base: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of lines) {
    if (!line.startsWith('#EXT-X-MEDIA:') || attribute(line, 'TYPE') !== 'AUDIO') continue;
    const group = attribute(line, 'GROUP-ID') ?? '';
    const url = absolute(attribute(line, 'URI'), base);
    if (url && (!found.has(group) || attribute(line, 'DEFAULT') === 'YES')) found.set(group, url);
  }
  return found;
}

/** The variants of a multivariant playlist, in its order; with content steering, only those of the initial pathway. */
export function variants(text: string, base: string): Variant[] {
  const lines = text.split('\n').map((line) => line.trim());
  const steering = lines.find((line) => line.startsWith('#EXT-X-CONTENT-STEERING:'));
  const pathway = steering === undefined ? null : attribute(steering, 'PATHWAY-ID');
  const audio = audioPlaylists(lines, base);
  const found: Variant[] = [];
  let stream: string | null = null;
  for (const line of lines) {
    if (line.startsWith('#EXT-X-STREAM-INF:')) stream = line;
    if (stream === null || line === '' || line.startsWith('#')) continue;
    const url = absolute(line, base);
    const bandwidth = Number(attribute(stream, 'BANDWIDTH'));
    const isOnPathway = pathway === null || attribute(stream, 'PATHWAY-ID') === pathway;
    if (url && isOnPathway)
      found.push({ url, bandwidth, audio: audio.get(attribute(stream, 'AUDIO') ?? '') ?? null });
    stream = null;
  }
  return found;
}

/** The best rung that the bandwidth carries, else the smallest. hls.js chooses its first rung in the same way. */
export function startVariant(all: Variant[], bitsPerSecond: number): Variant | null {
  const sorted = [...all].sort((a, b) => a.bandwidth - b.bandwidth);
  return (
    sorted.findLast(({ bandwidth }) => bandwidth <= bitsPerSecond * BANDWIDTH_SHARE) ?? sorted[0] ?? null
  );
}

interface ListedPart {
  url: string;
  init: string | null;
  duration: number;
  isIndependent: boolean;
  isGap: boolean;
}

function listedParts(text: string, base: string): ListedPart[] {
  const parts: ListedPart[] = [];
  let init: string | null = null;
  for (const line of text.split('\n')) {
    if (line.startsWith('#EXT-X-MAP:')) init = absolute(attribute(line, 'URI'), base);
    if (!line.startsWith('#EXT-X-PART:')) continue;
    const url = absolute(attribute(line, 'URI'), base);
    if (url === null) continue;
    parts.push({
      url,
      init,
      duration: Number(attribute(line, 'DURATION')),
      isIndependent: attribute(line, 'INDEPENDENT') === 'YES',
      isGap: attribute(line, 'GAP') === 'YES',
    });
  }
  return parts;
}

/** Seconds from the playlist to the first frame. A join begins this much nearer to the edge, to be at its target when it plays. */
export const JOIN_SECONDS = 0.25;

/** Hold-back and target of a live playlist with parts, seconds; null for any other playlist. */
export function partRules(text: string): { partHoldBack: number; partTarget: number } | null {
  const control = /^#EXT-X-SERVER-CONTROL:.*$/m.exec(text)?.[0] ?? '';
  const info = /^#EXT-X-PART-INF:.*$/m.exec(text)?.[0] ?? '';
  const partHoldBack = Number(attribute(control, 'PART-HOLD-BACK'));
  const partTarget = Number(attribute(info, 'PART-TARGET'));
  return partHoldBack > 0 && !/^#EXT-X-ENDLIST/m.test(text) ? { partHoldBack, partTarget } : null;
}

/**
 * URLs that a player loads first if it starts `behindSeconds` before the end: the init segment, and the parts from the last
 * independent one that begins no later than that. Empty for a playlist without parts.
 */
export function joinObjects(text: string, base: string, behindSeconds: number): string[] {
  const parts = listedParts(text, base);
  let left = behindSeconds;
  let first = parts.length;
  while (first > 0) {
    first -= 1;
    left -= parts[first]?.duration ?? 0;
    if (left <= 0 && parts[first]?.isIndependent) break;
  }
  const from = parts.slice(first);
  const init = from[0]?.init ?? null;
  if (init === null || !from[0]?.isIndependent) return [];
  // Another init segment belongs to another epoch, and a gap has no bytes. hls.js handles both.
  const end = from.findIndex((part) => part.isGap || part.init !== init);
  const urls = (end < 0 ? from : from.slice(0, end)).map(({ url }) => url);
  return [init, ...urls].slice(0, EARLY_OBJECTS_MAX);
}

/**
 * The objects of two renditions in turns, both from their beginnings: a server answers in this order, and a picture waits for the first pieces of
 * both, because a player needs both init segments before it shows any.
 */
export function inTurns(video: string[], audio: string[]): string[] {
  const longest = Math.max(video.length, audio.length);
  return Array.from({ length: longest }, (_, index) => [video[index], audio[index]])
    .flat()
    .filter((url) => url !== undefined);
}
