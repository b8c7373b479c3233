//! Thins log lines that strangers can cause again and again: the first of a kind is logged at once, the others as one count. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long after the first of a kind the others are only counted.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Decides which lines to write. Use few kinds: each takes memory for [`INTERVAL`].
#[derive(Debug)]
pub struct Sparse<K> {
    kinds: BTreeMap<K, Counted>,
}

#[derive(Debug)]
struct Counted {
    since: Duration,
    unsaid: u64,
}

impl<K> Default for Sparse<K> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<K: Ord> Sparse<K> {
    /// True for the first of its kind in an [`INTERVAL`], which the caller logs. The others are counted.
    pub fn is_first(&mut self, kind: K, now: Duration) -> bool {
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.unsaid = counted.unsaid.saturating_add(1);
            return false;
        }
        self.kinds.insert(kind, Counted { since: now, unsaid: 0 });
        true
    }

    /// Forgets the kinds whose [`INTERVAL`] is over, and returns those with unlogged lines and their count. The next line of each is a
    /// first again.
    pub fn over(&mut self, now: Duration) -> impl Iterator<Item = (K, u64)> + use<K> {
        let over = self.kinds.extract_if(.., |_, counted| now.saturating_sub(counted.since) >= INTERVAL);
        let over: Vec<_> = over.filter(|(_, counted)| counted.unsaid > 0).collect();
        over.into_iter().map(|(kind, counted)| (kind, counted.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_a_kind_is_said_at_once_and_the_others_are_counted() {
        let mut sparse = Sparse::default();
        let now = Duration::from_secs(7);
        assert!(sparse.is_first("a", now));
        assert!(sparse.is_first("b", now));
        for second in 1..60 {
            assert!(!sparse.is_first("a", now + Duration::from_secs(second)));
        }
        assert_eq!(sparse.over(now + INTERVAL - Duration::from_millis(1)).count(), 0);
        assert_eq!(sparse.over(now + INTERVAL).collect::<Vec<_>>(), [("a", 59)], "of b there was one only");
        assert!(sparse.kinds.is_empty(), "{sparse:?}");
        assert!(sparse.is_first("a", now + INTERVAL), "a minute later it is news again");
    }
}
