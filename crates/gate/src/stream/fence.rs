//! The fence of an ingest that is about to open an epoch: until it has, the head that it was told stays the newest admitted seal. Pure.

use std::time::Duration;

use media::Epoch;

use crate::limits::FENCE_MAX;

/// Holds admission back. Seals and bytes are still taken, and wait.
#[derive(Debug)]
pub(super) struct Fence {
    /// Newest epoch when the fence was asked for. `None` when there was none: then the first seal lifts the fence.
    epoch: Option<Epoch>,
    until: Duration,
}

impl Fence {
    /// A fence that stands until an epoch after `epoch` opens, or until [`FENCE_MAX`] is over and the asker counts as gone.
    pub(super) fn new(epoch: Option<Epoch>, now: Duration) -> Self {
        Self { epoch, until: now + FENCE_MAX }
    }

    /// Whether a seal of `epoch` builds on what the asker was told.
    pub(super) fn is_lifted_by(&self, epoch: Epoch) -> bool {
        self.epoch < Some(epoch)
    }

    pub(super) const fn until(&self) -> Duration {
        self.until
    }
}
