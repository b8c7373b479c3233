//! When an issuer's keys are fetched. Pure: `apply` takes inputs with `now`, and says what to do.
//!
//! - One fetch at a time, whoever needs it.
//! - A token whose key is not there, or whose signature is wrong, causes a fetch at most every [`Bounds::interval_min`], however many come.
//!   It waits for the first fetch that ends after it came, and is decided then.
//! - Good keys are fetched again every [`Bounds::refresh`], whether tokens come or not. `Cache-Control` does not count: some issuers send
//!   `no-cache`.
//! - While fetches fail, the last good keys count for [`Bounds::stale_max`], and tries grow apart.

use std::time::Duration;

use media::{Now, UnixMillis};

/// Times of the cache of keys.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Shortest time between two fetches, unless an operator asks. Default: 5 s.
    pub interval_min: Duration,
    /// Age at which good keys are fetched again. Default: 10 min, as Supabase's edge has it: a key that its issuer takes away is gone here
    /// after that.
    pub refresh: Duration,
    /// Age up to which keys count while the issuer does not answer. Default: 6 h.
    pub stale_max: Duration,
    /// Longest time between two tries while fetches fail. Default: 2 min.
    pub retry_max: Duration,
    /// Longest time of one fetch. Default: 5 s.
    pub fetch_time: Duration,
    /// Longest wait of a token for keys. Default: 8 s, which is less than a publisher may take to connect.
    pub wait_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(5),
            refresh: Duration::from_secs(600),
            stale_max: Duration::from_secs(6 * 3_600),
            retry_max: Duration::from_secs(120),
            fetch_time: Duration::from_secs(5),
            wait_max: Duration::from_secs(8),
        }
    }
}

/// What happens to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A token's key is not there. `since` is [`Freshness::ended`] when the token came.
    Needed { since: u64 },
    /// An operator wants the keys fetched now.
    Refresh,
    /// Time has passed.
    Tick,
    /// The fetch brought keys.
    Fetched,
    /// The fetch failed.
    Failed,
}

/// What to do then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Nothing,
    /// Begin a fetch, and say how it ended.
    Fetch,
    /// Wait for the end of the fetch that is under way.
    Wait,
    /// Wait until this time, and ask again.
    WaitUntil(Duration),
    /// A fetch has ended since the token came: what the keys say now counts.
    Settled,
}

/// The state of one issuer's keys.
#[derive(Debug)]
pub(crate) struct Freshness {
    bounds: Bounds,
    /// When the fetch began that brought the keys.
    good_at: Option<Duration>,
    /// When the newest fetch began.
    begun_at: Option<Duration>,
    is_fetching: bool,
    /// An operator asked while a fetch was under way, which may have missed the change.
    is_wanted_again: bool,
    failures_in_a_row: u32,
    /// Wall clock at the first of them.
    stale_since_at: Option<UnixMillis>,
    ended: u64,
}

