//! The rule for when a ladder is too slow, in media time. Pure.

use media::{Timescale, Timestamp};

/// Lag at which a rung is shed at once. A run starts up to 2.5 s behind, because its start was held back, and catches up from there.
pub(super) const LAG_MAX_MS: i64 = 4_000;

/// Lag that is normal: the depth of the queues and the decoder's reordering.
pub(super) const LAG_SETTLED_MS: i64 = 1_000;

/// How often, in media time, a lag above [`LAG_SETTLED_MS`] has to have shrunk.
pub(super) const CHECK_EVERY_MS: i64 = 5_000;

/// By how much it has to have shrunk.
pub(super) const PROGRESS_MIN_MS: i64 = 250;

/// Media time that the other rungs have to catch up after a shed, before the next one.
pub(super) const GRACE_MS: i64 = 2_000;

/// Watches how far the feed thread is behind the newest input.
#[derive(Debug, Default)]
pub(super) struct LagWatch {
    last_check: Option<(i64, i64)>,
    quiet_until: Option<i64>,
}

impl LagWatch {
    /// Whether a rung has to be shed, when the picture being worked on is at `at` and the newest that came in at `newest`.
    pub(super) fn observe(&mut self, at: Timestamp, newest: Timestamp) -> bool {
        let at = at.rescale(Timescale::MILLIS).ticks;
        let lag = newest.rescale(Timescale::MILLIS).ticks.saturating_sub(at);
        if self.quiet_until.is_some_and(|until| at < until) {
            return false;
        }
        let stagnant = match self.last_check {
            None => {
                self.last_check = Some((at, lag));
                false
            }
            Some((since, before)) if at.saturating_sub(since) >= CHECK_EVERY_MS => {
                self.last_check = Some((at, lag));
                lag > LAG_SETTLED_MS && lag > before.saturating_sub(PROGRESS_MIN_MS)
            }
            Some(_) => false,
        };
        stagnant || lag > LAG_MAX_MS
    }

    /// A rung was shed while at `at`: starts the grace.
    pub(super) fn shed(&mut self, at: Timestamp) {
        self.last_check = None;
        self.quiet_until = Some(at.rescale(Timescale::MILLIS).ticks.saturating_add(GRACE_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ticks: i64) -> Timestamp {
        Timestamp::new(ticks, Timescale::MILLIS)
    }

    #[test]
    fn catching_up_after_the_start_sheds_nothing() {
        let mut watch = LagWatch::default();
        for second in 0..60 {
            let lag = (2_500 - second * 100).max(100);
            assert!(!watch.observe(ms(second * 1_000), ms(second * 1_000 + lag)), "{second}");
        }
    }

    #[test]
    fn lag_that_does_not_shrink_sheds_though_it_is_small() {
        let mut watch = LagWatch::default();
        let shed = (0..20).find(|second| watch.observe(ms(second * 1_000), ms(second * 1_000 + 2_500)));
        assert_eq!(shed, Some(5));
    }

    #[test]
    fn growing_lag_sheds_at_the_bound_then_waits_for_the_grace() {
        let mut watch = LagWatch::default();
        assert!(!watch.observe(ms(0), ms(4_000)));
        assert!(watch.observe(ms(1_000), ms(5_001)));
        watch.shed(ms(1_000));
        assert!(!watch.observe(ms(2_900), ms(9_000)));
        assert!(watch.observe(ms(3_000), ms(9_000)));
    }
}
