//! The fence of an ingest that is about to open an epoch: until it has, the head that it was told stays the newest admitted seal. Pure.

use std::time::Duration;

use media::Epoch;

use super::super::GateContext;
use super::super::limits::FENCE_MAX;
use super::Stream;

/// Holds admission back.
#[derive(Debug)]
pub(super) struct Fence {
    /// Newest epoch when the fence was asked for. `None` when there was none: then the first seal lifts the fence.
    epoch: Option<Epoch>,
    until: Duration,
}

impl Stream {
    /// From now on no seal is admitted, until a newer epoch opens, or until [`FENCE_MAX`] is over and the asker counts as gone.
    /// Seals and bytes are still taken, and wait.
    pub(crate) fn fence(&mut self, shared: &GateContext) {
        let epoch = self.chain.head().map(|head| head.epoch);
        self.fence = Some(Fence { epoch, until: shared.now.elapsed + FENCE_MAX });
    }

    /// A seal of `epoch` is queued. If that is newer than the fence, it builds on what the asker was told: the fence is lifted.
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