impl Freshness {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            good_at: None,
            begun_at: None,
            is_fetching: false,
            is_wanted_again: false,
            failures_in_a_row: 0,
            stale_since_at: None,
            ended: 0,
        }
    }

    /// Fetches that have ended.
    pub(crate) const fn ended(&self) -> u64 {
        self.ended
    }

    /// Since when fetches have failed; `None` when the newest one brought keys.
    pub(crate) const fn stale_since_at(&self) -> Option<UnixMillis> {
        self.stale_since_at
    }

    /// Age of the keys; `None` when there are none.
    pub(crate) fn age(&self, elapsed: Duration) -> Option<Duration> {
        self.good_at.map(|at| elapsed.saturating_sub(at))
    }

    /// Whether the keys may still be used.
    pub(crate) fn counts(&self, elapsed: Duration) -> bool {
        self.age(elapsed).is_some_and(|age| age < self.bounds.stale_max)
    }

    pub(crate) fn apply(&mut self, input: Input, now: Now) -> Output {
        match input {
            Input::Needed { since } if self.ended > since => Output::Settled,
            Input::Needed { .. } if self.is_fetching => Output::Wait,
            Input::Needed { .. } => match self.begun_at.map(|at| at.saturating_add(self.bounds.interval_min)) {
                Some(earliest) if earliest > now.elapsed => Output::WaitUntil(earliest),
                _ => self.begin(now),
            },
            Input::Refresh if self.is_fetching => {
                self.is_wanted_again = true;
                Output::Wait
            }
            Input::Refresh => self.begin(now),
            Input::Tick => match self.next_deadline() {
                Some(due) if due <= now.elapsed => self.begin(now),
                _ => Output::Nothing,
            },
            Input::Fetched => {
                self.good_at = self.begun_at;
                self.failures_in_a_row = 0;
                self.stale_since_at = None;
                self.end(now)
            }
            Input::Failed => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.stale_since_at.get_or_insert(now.wall);
                self.end(now)
            }
        }
    }

    const fn begin(&mut self, now: Now) -> Output {
        self.begun_at = Some(now.elapsed);
        self.is_fetching = true;
        Output::Fetch
    }

    fn end(&mut self, now: Now) -> Output {
        self.is_fetching = false;
        self.ended = self.ended.saturating_add(1);
        if std::mem::take(&mut self.is_wanted_again) { self.begin(now) } else { Output::Nothing }
    }

    /// When time alone causes a fetch; `None` while one is under way.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if self.is_fetching {
            return None;
        }
        let Some(begun_at) = self.begun_at else { return Some(Duration::ZERO) };
        if self.failures_in_a_row == 0 {
            return Some(begun_at.saturating_add(self.bounds.refresh));
        }
        let doublings = self.failures_in_a_row.saturating_sub(1).min(16);
        let pause = self.bounds.interval_min.saturating_mul(1 << doublings).min(self.bounds.retry_max);
        Some(begun_at.saturating_add(pause))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(elapsed_s: u64) -> Now {
        let wall = UnixMillis(1_700_000_000_000 + i64::try_from(elapsed_s).unwrap() * 1_000);
        Now { elapsed: Duration::from_secs(elapsed_s), wall }
    }

    fn cold() -> Freshness {
        Freshness::new(Bounds::default())
    }

    fn warm() -> Freshness {
        let mut it = cold();
        assert_eq!(it.apply(Input::Tick, at(0)), Output::Fetch);
        assert_eq!(it.apply(Input::Fetched, at(1)), Output::Nothing);
        it
    }

    /// Case B6.
    #[test]
    fn cold_start_fetches_once_however_many_wait() {
        let mut it = cold();
        assert_eq!(it.apply(Input::Needed { since: 0 }, at(0)), Output::Fetch);
        for _ in 0..1_000 {
            assert_eq!(it.apply(Input::Needed { since: 0 }, at(0)), Output::Wait);
        }
        it.apply(Input::Fetched, at(1));
        assert_eq!(it.apply(Input::Needed { since: 0 }, at(1)), Output::Settled);
    }

    /// Case B4.
    #[test]
    fn new_key_costs_one_fetch_and_a_flood_one_per_interval() {
        let mut it = warm();
        let since = it.ended();
        assert_eq!(it.apply(Input::Needed { since }, at(60)), Output::Fetch, "the keys are old enough");
        assert_eq!(it.apply(Input::Needed { since }, at(61)), Output::Wait);
        it.apply(Input::Fetched, at(61));
        let since = it.ended();
        assert_eq!(it.apply(Input::Needed { since }, at(62)), Output::WaitUntil(Duration::from_secs(65)));
        assert_eq!(it.apply(Input::Needed { since }, at(65)), Output::Fetch);
    }

    /// Case B7.
    #[test]
    fn keys_outlive_an_hour_without_the_issuer_and_not_a_day() {
        let mut it = warm();
        let (mut tries, mut now_s) = (0, 600);
        assert_eq!(it.apply(Input::Tick, at(599)), Output::Nothing);
        while now_s < 4_200 {
            if it.apply(Input::Tick, at(now_s)) == Output::Fetch {
                tries += 1;
                it.apply(Input::Failed, at(now_s));
            }
            now_s += 1;
        }
        assert!((20..=40).contains(&tries), "{tries}: tries grow apart to two minutes");
        assert!(it.counts(Duration::from_secs(4_200)) && !it.counts(Duration::from_secs(6 * 3_600)));
        assert_eq!(it.stale_since_at(), Some(at(600).wall));
        assert_eq!(it.apply(Input::Refresh, at(4_200)), Output::Fetch);
        it.apply(Input::Fetched, at(4_201));
        assert_eq!((it.stale_since_at(), it.next_deadline()), (None, Some(Duration::from_secs(4_800))));
    }

    /// Case B8.
    #[test]
    fn operators_refresh_waits_for_no_interval_and_follows_a_fetch_under_way() {
        let mut it = warm();
        assert_eq!(it.apply(Input::Refresh, at(1)), Output::Fetch);
        assert_eq!(it.apply(Input::Refresh, at(1)), Output::Wait, "the key may have been taken away after it was read");
        assert_eq!(it.apply(Input::Fetched, at(2)), Output::Fetch);
        assert_eq!(it.apply(Input::Fetched, at(3)), Output::Nothing);
    }

    proptest! {
        /// Whatever happens: never two fetches at once, and without operators never two within the interval.
        #[test]
        fn fetches_never_overlap_nor_follow_each_other_too_soon(steps in prop::collection::vec((0_u64..4, 0_u8..5), 1..300)) {
            let mut it = cold();
            let (mut now_s, mut last, mut fetching) = (0, None::<u64>, false);
            for (wait_s, what) in steps {
                now_s += wait_s;
                let input = match what {
                    0 | 1 => Input::Needed { since: it.ended() },
                    2 => Input::Tick,
                    3 if fetching => Input::Fetched,
                    4 if fetching => Input::Failed,
                    _ => continue,
                };
                fetching &= !matches!(input, Input::Fetched | Input::Failed);
                if it.apply(input, at(now_s)) == Output::Fetch {
                    prop_assert!(!fetching, "two fetches at once");
                    prop_assert!(last.is_none_or(|last| now_s - last >= 5), "{:?} then {}", last, now_s);
                    (fetching, last) = (true, Some(now_s));
                }
                prop_assert_eq!(it.is_fetching, fetching);
                prop_assert_eq!(it.next_deadline().is_none(), fetching);
            }
        }
    }
}
