//! The moving test pattern: colour bars, optional film grain, a bouncing square, a sweeping line, and the clock. Pure.

use crate::clock::{Luma, UnixMillis, draw_blocks, draw_digits};

/// Y, Cb, Cr of the bars (BT.601 range, 75 %): white, yellow, cyan, green, magenta, red, blue.
const BARS: [(u8, u8, u8); 7] =
    [(180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58), (84, 184, 198), (65, 100, 212), (35, 212, 114)];

/// The square's side is the picture's shorter one divided by this.
const SQUARE_DIVISOR: usize = 8;

/// How far the square moves each frame, in thousandths of the width.
const SPEED_PER_MILLE: usize = 7;

/// Side of a speck of grain in pixels: large enough that the lower renditions have it too.
const SPECK: usize = 2;

/// One plane of a picture.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    pub(crate) pixels: Vec<u8>,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Plane {
    fn bars(width: usize, height: usize, of: impl Fn(&(u8, u8, u8)) -> u8) -> Self {
        let row: Vec<u8> = (0..width).map(|x| BARS.get(x * BARS.len() / width.max(1)).map_or(16, &of)).collect();
        Self { pixels: row.repeat(height), width, height }
    }
}

/// Draws pictures of one size.
#[derive(Debug)]
pub(crate) struct Painter {
    background: [Plane; 3],
    /// Specks for two pictures; each frame takes another stretch of them. Empty: no grain.
    specks: Vec<i8>,
}

impl Painter {
    /// For pictures of `width` x `height`, both even, with specks up to `grain` (0 to 64) brighter or darker than what is below.
    pub(crate) fn new(width: usize, height: usize, grain: u8) -> Self {
        let (half_width, half_height) = (width / 2, height / 2);
        let count = if grain == 0 { 0 } else { 2 * (width / SPECK) * (height / SPECK) };
        Self {
            specks: specks(count, grain),
            background: [
                Plane::bars(width, height, |bar| bar.0),
                Plane::bars(half_width, half_height, |bar| bar.1),
                Plane::bars(half_width, half_height, |bar| bar.2),
            ],
        }
    }

    /// The colour planes, which do not move, and the brightness to start from.
    pub(crate) const fn background(&self) -> &[Plane; 3] {
        &self.background
    }

    /// Draws what moves onto a brightness plane that holds the background: frame number `frame`, at `time`.
    pub(crate) fn draw(&self, luma: &mut Luma<'_>, frame: u64, time: UnixMillis) {
        self.strew(luma, frame);
        let side = (luma.width.min(luma.height) / SQUARE_DIVISOR).max(2);
        let frame = usize::try_from(frame % (1 << 24)).unwrap_or(0);
        let step = (luma.width * SPEED_PER_MILLE / 1_000).max(1);
        let x = bounce(frame * step, luma.width.saturating_sub(side));
        let y = bounce(frame * step * 2 / 3, luma.height.saturating_sub(side));
        luma.fill(x..x + side, y..y + side, 235);
        luma.fill(x + side / 4..x + side * 3 / 4, y + side / 4..y + side * 3 / 4, 16);
        let line = frame * step % luma.width.max(1);
        luma.fill(line..line + 2, 0..luma.height, 235);
        draw_digits(luma, time);
        draw_blocks(luma, time);
    }

    /// Adds the grain of this frame. Encoders cannot predict it, so each rendition needs all the bits it gets, as a film does.
    fn strew(&self, luma: &mut Luma<'_>, frame: u64) {
        let across = luma.width / SPECK;
        let half = self.specks.len() / 2;
        if half == 0 || across == 0 {
            return;
        }
        let start = usize::try_from(mix(frame) % half as u64).unwrap_or(0);
        let rows = luma.pixels.chunks_mut(luma.stride).take(luma.height);
        for (y, row) in rows.enumerate() {
            let specks = self.specks.iter().skip(start + y / SPECK * across);
            for (pixels, speck) in row.chunks_mut(SPECK).take(across).zip(specks) {
                for pixel in pixels {
                    *pixel = pixel.saturating_add_signed(*speck);
                }
            }
        }
    }
}

/// `count` specks from `-grain` to `grain`, the same each time.
fn specks(count: usize, grain: u8) -> Vec<i8> {
    let steps = 2 * u64::from(grain) + 1;
    let speck =
        |index: u64| i8::try_from(i64::try_from(mix(index) % steps).unwrap_or(0) - i64::from(grain)).unwrap_or(0);
    (0..count as u64).map(speck).collect()
}

/// A number that looks random (SplitMix64).
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Back and forth between 0 and `limit`.
const fn bounce(way: usize, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    let way = way % (2 * limit);
    if way > limit { 2 * limit - way } else { way }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn every_picture_has_a_clock_that_reads_back_and_differs_from_the_last() {
        for grain in [0, 64] {
            let painter = Painter::new(320, 180, grain);
            let mut last = Vec::new();
            for frame in 0..100 {
                let mut pixels = painter.background()[0].pixels.clone();
                let time = UnixMillis(1_795_246_245_678 + i64::try_from(frame).unwrap() * 33);
                painter.draw(&mut Luma { pixels: &mut pixels, width: 320, height: 180, stride: 320 }, frame, time);
                assert_eq!(clock::read(&pixels, 320, 180, 320), Some(time));
                assert_ne!(pixels, last);
                last = pixels;
            }
        }
    }

    #[test]
    fn grain_covers_the_whole_picture_and_stays_within_its_strength() {
        let painter = Painter::new(320, 180, 20);
        let flat = vec![100; 320 * 180];
        let grained = |frame| {
            let mut pixels = flat.clone();
            painter.strew(&mut Luma { pixels: &mut pixels, width: 320, height: 180, stride: 320 }, frame);
            pixels
        };
        let (first, second) = (grained(0), grained(1));
        for rows in first.chunks(320 * 18) {
            assert!(rows.contains(&80) && rows.contains(&120), "specks of full strength in each strip");
        }
        assert!(first.iter().all(|pixel| (80..=120).contains(pixel)));
        let differ = first.iter().zip(&second).filter(|(first, second)| first != second).count();
        assert!(differ > 320 * 180 * 9 / 10, "{differ} pixels differ from frame to frame");
    }

    #[test]
    fn square_stays_inside() {
        for way in 0..1_000 {
            assert!(bounce(way, 77) <= 77);
        }
        assert_eq!((bounce(5, 0), bounce(78, 77), bounce(154, 77)), (0, 76, 0));
    }
}
