/** Reads the clock in the picture (`picture-clock.ts`) now and then. To save work, it draws only a thin strip, and rarely. */

import { GlassToGlass, readPictureClock, STRIP_HEIGHT, STRIP_PIXELS } from './picture-clock';

/** Intervals between two readings while the picture has a clock, and while it has none. Milliseconds. */
const LOOK_MS = 500;
const LOOK_RARELY_MS = 5_000;

export class GlassMeter {
  readonly #video: HTMLVideoElement;
  readonly #state = new GlassToGlass();
  readonly #canvas: CanvasRenderingContext2D | null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
    const canvas = document.createElement('canvas');
    canvas.width = STRIP_PIXELS.width;
    canvas.height = STRIP_PIXELS.height;
    this.#canvas = canvas.getContext('2d', { willReadFrequently: true });
    if ('requestVideoFrameCallback' in video) this.#later(0);
  }

  /** Seconds from the source's clock to this screen; null when the picture carries no clock. */
  get seconds(): number | null {
    return this.#state.seconds;
  }

  reset(): void {
    this.#state.reset();
  }

  destroy(): void {
    clearTimeout(this.#timer);
  }

  #later(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#video.requestVideoFrameCallback((_, frame) => {
        this.#look(frame.mediaTime);
        this.#later(this.#state.seen ? LOOK_MS : LOOK_RARELY_MS);
      });
    }, afterMs);
  }

  #look(mediaTime: number): void {
    const { videoWidth, videoHeight } = this.#video;
    if (!this.#canvas || videoWidth === 0) return;
    const { width, height } = STRIP_PIXELS;
    const strip = videoHeight * STRIP_HEIGHT;
    this.#canvas.drawImage(this.#video, 0, videoHeight - strip, videoWidth, strip, 0, 0, width, height);
    const { data } = this.#canvas.getImageData(0, 0, width, height);
    const clockMs = readPictureClock(data, width, height);
    this.#state.add({ clockMs, mediaTime, shownAtMs: Date.now() });
  }
}
