//! Measured bandwidth of a rendition, as the multivariant playlist states it. Pure.

use std::time::Duration;

use crate::{BitsPerSecond, Timestamp};

/// Peak and mean over all whole segments of a session (RFC 8216bis, 4.4.6.2: BANDWIDTH and AVERAGE-BANDWIDTH).
#[derive(Debug, Clone)]
pub(super) struct Meter {
    peak: BitsPerSecond,
    mean: BitsPerSecond,
    measured_peak: Option<u128>,
    bits: u128,
    seconds: Ratio,
}

/// A sum of ticks and their timescale, which does not round.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    ticks: u128,
    per_second: u128,
}

impl Meter {
    pub(super) fn new(peak: BitsPerSecond, mean: BitsPerSecond) -> Self {
        Self { peak, mean, measured_peak: None, bits: 0, seconds: Ratio::default() }
    }

    /// Continues an earlier measurement of the same source: its mean counts until the first segment, its peak for good.
    pub(super) fn resume(&mut self, peak: BitsPerSecond, mean: BitsPerSecond) {
        (self.measured_peak, self.mean) = (self.measured_peak.max(Some(peak.0.into())), mean);
    }

    /// Whether [`Self::peak`] is a measured value.
    pub(super) const fn is_measured(&self) -> bool {
        self.measured_peak.is_some()
    }

    /// Adds a segment. One shorter than half the target counts only for the mean: the specification takes the peak over spans of 0.5 to
    /// 1.5 target durations, and the last segment of a session may be a lone IDR.
    pub(super) fn add(&mut self, bytes: u64, duration: Timestamp, segment_target: Duration) {
        let bits = u128::from(bytes) * 8;
        let (ticks, per_second) = (u128::from(duration.ticks.unsigned_abs()), u128::from(duration.timescale.get()));
        self.bits += bits;
        self.seconds = Ratio { ticks: self.seconds.ticks + ticks, per_second };
        if ticks > 0 && duration.as_duration() * 2 >= segment_target {
            self.measured_peak = self.measured_peak.max(Some((bits * per_second).div_ceil(ticks)));
        }
    }

    /// Largest bit rate of a segment so far; before the first one the configured peak.
    pub(super) fn peak(&self) -> BitsPerSecond {
        self.measured_peak.map_or(self.peak, |peak| BitsPerSecond(u64::try_from(peak).unwrap_or(u64::MAX)))
    }

    /// Mean bit rate of all segments so far; before the first one the configured mean.
    pub(super) fn mean(&self) -> BitsPerSecond {
        (self.bits * self.seconds.per_second)
            .checked_div(self.seconds.ticks)
            .map_or(self.mean, |mean| BitsPerSecond(u64::try_from(mean).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timescale;

    #[test]
    fn short_last_segment_does_not_raise_the_peak() {
        let target = Duration::from_secs(4);
        let mut meter = Meter::new(BitsPerSecond(9), BitsPerSecond(8));
        assert_eq!((meter.peak(), meter.mean()), (BitsPerSecond(9), BitsPerSecond(8)));
        meter.add(500_000, Timestamp::new(360_000, Timescale::VIDEO), target);
        meter.add(250_000, Timestamp::new(360_000, Timescale::VIDEO), target);
        assert_eq!((meter.peak(), meter.mean()), (BitsPerSecond(1_000_000), BitsPerSecond(750_000)));
        meter.add(100_000, Timestamp::new(9_000, Timescale::VIDEO), target);
        assert_eq!(meter.peak(), BitsPerSecond(1_000_000));
    }

    #[test]
    fn peak_that_was_measured_before_is_not_undercut() {
        let mut meter = Meter::new(BitsPerSecond(900_000), BitsPerSecond(800_000));
        meter.resume(BitsPerSecond(1_000_000), BitsPerSecond(700_000));
        assert_eq!((meter.peak(), meter.mean()), (BitsPerSecond(1_000_000), BitsPerSecond(700_000)));
        meter.add(300_000, Timestamp::new(360_000, Timescale::VIDEO), Duration::from_secs(4));
        assert_eq!((meter.peak(), meter.mean()), (BitsPerSecond(1_000_000), BitsPerSecond(600_000)));
        meter.add(600_000, Timestamp::new(360_000, Timescale::VIDEO), Duration::from_secs(4));
        assert_eq!(meter.peak(), BitsPerSecond(1_200_000));
    }
}
