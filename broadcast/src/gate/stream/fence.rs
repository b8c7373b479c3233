//! The fence of an ingest that is about to open an epoch: what it is told of the log stays true until it has. Pure.

use std::time::Duration;

use super::super::Shared;
use super::super::limits::FENCE_MAX;
use super::Stream;

impl Stream {
    /// From now on nothing extends the log: until an epoch opens, or [`FENCE_MAX`] is over and its asker is taken for gone. Seals and bytes
    /// are taken as always, and wait.
    pub(in crate::gate) fn fence(&mut self, shared: &Shared) {
        self.fenced_until = Some(shared.now.elapsed + FENCE_MAX);
    }

    /// An epoch has opened, on what it found.
    pub(super) fn lift_fence(&mut self) {
        self.fenced_until = None;
    }

    /// Whether the next seal would be admitted now.
    pub(super) fn may_admit(&self, now: Duration) -> bool {
        self.is_complete() && self.fenced_until.is_none_or(|until| until <= now)
    }

    /// When a seal that only the fence holds back is admitted.
    pub(super) fn fence_deadline(&self) -> Option<Duration> {
        self.fenced_until.filter(|_| self.is_complete())
    }

    /// The next seal has its bytes.
    fn is_complete(&self) -> bool {
        self.pending.front().is_some_and(|pending| pending.missing == 0)
    }
}
