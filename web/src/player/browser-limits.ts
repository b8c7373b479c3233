/** Tells the viewer what the browser cannot do, so that nobody takes it for a fault of the stream. Pure, except for `abilities`. */

/** The features of the browser that the page uses. */
export interface BrowserAbilities {
  /** Media Source Extensions, plain or managed: the page's player can run instead of the browser's own. */
  mediaSource: boolean;
  /** It decodes the video (H.264) and audio (AAC) that every stream has. */
  avc: boolean;
  /** The browser's own player plays HLS. */
  nativeHls: boolean;
  /** `requestVideoFrameCallback`, which tells when a frame is on screen. */
  frameTimes: boolean;
}

/** Why the browser cannot play any stream; null when it can. */
export function cannotPlay({ mediaSource, avc, nativeHls }: BrowserAbilities): string | null {
  if ((mediaSource && avc) || nativeHls) return null;
  return mediaSource
    ? 'This browser has no decoder for H.264 and AAC. On Linux, install the system’s codecs (libavcodec, or gstreamer1.0-libav), and start it again.'
    : 'This browser cannot play HLS. A current Chrome, Edge, Firefox or Safari can.';
}

/** What is missing although the browser plays, one sentence each. */
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

/** Reads the abilities from `MediaSource` and the element. */
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
