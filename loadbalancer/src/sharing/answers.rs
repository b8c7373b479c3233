//! The table of answers that viewers share: which are being fetched, for how many viewers, and which are kept for a moment. Pure.
//!
//! Owns bounds and times. `K` says what is wanted, and of which node; `F` is the caller's handle of a fetch, and `A` an answer.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Bounds of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Answers that are fetched or kept at once.
    pub(super) entries: usize,
    /// Bytes of the answers that are kept.
    pub(super) bytes: usize,
    /// Viewers who wait at once.
    pub(super) waiting: usize,
}

/// Identity of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchId(u64);

/// What a viewer who asks is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<F, A> {
    /// The answer is there.
    Kept(A),
    /// Somebody asked before: wait for what this fetch brings. Who waits no longer has to [leave](Answers::leave).
    Wait(F),
    /// Nobody asked before: begin this fetch, and wait for it too.
    Fetch(F),
    /// Nothing is shared: there is no room, or answers of this kind are for one viewer.
    Alone,
}

/// What becomes of an answer that a fetch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing<A> {
    /// Later viewers get it too.
    Keep { answer: A, bytes: usize, until: Duration },
    /// Until then, each viewer asks by itself.
    Unshared { until: Duration },
    /// The next viewer asks anew.
    Forget,
}

/// Answers, by what is wanted.
#[derive(Debug)]
pub(super) struct Answers<K, F, A> {
    limits: Limits,
    entries: HashMap<K, Entry<F, A>>,
    /// When entries end, and which; fetches have no end.
    ends: BTreeMap<End, K>,
    last: u64,
    waiting: usize,
    bytes: usize,
}

/// The time when an entry ends, and a number that tells entries of the same time apart.
type End = (Duration, u64);

#[derive(Debug)]
enum Entry<F, A> {
    Fetching { id: FetchId, fetch: F, waiting: usize },
    Kept { answer: A, bytes: usize },
    Unshared,
}

impl<K: Clone + Eq + Hash, F: Clone, A: Clone> Answers<K, F, A> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: HashMap::new(), ends: BTreeMap::new(), last: 0, waiting: 0, bytes: 0 }
    }

    /// Viewers who wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// The answer, if it is there.
    pub(super) fn kept(&mut self, key: &K, now: Duration) -> Option<A> {
        self.expire(now);
        match self.entries.get(key) {
            Some(Entry::Kept { answer, .. }) => Some(answer.clone()),
            _ => None,
        }
    }

    /// A viewer asks. `fetch` makes the handle if this one is the first.
    pub(super) fn ask(&mut self, key: &K, now: Duration, fetch: impl FnOnce(FetchId) -> F) -> Reply<F, A> {
        self.expire(now);
        let may_wait = self.waiting < self.limits.waiting;
        let may_begin = may_wait && self.entries.len() < self.limits.entries;
        match self.entries.get_mut(key) {
            Some(Entry::Kept { answer, .. }) => Reply::Kept(answer.clone()),
            Some(Entry::Fetching { fetch, waiting, .. }) if may_wait => {
                *waiting += 1;
                self.waiting += 1;
                Reply::Wait(fetch.clone())
            }
            None if may_begin => {
                let id = FetchId(self.number());
                let fetch = fetch(id);
                self.waiting += 1;
                self.entries.insert(key.clone(), Entry::Fetching { id, fetch: fetch.clone(), waiting: 1 });
                Reply::Fetch(fetch)
            }
            Some(Entry::Unshared | Entry::Fetching { .. }) | None => Reply::Alone,
        }
    }

    /// A viewer waits no longer. Returns whether it was the last one, so that the fetch has to end.
    pub(super) fn leave(&mut self, key: &K, id: FetchId) -> bool {
        let Some(Entry::Fetching { id: current, waiting, .. }) = self.entries.get_mut(key) else { return false };
        if *current != id {
            return false;
        }
        *waiting -= 1;
        self.waiting -= 1;
        let is_last = *waiting == 0;
        if is_last {
            self.entries.remove(key);
        }
        is_last
    }

    /// A fetch has ended, and all who waited for it are told. The answer is kept if there is room and time left.
    pub(super) fn land(&mut self, key: &K, id: FetchId, landing: Landing<A>, now: Duration) {
        self.expire(now);
        match self.entries.get(key) {
            Some(Entry::Fetching { id: current, waiting, .. }) if *current == id => self.waiting -= waiting,
            _ => return,
        }
        self.entries.remove(key);
        match landing {
            Landing::Keep { answer, bytes, until } if until > now && self.bytes + bytes <= self.limits.bytes => {
                self.bytes += bytes;
                self.ends_at(until, key);
                self.entries.insert(key.clone(), Entry::Kept { answer, bytes });
            }
            Landing::Unshared { until } if until > now => {
                self.ends_at(until, key);
                self.entries.insert(key.clone(), Entry::Unshared);
            }
            Landing::Keep { .. } | Landing::Unshared { .. } | Landing::Forget => {}
        }
    }

    fn ends_at(&mut self, until: Duration, key: &K) {
        let end = (until, self.number());
        self.ends.insert(end, key.clone());
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Forgets what has ended. Bytes of the last answers stay until the next call.
    fn expire(&mut self, now: Duration) {
        while let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) {
            if let Some(Entry::Kept { bytes, .. }) = self.entries.remove(&first.remove()) {
                self.bytes -= bytes;
            }
        }
    }

    /// Panics when the table contradicts itself. For tests.
    #[cfg(test)]
    fn check_invariants(&self) {
        let (mut waiting, mut bytes, mut ending) = (0, 0, 0);
        for (key, entry) in &self.entries {
            match entry {
                Entry::Fetching { waiting: these, .. } => {
                    assert!(*these > 0, "nobody waits for a fetch");
                    waiting += these;
                }
                Entry::Kept { .. } | Entry::Unshared => {
                    let ends = self.ends.values().filter(|ending| *ending == key).count();
                    assert_eq!(ends, 1, "an entry has one end");
                    ending += 1;
                }
            }
            if let Entry::Kept { bytes: these, .. } = entry {
                bytes += these;
            }
        }
        assert_eq!((waiting, bytes, ending), (self.waiting, self.bytes, self.ends.len()));
        assert!(self.entries.len() <= self.limits.entries, "more entries than allowed");
        assert!(bytes <= self.limits.bytes && waiting <= self.limits.waiting, "more bytes or viewers than allowed");
    }
}

#[cfg(test)]
mod tests;
