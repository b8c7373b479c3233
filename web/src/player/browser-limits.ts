/** What the viewer's browser cannot do, in words for the viewer, so that nobody takes it for a fault of the stream. Pure, but for `abilities`. */

/** What a browser has of what the page uses. */
export interface BrowserAbilities {
  /** Media Source Extensions, of either kind: the page's player runs, not the browser's own. */
  mediaSource: boolean;
  /** It decodes the pictures (H.264) and sound (AAC) that every stream has. */
  avc: boolean;
  /** The browser's own player takes HLS. */
  nativeHls: boolean;
  /** `requestVideoFrameCallback`: it tells when a picture is on screen. */
  frameTimes: boolean;
}

/** Why nothing plays; null where something can. */
export function cannotPlay({ mediaSource, avc, nativeHls }: BrowserAbilities): string | null {
  if ((mediaSource && avc) || nativeHls) return null;
  return mediaSource
    ? 'This browser has no decoder for H.264 and AAC. On Linux, install the system’s codecs (libavcodec, or gstreamer1.0-libav), and start it again.'
    : 'This browser cannot play HLS. A current Chrome, Edge, Firefox or Safari can.';
}

/** What is missing while it plays, a sentence each. */
export function browserLimits(abilities: BrowserAbilities): string[] {
  if (cannotPlay(abilities) !== null) return [];
  const limits: string[] = [];
  if (!(abilities.mediaSource && abilities.avc)) {
    limits.push(
      'This browser plays with its own player: it chooses the quality and the distance to the live edge, and says little of either.',
    );
  }
  if (!abilities.frameTimes) {
    limits.push('This browser does not tell when a picture is on screen: glass to glass is not measured.');
  }
  return limits;
}

/** Asks the browser: reads `MediaSource` and the element. */
export function abilities(video: HTMLVideoElement): BrowserAbilities {
  const source: typeof MediaSource | undefined =
    globalThis.MediaSource ?? (globalThis as { ManagedMediaSource?: typeof MediaSource }).ManagedMediaSource;
  return {
    mediaSource: source !== undefined,
    avc: source?.isTypeSupported('video/mp4; codecs="avc1.42E01E,mp4a.40.2"') ?? false,
    nativeHls: video.canPlayType('application/vnd.apple.mpegurl') !== '',
    frameTimes: 'requestVideoFrameCallback' in video,
  };
}
