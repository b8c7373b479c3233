//! What the input, the feed thread and the encoder threads share: counters, requests, and how far the input has come.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use media::{RenditionId, Timescale};

use super::{Counters, Input};

/// Requests to shed that may wait: there are never more rungs.
const SHED_REQUESTS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct PipelineState {
    newest_dts: AtomicI64,
    aborted: AtomicBool,
    shed_requests: Mutex<Vec<RenditionId>>,
    pub(super) frames_decoded: AtomicU64,
    pub(super) packets_refused: AtomicU64,
    pub(super) frames_concealed: AtomicU64,
    pub(super) frames_skipped: AtomicU64,
    pub(super) rungs_shed: AtomicU64,
    passes_through: AtomicBool,
    /// Runs that have begun.
    runs: AtomicU64,
    /// The run that has to end; 0 when there is none.
    given_up: AtomicU64,
}

impl PipelineState {
    /// Remembers how far the input has come, before it is queued, so that a full queue counts as lag too.
    pub(super) fn note(&self, input: &Input) {
        if let Input::Video(packet) = input {
            self.newest_dts.store(packet.dts.rescale(Timescale::VIDEO).ticks, Ordering::Relaxed);
        }
    }

    /// Decode time of the newest picture handed in, in 90 kHz ticks.
    pub(super) fn newest_dts(&self) -> i64 {
        self.newest_dts.load(Ordering::Relaxed)
    }

    pub(super) fn request_shed(&self, rendition: &RenditionId) {
        let mut requests = self.shed_requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if requests.len() < SHED_REQUESTS_MAX && !requests.contains(rendition) {
            requests.push(rendition.clone());
        }
    }

    pub(super) fn take_shed_requests(&self) -> Vec<RenditionId> {
        std::mem::take(&mut *self.shed_requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Nobody reads the output any more: all threads end without draining.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    pub(super) fn aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// A run begins; `passes_through` says whether the source itself is one of its renditions.
    pub(super) fn begins(&self, passes_through: bool) {
        self.passes_through.store(passes_through, Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn give_up(&self, run: u64) {
        self.given_up.store(run, Ordering::Relaxed);
    }

    /// Whether the current run has to end; `true` only once.
    pub(super) fn take_given_up(&self) -> bool {
        let run = self.given_up.swap(0, Ordering::Relaxed);
        run > 0 && run == self.runs.load(Ordering::Relaxed)
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            frames_decoded: self.frames_decoded.load(Ordering::Relaxed),
            packets_refused: self.packets_refused.load(Ordering::Relaxed),
            frames_concealed: self.frames_concealed.load(Ordering::Relaxed),
            frames_skipped: self.frames_skipped.load(Ordering::Relaxed),
            rungs_shed: self.rungs_shed.load(Ordering::Relaxed),
            passes_through: self.passes_through.load(Ordering::Relaxed),
        }
    }
}

/// Adds one to a counter.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
