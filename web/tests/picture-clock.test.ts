import { describe, expect, it } from 'vitest';
import { CELLS, GlassToGlass, readPictureClock, STRIP_PIXELS } from '../src/player/picture-clock';

const TIME = 1_795_246_245_678;

/** The blocks for a time, as the source draws them. */
function cells(time: number): boolean[] {
  const bits = `10${time.toString(2).padStart(42, '0')}${((time % 13) + 1).toString(2).padStart(4, '0')}`;
  return [...bits].map((bit) => bit === '1');
}

interface Look {
  white?: number;
  black?: number;
  /** Largest noise that is added to the pixels. */
  noise?: number;
}

function strip(
  blocks: boolean[],
  { white = 235, black = 16, noise = 0 }: Look = {},
  { width, height } = { ...STRIP_PIXELS } as { width: number; height: number },
): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const isWhite = blocks[Math.floor((x * CELLS) / width)] !== y >= height / 2;
      const value = (isWhite ? white : black) + noise * Math.sin(x * 12.9898 + y * 78.233);
      pixels.set([value, value, value, 255], 4 * (y * width + x));
    }
  }
  return pixels;
}

const read = (pixels: Uint8ClampedArray) => readPictureClock(pixels, STRIP_PIXELS.width, STRIP_PIXELS.height);

describe('readPictureClock', () => {
  it('reads_what_the_source_draws', () => {
    for (const time of [TIME, TIME + 1, 0, 2 ** 42 - 1, 1_767_225_599_999]) {
      expect(read(strip(cells(time)))).toBe(time);
    }
  });

  it('reads_it_darkened_brightened_and_noisy', () => {
    expect(read(strip(cells(TIME), { white: 150, black: 60 }))).toBe(TIME);
    expect(read(strip(cells(TIME), { white: 255, black: 120 }))).toBe(TIME);
    expect(read(strip(cells(TIME), { noise: 40 }))).toBe(TIME);
  });

  it('reads_any_strip_that_is_large_enough', () => {
    const size = { width: 640, height: 40 };
    expect(readPictureClock(strip(cells(TIME), {}, size), size.width, size.height)).toBe(TIME);
    expect(readPictureClock(new Uint8ClampedArray(0), 240, 16)).toBeNull();
    expect(readPictureClock(new Uint8ClampedArray(4 * 100 * 4), 100, 4)).toBeNull();
  });

  it('finds_none_in_an_even_picture', () => {
    for (const grey of [0, 16, 128, 255]) {
      expect(read(strip(cells(TIME), { white: grey, black: grey }))).toBeNull();
    }
  });

  it('finds_none_in_stripes_gradients_and_noise', () => {
    const { width, height } = STRIP_PIXELS;
    const fill = (value: (x: number, y: number) => number): Uint8ClampedArray => {
      const pixels = new Uint8ClampedArray(4 * width * height);
      for (let at = 0; at < width * height; at += 1) {
        const grey = value(at % width, Math.floor(at / width));
        pixels.set([grey, grey, grey, 255], 4 * at);
      }
      return pixels;
    };
    let random = 1;
    const noise = (): number => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
      return random >>> 24;
    };
    expect(read(fill((_, y) => (y < height / 2 ? 235 : 16)))).toBeNull();
    expect(read(fill((_, y) => (y < height / 2 ? 16 : 235)))).toBeNull();
    expect(read(fill((x) => x % 256))).toBeNull();
    for (let picture = 0; picture < 200; picture += 1) expect(read(fill(noise))).toBeNull();
  });

  it('notices_every_single_wrong_block', () => {
    for (let wrong = 0; wrong < CELLS; wrong += 1) {
      const blocks = cells(TIME).map((white, index) => white !== (index === wrong));
      expect(read(strip(blocks))).toBeNull();
    }
  });

  it('notices_a_block_that_is_not_clear', () => {
    const pixels = strip(cells(TIME));
    for (let y = 0; y < STRIP_PIXELS.height; y += 1) {
      for (let x = 100; x < 105; x += 1) pixels.set([128, 128, 128, 255], 4 * (y * STRIP_PIXELS.width + x));
    }
    expect(read(pixels)).toBeNull();
  });
});

describe('GlassToGlass', () => {
  const reading = (second: number, delayMs: number, clockMs: number | null = TIME + 1_000 * second) => ({
    clockMs,
    mediaTime: second,
    shownAtMs: TIME + 1_000 * second + delayMs,
  });

  it('is_the_time_from_the_clock_to_the_screen', () => {
    const glass = new GlassToGlass();
    glass.add(reading(0, 2_100));
    glass.add(reading(0.5, 2_100));
    expect(glass.seconds).toBeCloseTo(2.1);
  });

  it('believes_no_reading_that_stands_alone', () => {
    const glass = new GlassToGlass();
    glass.add(reading(0, 2_000));
    expect(glass.seconds).toBeNull();
    glass.add(reading(1, 2_000, TIME + 7_000));
    expect(glass.seconds).toBeNull();
  });

  it('follows_a_seek_after_two_readings', () => {
    const glass = new GlassToGlass();
    for (const second of [0, 0.5, 9.5]) glass.add(reading(second, 2_000));
    glass.add({ clockMs: TIME + 20_000, mediaTime: 10, shownAtMs: TIME + 24_000 });
    expect(glass.seconds).toBeNull();
    glass.add({ clockMs: TIME + 20_500, mediaTime: 10.5, shownAtMs: TIME + 24_500 });
    expect(glass.seconds).toBeCloseTo(4);
  });

  it('keeps_its_value_over_a_damaged_picture_and_drops_it_after_several', () => {
    const glass = new GlassToGlass();
    glass.add(reading(0, 2_000));
    glass.add(reading(0.5, 2_000));
    glass.add(reading(1, 2_000, null));
    expect(glass.seconds).toBeCloseTo(2);
    for (const second of [1.5, 2, 2.5]) glass.add(reading(second, 2_000, null));
    expect(glass.seconds).toBeNull();
    expect(glass.seen).toBe(false);
  });

  it('shows_no_delay_that_cannot_be', () => {
    const glass = new GlassToGlass();
    for (const second of [0, 0.5, 1]) glass.add(reading(second, -5_000));
    expect(glass.seconds).toBeNull();
    for (const second of [0, 0.5, 1]) glass.add(reading(second, 3_600_000));
    expect(glass.seconds).toBeNull();
  });
});
