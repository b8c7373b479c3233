//! What strangers can have logged again and again, said as often as helps: the first of a kind at once, the others as one number.
//! Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// For so long after the first of a kind the others are counted.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Which lines to write. There have to be few kinds: each is remembered for [`INTERVAL`].
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
    /// Whether this one is to be said: the first of its kind, for a while. The others are counted.
    pub fn is_first(&mut self, kind: K, now: Duration) -> bool {
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.unsaid = counted.unsaid.saturating_add(1);
            return false;
        }
        self.kinds.insert(kind, Counted { since: now, unsaid: 0 });
        true
    }

    /// Kinds whose time is over, and how many of them were not said, where there were any. The next one of each is a first one again.
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
