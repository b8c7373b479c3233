/**
 * Runs before a page's own scripts and measures its video element, whatever player drives it: when the first
 * frame was on screen, how old each frame is by the clock in its picture, and when the picture stood still.
 *
 * The test source (`source/src/clock.rs`) draws the clock as rows of blocks: milliseconds since 1970 by this machine's clock.
 */
(() => {
  const CELLS = 48;
  const TIME_BITS = 42;
  const ROW_DIVISOR = 18;
  /** Smallest difference between the two blocks of a bit, of 255; the source promises 50 of 219. */
  const CONTRAST_MIN = 50;
  /** Pixels of the copy per block; the two in its middle are read. */
  const CELL_PIXELS = 4;
  /** One in this many frames is read, because reading all would cost as much as decoding. */
  const FRAMES_PER_READING = 4;
  /** Shortest standstill that viewers see, milliseconds. */
  const STALL_MS_MIN = 300;
  const SAMPLE_MS = 100;

  const canvas = new OffscreenCanvas(CELLS * CELL_PIXELS, 2 * CELL_PIXELS);
  const copy = canvas.getContext('2d', { willReadFrequently: true });

  /** Milliseconds since 1970 in the picture that the element shows, or null. */
  function readClock(video) {
    const { videoWidth: width, videoHeight: height } = video;
    const rows = (2 * height) / ROW_DIVISOR;
    copy.drawImage(video, 0, height - rows, width, rows, 0, 0, canvas.width, canvas.height);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const brightness = (cell, row) => {
      let sum = 0;
      for (const y of [1, 2])
        for (const x of [1, 2]) {
          const at = 4 * ((row * CELL_PIXELS + y) * canvas.width + cell * CELL_PIXELS + x);
          sum += data[at] + 2 * data[at + 1] + data[at + 2];
        }
      return sum / 16;
    };
    const bits = [];
    for (let cell = 0; cell < CELLS; cell += 1) {
      const difference = brightness(cell, 0) - brightness(cell, 1);
      if (Math.abs(difference) < CONTRAST_MIN) return null;
      bits.push(difference > 0 ? 1 : 0);
    }
    const number = (from, to) => bits.slice(from, to).reduce((value, bit) => value * 2 + bit, 0);
    const millis = number(2, 2 + TIME_BITS);
    const sound = bits[0] === 1 && bits[1] === 0 && number(2 + TIME_BITS, CELLS) === (millis % 13) + 1;
    return sound ? millis : null;
  }

  const bench = {
    /** When a bare player got its URL, by `performance.now()`; for a page 0, the start of the navigation. */
    loadedAtMs: 0,
    firstFrameMs: null,
    secondFrameMs: null,
    frames: 0,
    /** Sum of the heights of all frames, pixels. */
    heights: 0,
    /** One entry per reading: [time on screen, media time, clock], in milliseconds; the first and the last since 1970. */
    readings: [],
    unreadable: 0,
    stalls: [],
    errors: [],
    error(fatal, details) {
      bench.errors.push({ atMs: Math.round(performance.now()), fatal, details });
    },
    latency: () => globalThis.sealcast?.player?.latencySeconds ?? null,
    report() {
      const page = globalThis.sealcast?.player;
      const { video, loadedAtMs, firstFrameMs, secondFrameMs, frames, heights, readings, unreadable, stalls, errors } =
        bench;
      return {
        firstFrameMs: firstFrameMs === null ? null : firstFrameMs - loadedAtMs,
        secondFrameMs: secondFrameMs === null ? null : secondFrameMs - loadedAtMs,
        frames,
        readings,
        unreadable,
        stalls,
        errors: page ? page.errors : errors,
        playerLatencySeconds: bench.latency() ?? null,
        pageGlassToGlassSeconds: page?.glassToGlassSeconds ?? null,
        level: video?.videoHeight ?? null,
        meanHeight: frames === 0 ? null : heights / frames,
        position: video?.currentTime ?? null,
        dropped: video?.getVideoPlaybackQuality().droppedVideoFrames ?? null,
      };
    },
  };
  globalThis.bench = bench;

  function onFrame(video, { expectedDisplayTime, mediaTime }) {
    bench.frames += 1;
    bench.heights += video.videoHeight;
    if (bench.frames === 1) bench.firstFrameMs = expectedDisplayTime;
    else bench.secondFrameMs ??= expectedDisplayTime;
    if (bench.frames % FRAMES_PER_READING === 1) {
      const clock = readClock(video);
      if (clock === null) bench.unreadable += 1;
      else bench.readings.push([performance.timeOrigin + expectedDisplayTime, mediaTime * 1_000, clock]);
    }
    video.requestVideoFrameCallback((_, metadata) => onFrame(video, metadata));
  }

  // Audio moves the position even when the picture stands still, so count frames.
  let frames = 0;
  let movedAtMs = 0;
  let stall = null;
  function sample(video) {
    const now = performance.now();
    const shouldMove = bench.frames > 1 && !video.paused && !video.seeking && !video.ended;
    if (bench.frames !== frames || !shouldMove) {
      frames = bench.frames;
      movedAtMs = now;
      stall = null;
      return;
    }
    const still = now - movedAtMs;
    if (still < STALL_MS_MIN) return;
    if (stall === null) {
      stall = { atMs: Math.round(movedAtMs), ms: 0 };
      bench.stalls.push(stall);
    }
    stall.ms = Math.round(still);
  }

  function attach(video) {
    if (bench.video || !(video instanceof HTMLVideoElement)) return;
    bench.video = video;
    video.requestVideoFrameCallback((_, metadata) => onFrame(video, metadata));
    setInterval(() => sample(video), SAMPLE_MS);
  }
  // Media events do not bubble, but a capturing listener gets them.
  document.addEventListener('loadstart', ({ target }) => attach(target), true);
})();
