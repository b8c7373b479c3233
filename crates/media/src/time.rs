//! Media time (ticks of a timescale) and the cores' time (`now`, handed in by the caller). Pure: reads no clock.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Ticks per second of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timescale(pub NonZeroU32);

impl Timescale {
    /// 90 kHz, the timescale of all video here: a frame is a whole number of ticks at 24, 25, 30, 50, 60 and 30000/1001 frames a second.
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).expect("not zero"));
    /// 1 kHz, the timescale of RTMP.
    pub const MILLIS: Self = Self(NonZeroU32::new(1_000).expect("not zero"));

    /// `None` when `ticks_per_second` is 0.
    pub const fn new(ticks_per_second: u32) -> Option<Self> {
        match NonZeroU32::new(ticks_per_second) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A point on, or a signed span of, a media timeline: ticks and the timescale they are counted in.
///
/// Arithmetic keeps the left operand's timescale. Comparison is exact across timescales.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Timestamp {
    /// Ticks; negative before the timeline's zero.
    pub ticks: i64,
    /// Ticks per second.
    pub timescale: Timescale,
}

impl Timestamp {
    pub const fn new(ticks: i64, timescale: Timescale) -> Self {
        Self { ticks, timescale }
    }

    /// The zero of a timeline.
    pub const fn zero(timescale: Timescale) -> Self {
        Self::new(0, timescale)
    }

    /// The same instant in another timescale, rounded to the nearest tick, halves up; saturates at the range of `i64`.
    #[must_use]
    pub fn rescale(self, to: Timescale) -> Self {
        if self.timescale == to {
            return self;
        }
        // Nearly all products fit into 64 bits, whose division is many times faster than that of 128.
        let (from, factor) = (i64::from(self.timescale.get()), i64::from(to.get()));
        let doubled = self.ticks.checked_mul(2 * factor).and_then(|product| product.checked_add(from));
        let ticks = doubled.map_or_else(|| self.rescaled_wide(to), |doubled| doubled.div_euclid(2 * from));
        Self::new(ticks, to)
    }

    fn rescaled_wide(self, to: Timescale) -> i64 {
        let from = i128::from(self.timescale.get());
        let product = i128::from(self.ticks) * i128::from(to.get());
        let ticks = (2 * product + from).div_euclid(2 * from);
        i64::try_from(ticks.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).expect("clamped to the range")
    }

    /// `self + other`, in the timescale of `self`; saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_add(other.rescale(self.timescale).ticks), self.timescale)
    }

    /// `self - other`, in the timescale of `self`; saturating.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_sub(other.rescale(self.timescale).ticks), self.timescale)
    }

    /// Seconds, for rendering only.
    #[expect(clippy::cast_precision_loss, reason = "rendering only; exact to 2^53 ticks")]
    pub fn as_seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale.get())
    }

    /// The span from zero; zero when negative.
    pub fn as_duration(self) -> Duration {
        let nanos = self.rescale(Timescale::new(1_000_000_000).expect("not zero")).ticks;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let left = i128::from(self.ticks) * i128::from(other.timescale.get());
        let right = i128::from(other.ticks) * i128::from(self.timescale.get());
        left.cmp(&right)
    }
}

/// Wall clock: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// `self + span`; saturating.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `self - span`; saturating.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 with milliseconds, in UTC: `2026-01-31T12:00:00.000Z`, the form of EXT-X-PROGRAM-DATE-TIME.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(86_400_000);
        let millis_of_day = self.0.rem_euclid(86_400_000);
        // Days to civil date, proleptic Gregorian, era by era (400 years = 146,097 days), years starting in March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute) = (millis_of_day / 3_600_000, millis_of_day / 60_000 % 60);
        let (second, milli) = (millis_of_day / 1_000 % 60, millis_of_day % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// The time that a shell hands to a pure core: a monotonic reading for deadlines, and the wall clock for recorded dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since an arbitrary start; clock adjustments do not affect it.
    pub elapsed: Duration,
    /// Wall clock; an adjustment may set it back.
    pub wall: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescale_rounds_to_nearest_and_loses_nothing_going_finer() {
        let ms = Timestamp::new(33, Timescale::MILLIS);
        assert_eq!(ms.rescale(Timescale::VIDEO).ticks, 2_970);
        assert_eq!(Timestamp::new(2_999, Timescale::VIDEO).rescale(Timescale::MILLIS).ticks, 33);
        assert_eq!(Timestamp::new(-45, Timescale::VIDEO).rescale(Timescale::MILLIS).ticks, 0);
        assert_eq!(Timestamp::new(-46, Timescale::VIDEO).rescale(Timescale::MILLIS).ticks, -1);
    }

    #[test]
    fn rescale_is_the_same_in_64_bits_and_beyond() {
        for factor in [1, 3, 44_100, 90_000, 1_000_000_000, u32::MAX] {
            let to = Timescale::new(factor).unwrap();
            let fitting = i64::MAX / (2 * i64::from(factor));
            let edges = [-fitting - 1, -fitting, -46, -45, 0, 1, 7, fitting - 1, fitting, fitting + 1];
            for ticks in edges.into_iter().chain([i64::MIN, i64::MAX]) {
                let at = Timestamp::new(ticks, Timescale::VIDEO);
                assert_eq!(at.rescale(to).ticks, if factor == 90_000 { ticks } else { at.rescaled_wide(to) }, "{at:?}");
            }
        }
        let end = Timestamp::new(i64::MAX, Timescale::MILLIS);
        assert_eq!(end.rescale(Timescale::VIDEO).ticks, i64::MAX);
    }

    #[test]
    fn comparison_is_exact_across_timescales() {
        let third = Timestamp::new(1, Timescale::new(3).unwrap());
        assert!(third > Timestamp::new(333, Timescale::MILLIS));
        assert!(third < Timestamp::new(334, Timescale::MILLIS));
        assert_eq!(Timestamp::new(500, Timescale::MILLIS), Timestamp::new(45_000, Timescale::VIDEO));
    }

    #[test]
    fn wall_clock_is_written_as_rfc_3339() {
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(UnixMillis(1_767_225_599_999).to_string(), "2025-12-31T23:59:59.999Z");
    }
}
