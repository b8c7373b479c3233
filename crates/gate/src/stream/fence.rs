//! The fence of an ingest that is about to open an epoch: what it is told of the log stays true until it has. Pure.

use std::time::Duration;

use media::Epoch;

use super::super::Shared;
use super::super::limits::FENCE_MAX;
use super::Stream;

/// Nothing extends this epoch.
#[derive(Debug)]
pub(super) struct Fence {
    /// The newest when it was asked for; `None` when there was none, and nothing is held back.
    epoch: Option<Epoch>,
    until: Duration,
}

impl Stream {
    /// From now on nothing extends the log: until an epoch opens, or [`FENCE_MAX`] is over and its asker is taken for gone. Seals and bytes
    /// are taken as always, and wait.
    pub(crate) fn fence(&mut self, shared: &Shared) {
        let epoch = self.chain.head().map(|head| head.epoch);
        self.fence = Some(Fence { epoch, until: shared.now.elapsed + FENCE_MAX });
    }

    /// A seal of this epoch lines up: one that is newer than the fence has opened on what was found.
    pub(super) fn lift_fence(&mut self, epoch: Epoch) {
        self.fence.take_if(|fence| fence.epoch < Some(epoch));
    }

    /// Whether the next seal would be admitted now.
    pub(super) fn may_admit(&self, now: Duration) -> bool {
        self.is_complete() && self.fence.as_ref().is_none_or(|fence| fence.until <= now)
    }

    /// When a seal that only the fence holds back is admitted.
    pub(super) fn fence_deadline(&self) -> Option<Duration> {
        self.fence.as_ref().filter(|_| self.is_complete()).map(|fence| fence.until)
    }

    /// The next seal has its bytes.
    fn is_complete(&self) -> bool {
        self.pending.front().is_some_and(|pending| pending.missing == 0)
    }
}
