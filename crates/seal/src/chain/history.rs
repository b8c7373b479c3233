//! The newest seals of a log, without holes. Pure.

use std::collections::VecDeque;

use media::{Digest, Epoch, LogSequence};

use crate::limits::HISTORY_MAX;
use crate::{Head, Sealed};

/// A place in the log that the chain remembers.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Seal(Sealed),
    /// The place after which a restarted node continues: only its head is known, not its seal.
    Resumed(Head),
}

impl Entry {
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Seal(sealed) => sealed.digest(),
            Self::Resumed(head) => head.digest,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        match self {
            Self::Seal(sealed) => sealed.body().epoch,
            Self::Resumed(head) => head.epoch,
        }
    }

    pub(super) fn sequence(&self) -> LogSequence {
        match self {
            Self::Seal(sealed) => sealed.body().sequence,
            Self::Resumed(head) => head.sequence,
        }
    }

    pub(super) fn head(&self) -> Head {
        match self {
            Self::Seal(sealed) => Head::of(sealed),
            Self::Resumed(head) => head.clone(),
        }
    }

    pub(super) fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Seal(sealed) => Some(sealed),
            Self::Resumed(_) => None,
        }
    }
}

/// The newest [`HISTORY_MAX`] entries, in log order without holes.
#[derive(Debug, Clone, Default)]
pub(super) struct History(VecDeque<Entry>);

impl History {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.0.len() >= HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    pub(super) fn oldest(&self) -> Option<LogSequence> {
        self.0.front().map(Entry::sequence)
    }

    pub(super) fn at(&self, sequence: LogSequence) -> Option<&Entry> {
        let index = sequence.0.checked_sub(self.oldest()?.0)?;
        self.0.get(usize::try_from(index).ok()?)
    }

    /// The oldest remembered entry of this epoch.
    pub(super) fn first_of(&self, epoch: Epoch) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.epoch() == epoch)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.0.iter()
    }

    /// Removes and returns the entries after this sequence.
    pub(super) fn truncate_after(&mut self, sequence: LogSequence) -> Vec<Entry> {
        let kept = self.0.iter().take_while(|entry| entry.sequence() <= sequence).count();
        self.0.split_off(kept).into()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.0.len() <= HISTORY_MAX, "bounded");
        for (before, after) in self.0.iter().zip(self.0.iter().skip(1)) {
            assert_eq!(before.sequence().next(), after.sequence(), "no holes");
            assert!(before.epoch() <= after.epoch(), "epochs do not go back");
            let after = after.sealed().expect("only the first is resumed");
            assert_eq!(before.head().admits(after.body()), Ok(()), "each fits the one before");
        }
    }
}
