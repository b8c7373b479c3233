//! The burned-in clock: drawn for people as digits, for programs as blocks; and read back from any decoded, scaled picture. Pure.
//!
//! The blocks form two rows along the lower edge: [`CELLS`] in a row over the whole width, and each row as high as the picture divided by
//! [`ROW_DIVISOR`]. The lower row is the upper one inverted, so that a bit is the difference of two blocks whatever the encoder did to
//! brightness. From the left: white, black, 42 bits of milliseconds since 1970 (highest first), 4 bits of check sum.

use crate::font::{GLYPH_HEIGHT, GLYPH_WIDTH, glyph};

/// Blocks in a row.
pub const CELLS: usize = 48;

/// A row's height is the picture's divided by this.
pub const ROW_DIVISOR: usize = 18;

/// Bits of the time: enough until the year 2109.
const TIME_BITS: usize = 42;

/// Smallest picture that can be read: three pixels a block.
const WIDTH_MIN: usize = CELLS * 3;
const HEIGHT_MIN: usize = ROW_DIVISOR * 3;

/// The two blocks of a bit differ by at least this (of 219) after scaling and encoding; some blocks of a picture without a clock do not.
const CONTRAST_MIN: u32 = 50;

const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Wall clock: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

/// Brightness of a picture: `height` rows of `stride` bytes of which the first `width` count.
pub(crate) struct Luma<'a> {
    pub(crate) pixels: &'a mut [u8],
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) stride: usize,
}

impl Luma<'_> {
    /// Fills a rectangle; what is outside the picture is left out.
    pub(crate) fn fill(&mut self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, value: u8) {
        let columns = columns.start.min(self.width)..columns.end.min(self.width);
        let rows = rows.start.min(self.height)..rows.end.min(self.height);
        for line in self.pixels.chunks_mut(self.stride).take(rows.end).skip(rows.start) {
            if let Some(part) = line.get_mut(columns.clone()) {
                part.fill(value);
            }
        }
    }
}

/// The cells of a time, from the left.
fn cells(time: UnixMillis) -> [bool; CELLS] {
    let millis = time.0.unsigned_abs() & ((1 << TIME_BITS) - 1);
    let word = (0b10 << (TIME_BITS + 4)) | (millis << 4) | check_sum(millis);
    let mut cells = [false; CELLS];
    for (index, cell) in cells.iter_mut().rev().enumerate() {
        *cell = word >> index & 1 == 1;
    }
    cells
}

/// Remainder of division by 13, plus 1: finds every single wrong bit, and all but a thirteenth of the rest.
const fn check_sum(millis: u64) -> u64 {
    millis % 13 + 1
}

/// Draws the blocks of `time` along the lower edge.
pub(crate) fn draw_blocks(luma: &mut Luma<'_>, time: UnixMillis) {
    let row = luma.height / ROW_DIVISOR;
    let (upper, lower) = (luma.height.saturating_sub(2 * row), luma.height.saturating_sub(row));
    for (index, white) in cells(time).into_iter().enumerate() {
        let columns = index * luma.width / CELLS..(index + 1) * luma.width / CELLS;
        luma.fill(columns.clone(), upper..lower, if white { WHITE } else { BLACK });
        luma.fill(columns, lower..luma.height, if white { BLACK } else { WHITE });
    }
}

/// Draws `HH:MM:SS.mmm` (UTC) into the middle of the picture, white on black.
pub(crate) fn draw_digits(luma: &mut Luma<'_>, time: UnixMillis) {
    let text = text(time);
    let columns = text.chars().count() * (GLYPH_WIDTH + 1) + 1;
    let dot = (luma.width * 7 / 10 / columns).min(luma.height / 4 / GLYPH_HEIGHT).max(1);
    let (width, height) = (columns * dot, (GLYPH_HEIGHT + 2) * dot);
    let (left, top) = (luma.width.saturating_sub(width) / 2, (luma.height / 2).saturating_sub(height / 2));
    luma.fill(left..left + width, top..top + height, BLACK);
    for (index, character) in text.chars().enumerate() {
        let x = left + (index * (GLYPH_WIDTH + 1) + 1) * dot;
        for (row, dots) in glyph(character).into_iter().enumerate() {
            let y = top + (row + 1) * dot;
            for column in (0..GLYPH_WIDTH).filter(|column| dots >> (GLYPH_WIDTH - 1 - column) & 1 == 1) {
                luma.fill(x + column * dot..x + (column + 1) * dot, y..y + dot, WHITE);
            }
        }
    }
}

/// `HH:MM:SS.mmm` in UTC.
pub fn text(time: UnixMillis) -> String {
    let millis = time.0.rem_euclid(86_400_000);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", millis / 1_000 % 60, millis % 1_000)
}

