//! The shape of pixels. Pure.

use ffmpeg::Rational;
use ffmpeg_next as ffmpeg;

/// Width and height of a pixel, as a ratio: sources of 4:3 or 16:9 in 720 columns have pixels that are not square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelAspect(pub(super) u32, pub(super) u32);

impl PixelAspect {
    /// Largest side of a pixel: as in H.264 (E.2.1), so that products of sides fit.
    const SIDE_MAX: u32 = 65_535;
    /// The ratio when none is stated.
    pub const SQUARE: Self = Self(1, 1);

    /// From FFmpeg's ratio, where 0 means unknown.
    pub(super) fn of(ratio: Rational) -> Self {
        let side = |side: i32| u32::try_from(side).ok().filter(|side| (1..=Self::SIDE_MAX).contains(side));
        side(ratio.numerator()).zip(side(ratio.denominator())).map_or(Self::SQUARE, |(wide, high)| Self(wide, high))
    }

    pub(super) fn ratio(self) -> Rational {
        let side = |side: u32| i32::try_from(side).unwrap_or(1);
        Rational(side(self.0), side(self.1))
    }

    /// The shape that a picture of square pixels has in pixels of this shape.
    pub(super) fn of_square(self, (width, height): (u32, u32)) -> (u64, u64) {
        let side = |pixels: u32, factor: u32| u64::from(pixels.max(1)) * u64::from(factor);
        (side(width, self.1), side(height, self.0))
    }
}
