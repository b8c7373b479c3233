//! How old the newest word of control is. Pure.

use std::time::Duration;

use media::{Now, UnixMillis};

use crate::limits::{CRITICAL_AFTER, STALE_AFTER};

/// What a node may say of its replica. Media go on in every case, until a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Control spoke within [`STALE_AFTER`].
    Fresh,
    /// It did not: a broker or network may hold back what it says.
    Stale,
    /// It did not for [`CRITICAL_AFTER`].
    Critical,
}

/// When control was last heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastHeard {
    /// On the own clock; the start of the replica before the first head.
    at: Duration,
    /// What control's clock said; rises with each head that counts.
    said: Option<UnixMillis>,
}

impl LastHeard {
    pub(crate) const fn new(started: Duration) -> Self {
        Self { at: started, said: None }
    }

    /// A head that the replica has reached; returns whether it is news. An old one, played again, is none, because its time does
    /// not rise.
    pub(crate) fn hear(&mut self, said: UnixMillis, now: Now) -> bool {
        let is_news = self.said.is_none_or(|before| said > before);
        if is_news {
            self.said = Some(said);
            // A head that was held back for a minute is a minute old, however late it came.
            self.at = self.at.max(now.elapsed.saturating_sub(now.wall.since(said)));
        }
        is_news
    }

    pub(crate) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at)
    }

    pub(crate) fn freshness(&self, now: Duration) -> Freshness {
        match self.age(now) {
            age if age > CRITICAL_AFTER => Freshness::Critical,
            age if age > STALE_AFTER => Freshness::Stale,
            _ => Freshness::Fresh,
        }
    }

    /// When [`LastHeard::freshness`] changes by time alone.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let worse = [STALE_AFTER, CRITICAL_AFTER].map(|after| self.at + after + Duration::from_millis(1));
        worse.into_iter().find(|at| *at > now)
    }
}
