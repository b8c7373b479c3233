//! The clock: the only place that reads the machine's time.
//!
//! All other code is handed a [`Now`], or holds a [`Clock`] and asks it. Timers run on tokio's clock, so a test that pauses tokio's time
//! moves [`Clock::now`]'s monotonic reading along with it.

use std::time::{SystemTime, UNIX_EPOCH};

use media::{Now, UnixMillis};
use tokio::time::Instant;

/// A source of time. Clones agree with each other; each [`Clock::new`] counts monotonic time from its own start.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall_shift_ms: i64,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new() -> Self {
        Self { start: Instant::now(), wall_shift_ms: 0 }
    }

    /// The same clock with its wall time moved by `shift_ms` milliseconds (negative: into the past), for tests of expiry.
    #[must_use]
    pub const fn shifted(mut self, shift_ms: i64) -> Self {
        self.wall_shift_ms = self.wall_shift_ms.saturating_add(shift_ms);
        self
    }

    /// Both readings at once, as the pure cores take them.
    pub fn now(&self) -> Now {
        Now { elapsed: self.elapsed(), wall: self.wall() }
    }

    /// Monotonic time since this clock was made.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn elapsed(&self) -> std::time::Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// Wall clock. A machine whose clock stands before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn wall(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        UnixMillis(millis.saturating_add(self.wall_shift_ms))
    }

    /// The tokio instant of a monotonic reading of this clock, for `sleep_until`.
    pub fn instant(&self, elapsed: std::time::Duration) -> Instant {
        // An `Instant` cannot hold every deadline; a century is as good as never.
        const FAR: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
        self.start + elapsed.min(FAR)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn monotonic_time_never_goes_back_and_wall_time_shifts() {
        let clock = Clock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(second.elapsed >= first.elapsed);
        let late = clock.shifted(3_600_000).wall().since(clock.wall());
        assert!((3_599_000..=3_600_000).contains(&late.as_millis()), "{late:?}");
        assert_eq!(clock.instant(Duration::from_secs(5)) - clock.instant(Duration::ZERO), Duration::from_secs(5));
        assert!(clock.instant(Duration::MAX) > clock.instant(Duration::ZERO));
    }
}