/// Reads the clock out of a picture's brightness: `height` rows of `stride` bytes, of which the first `width` count. The picture has to
/// be the whole one, scaled in any way (at least 144 by 54 pixels).
///
/// `None` when it has no clock, or no clear one. A wrong time comes at most from one damaged picture in hundreds.
pub fn read(luma: &[u8], width: usize, height: usize, stride: usize) -> Option<UnixMillis> {
    let enough = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
    if width < WIDTH_MIN || height < HEIGHT_MIN || stride < width || luma.len() < enough {
        return None;
    }
    // Exact fractions, because a scaled picture's rows need not be whole pixels.
    let upper = band(height * (2 * ROW_DIVISOR - 3), 2 * ROW_DIVISOR, height / ROW_DIVISOR / 4);
    let lower = band(height * (2 * ROW_DIVISOR - 1), 2 * ROW_DIVISOR, height / ROW_DIVISOR / 4);
    let mut word = 0_u64;
    for index in 0..CELLS {
        let columns = band(width * (2 * index + 1), 2 * CELLS, width / CELLS / 4);
        let above = mean(luma, stride, columns.clone(), upper.clone())?;
        let below = mean(luma, stride, columns, lower.clone())?;
        if above.abs_diff(below) < CONTRAST_MIN {
            return None;
        }
        word = word << 1 | u64::from(above > below);
    }
    let millis = word >> 4 & ((1 << TIME_BITS) - 1);
    let marked = word >> (TIME_BITS + 4) == 0b10;
    (marked && word & 0b1111 == check_sum(millis)).then_some(())?;
    i64::try_from(millis).ok().map(UnixMillis)
}

/// The pixels around `numerator / denominator`, `reach` to both sides.
fn band(numerator: usize, denominator: usize, reach: usize) -> std::ops::Range<usize> {
    let middle = numerator / denominator;
    middle.saturating_sub(reach)..middle + reach + 1
}

fn mean(luma: &[u8], stride: usize, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> Option<u32> {
    let mut sum = 0_u32;
    let mut count = 0_u32;
    for row in rows {
        for pixel in luma.get(row * stride..)?.get(columns.clone())? {
            sum += u32::from(*pixel);
            count += 1;
        }
    }
    sum.checked_div(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, stride: usize, time: UnixMillis) -> Vec<u8> {
        let mut pixels = vec![128; stride * height];
        let mut luma = Luma { pixels: &mut pixels, width, height, stride };
        draw_digits(&mut luma, time);
        draw_blocks(&mut luma, time);
        pixels
    }

    /// Mean of source pixels under each target pixel.
    fn scaled(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        let mut out = Vec::new();
        for y in 0..to.1 {
            for x in 0..to.0 {
                let columns = x * from.0 / to.0..((x + 1) * from.0 / to.0).max(x * from.0 / to.0 + 1);
                let rows = y * from.1 / to.1..((y + 1) * from.1 / to.1).max(y * from.1 / to.1 + 1);
                out.push(u8::try_from(mean(pixels, from.0, columns, rows).unwrap()).unwrap());
            }
        }
        out
    }

    #[test]
    fn clock_reads_back_at_any_size_and_stride() {
        let mut time = 1_767_225_599_999_i64;
        for (width, height) in [(1_920, 1_080), (1_280, 720), (854, 480), (640, 360), (360, 640), (256, 144), (145, 55)]
        {
            for stride in [width, width + 61] {
                time += 86_399_123;
                let pixels = picture(width, height, stride, UnixMillis(time));
                assert_eq!(read(&pixels, width, height, stride), Some(UnixMillis(time)), "{width}x{height}");
            }
        }
    }

    #[test]
    fn clock_reads_back_after_scaling() {
        let time = UnixMillis(1_795_246_245_678);
        let pixels = picture(1_920, 1_080, 1_920, time);
        for to in [(1_280, 720), (854, 480), (640, 360), (426, 240), (256, 144)] {
            assert_eq!(read(&scaled(&pixels, (1_920, 1_080), to), to.0, to.1, to.0), Some(time), "{to:?}");
        }
    }

    #[test]
    fn picture_without_a_clock_reads_as_none() {
        assert_eq!(read(&[128; 640 * 360], 640, 360, 640), None);
        assert_eq!(read(&[], 640, 360, 640), None);
        assert_eq!(read(&[0; 100], 10, 10, 10), None);
        assert_eq!(read(&[0; 100], usize::MAX, usize::MAX, usize::MAX), None);
        let time = UnixMillis(1_795_246_245_678);
        let pixels = picture(640, 360, 640, time);
        assert_eq!(read(&pixels[..pixels.len() - 640], 640, 359, 640).filter(|read| *read != time), None);
        let mut random = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.to_be_bytes()[0]
        })
        .take(640 * 360)
        .collect();
        assert_eq!(read(&noise, 640, 360, 640), None);
    }

    #[test]
    fn one_wrong_block_is_noticed() {
        let time = UnixMillis(1_795_246_245_678);
        for index in 0..CELLS {
            let mut pixels = picture(960, 540, 960, time);
            let mut luma = Luma { pixels: &mut pixels, width: 960, height: 540, stride: 960 };
            let white = cells(time)[index];
            luma.fill(index * 20..index * 20 + 20, 480..510, if white { BLACK } else { WHITE });
            luma.fill(index * 20..index * 20 + 20, 510..540, if white { WHITE } else { BLACK });
            assert_eq!(read(&pixels, 960, 540, 960), None, "block {index}");
        }
    }

    #[test]
    fn digits_say_the_time_of_day_in_utc() {
        assert_eq!(text(UnixMillis(1_767_225_599_999)), "23:59:59.999");
        assert_eq!(text(UnixMillis(0)), "00:00:00.000");
    }
}
