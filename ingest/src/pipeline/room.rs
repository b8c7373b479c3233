//! The rule for when a rung that was shed comes back, in media time. Pure.

use media::{Timescale, Timestamp};

use super::lag::LAG_SETTLED_MS;

/// How long there has to be room before a rung comes back.
const ROOM_MS: i64 = 30_000;

/// The same at most, for a rung that was shed again and again.
const ROOM_MAX_MS: i64 = 8 * 60_000;

/// A rung that is shed again sooner than this after it came back waits twice as long.
const STAYED_MS: i64 = 2 * 60_000;

/// Watches whether there is room for a rung that was shed.
#[derive(Debug)]
pub(super) struct RoomWatch {
    /// Since when there has been room.
    since: Option<i64>,
    /// How long that has to last.
    wanted_ms: i64,
    /// When a rung came back that has not been shed since.
    came_back: Option<i64>,
}

impl Default for RoomWatch {
    fn default() -> Self {
        Self { since: None, wanted_ms: ROOM_MS, came_back: None }
    }
}

impl RoomWatch {
    /// Whether a rung may come back. `at` is the time of the picture in work, `newest` that of the newest input; `is_busy` when pictures
    /// wait for an encoder.
    pub(super) fn observe(&mut self, at: Timestamp, newest: Timestamp, is_busy: bool) -> bool {
        let at = millis(at);
        let has_room = !is_busy && millis(newest).saturating_sub(at) <= LAG_SETTLED_MS;
        let since = self.since.filter(|since| has_room && *since <= at);
        self.since = has_room.then(|| since.unwrap_or(at));
        self.since.is_some_and(|since| at.saturating_sub(since) >= self.wanted_ms)
    }

    /// A rung was shed while at `at`.
    pub(super) fn shed(&mut self, at: Timestamp) {
        let stayed_ms = self.came_back.take().map(|since| millis(at).saturating_sub(since));
        self.wanted_ms = match stayed_ms {
            Some(stayed_ms) if stayed_ms < STAYED_MS => self.wanted_ms.saturating_mul(2).min(ROOM_MAX_MS),
            Some(_) => ROOM_MS,
            None => self.wanted_ms,
        };
        self.since = None;
    }

    /// A rung came back while at `at`: the next one needs room of its own.
    pub(super) fn came_back(&mut self, at: Timestamp) {
        (self.since, self.came_back) = (None, Some(millis(at)));
    }
}

fn millis(at: Timestamp) -> i64 {
    at.rescale(Timescale::MILLIS).ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: i64) -> Timestamp {
        Timestamp::new(seconds * 1_000, Timescale::MILLIS)
    }

    /// The first second from `from` on at which a rung comes back while nothing is behind.
    fn comes_back(watch: &mut RoomWatch, from: i64) -> i64 {
        let second = (from..from + 3_600).find(|second| watch.observe(s(*second), s(*second), false)).unwrap();
        watch.came_back(s(second));
        second
    }

    #[test]
    fn rung_comes_back_after_room_for_thirty_seconds() {
        let mut watch = RoomWatch::default();
        watch.shed(s(5));
        assert_eq!(comes_back(&mut watch, 6), 36);
        assert_eq!(comes_back(&mut watch, 37), 67, "the next one needs room of its own");
    }

    #[test]
    fn no_room_is_counted_while_anything_is_behind() {
        let mut watch = RoomWatch::default();
        watch.shed(s(0));
        assert!(!(1..=29).any(|second| watch.observe(s(second), s(second + 1), false)));
        assert!(!watch.observe(s(30), s(32), false), "two seconds behind");
        assert!(!(31..=60).any(|second| watch.observe(s(second), s(second), false)));
        assert!(!watch.observe(s(61), s(61), true), "pictures wait for an encoder");
        assert_eq!(comes_back(&mut watch, 62), 92);
    }

    #[test]
    fn rung_that_is_shed_again_waits_longer_each_time_and_one_that_stayed_does_not() {
        let mut watch = RoomWatch::default();
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..6 {
            watch.shed(s(now));
            let back = comes_back(&mut watch, now);
            waits.push(back - now);
            now = back + 10;
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 480]);
        watch.shed(s(now + 600));
        assert_eq!(comes_back(&mut watch, now + 600), now + 630);
    }

    #[test]
    fn rungs_that_are_shed_together_wait_as_one() {
        let mut watch = RoomWatch::default();
        watch.shed(s(0));
        let back = comes_back(&mut watch, 0);
        watch.shed(s(back + 10));
        watch.shed(s(back + 12));
        assert_eq!(comes_back(&mut watch, back + 12), back + 72);
    }
}
