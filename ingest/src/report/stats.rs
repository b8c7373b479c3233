//! Figures of one stream, for `/status` and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use cluster::replicas::Placed;
use media::{Epoch, LogSequence, RenditionId, StreamId, Track, UnixMillis};
use messages::InputReport;
use serde_json::json;
use tokio::sync::watch;

use crate::intake::figures::{Figures, PublisherFigures};
use crate::intake::lifecycle::Lifecycle;
use crate::pipeline::BreakReason;
use crate::standby::turn::Duty;

/// The streams of this ingest, as `/status` shows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusBoard(Arc<Mutex<BTreeMap<StreamId, Weak<StreamStats>>>>);

/// Takes a stream off the board when it is dropped.
pub(crate) struct Listed {
    board: StatusBoard,
    stream: StreamId,
    stats: Weak<StreamStats>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        // The next task of the same stream may have taken the place already.
        if board.get(&self.stream).is_some_and(|listed| listed.ptr_eq(&self.stats)) {
            board.remove(&self.stream);
        }
    }
}

impl StatusBoard {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Weak<StreamStats>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a stream until the [`Listed`] is dropped.
    pub(crate) fn list(&self, stream: &StreamId, stats: &Arc<StreamStats>) -> Listed {
        let stats = Arc::downgrade(stats);
        self.lock().insert(stream.clone(), stats.clone());
        Listed { board: self.clone(), stream: stream.clone(), stats }
    }

    /// All streams, as `/status` shows them.
    pub(crate) fn json(&self) -> serde_json::Value {
        let board = self.lock();
        let streams: BTreeMap<_, _> =
            board.iter().filter_map(|(stream, stats)| Some((stream.to_string(), stats.upgrade()?.json()))).collect();
        json!({ "streams": streams })
    }
}

/// Figures of one stream. Shared by its tasks and `/status`.
#[derive(Debug)]
pub(crate) struct StreamStats {
    started_at: UnixMillis,
    figures: Arc<Figures>,
    lifecycle: watch::Receiver<Lifecycle>,
    inner: Mutex<Inner>,
    /// The owners of the stream.
    placed: OnceLock<watch::Receiver<Placed>>,
    duty: OnceLock<watch::Receiver<Duty>>,
}

#[derive(Debug, Default)]
struct Inner {
    session: SessionFigures,
    /// The newest report on the publisher.
    report: Option<InputReport>,
    epoch: Option<Epoch>,
    sequence: Option<LogSequence>,
    acknowledged: Option<LogSequence>,
    ring_bytes: usize,
    seal_lag: Duration,
    rungs: BTreeMap<RenditionId, Rung>,
}

/// What became of the newest publisher's media.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionFigures {
    /// The slate is shown in the publisher's place.
    pub(super) slate: bool,
    /// Why its video is no longer passed through.
    pub(super) pass_through_ended: Option<BreakReason>,
    /// Samples that the segmenter refused because of their times.
    pub(super) samples_refused: u64,
    /// The rungs that are shed in the current epoch.
    pub(super) shed: Vec<String>,
}

#[derive(Debug)]
struct Rung {
    track: Track,
    shed: Option<String>,
}

impl StreamStats {
    pub(crate) fn new(started_at: UnixMillis, figures: Arc<Figures>, lifecycle: watch::Receiver<Lifecycle>) -> Self {
        let (inner, placed, duty) = Default::default();
        Self { started_at, figures, lifecycle, inner, placed, duty }
    }

    /// Has `/status` show the owners of the stream.
    pub(crate) fn follow(&self, placed: watch::Receiver<Placed>) {
        // Set once, because each stream has one pusher.
        _ = self.placed.set(placed);
    }

    /// Has `/status` show this ingest's duty.
    pub(crate) fn follow_duty(&self, duty: watch::Receiver<Duty>) {
        // Set once, because each stream has one driver.
        _ = self.duty.set(duty);
    }

    /// Active before [`Self::follow_duty`].
    pub(super) fn duty(&self) -> Duty {
        self.duty.get().map_or(Duty::Active, |duty| *duty.borrow())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the stream went live; survives reconnects.
    pub(crate) const fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// Publishers that were admitted after the first.
    pub(super) fn reconnects(&self) -> u64 {
        self.lifecycle.borrow().reconnects()
    }

    /// A publisher begins: nothing has become of its media yet.
    pub(crate) fn new_publisher(&self) {
        self.with(|inner| inner.session = SessionFigures::default());
    }

    /// A run of its pipeline broke. Notes whether that ends pass-through, or allows it again.
    pub(crate) fn broke(&self, reason: &BreakReason) {
        self.with(|Inner { session, .. }| match reason {
            BreakReason::Paused(_) | BreakReason::KeyframesIrregular(_) | BreakReason::Unsegmentable => {
                session.pass_through_ended = Some(reason.clone());
            }
            // A new source is judged anew, but irregular keyframes rule out pass-through until the publisher reconnects.
            BreakReason::VideoFormat => {
                session.pass_through_ended.take_if(|ended| !matches!(ended, BreakReason::KeyframesIrregular(_)));
            }
            _ => {}
        });
    }

    /// Why the newest publisher's video is no longer passed through.
    pub(crate) fn pass_through_ended(&self) -> Option<BreakReason> {
        self.with(|inner| inner.session.pass_through_ended.clone())
    }

    /// Figures of the newest publisher, and what became of its media.
    pub(super) fn publisher(&self) -> (PublisherFigures, SessionFigures) {
        let session = self.with(|inner| {
            let shed = inner.rungs.iter().filter(|(_, rung)| rung.shed.is_some()).map(|(name, _)| name.to_string());
            SessionFigures { shed: shed.collect(), ..inner.session.clone() }
        });
        (self.figures.now(), session)
    }

    /// Keeps the newest report on the publisher.
    pub(super) fn reported(&self, report: InputReport) {
        self.with(|inner| inner.report = Some(report));
    }

    /// An epoch begins with these renditions.
    pub(crate) fn epoch(&self, epoch: Epoch, tracks: &[Track]) {
        self.with(|inner| {
            inner.epoch = Some(epoch);
            inner.rungs = tracks
                .iter()
                .map(|track| (track.rendition.clone(), Rung { track: track.clone(), shed: None }))
                .collect();
        });
    }

    /// A row was sealed, `lag` after its last picture was due.
    pub(crate) fn sealed(&self, sequence: LogSequence, tracks: &[Track], ring_bytes: usize, lag: Duration) {
        metrics::histogram!("ingest_seal_lag_seconds").record(lag.as_secs_f64());
        self.with(|inner| {
            (inner.sequence, inner.ring_bytes, inner.seal_lag) = (Some(sequence), ring_bytes, lag);
            for track in tracks {
                if let Some(rung) = inner.rungs.get_mut(&track.rendition) {
                    rung.track = track.clone();
                }
            }
        });
    }

    /// Newest seal whose bytes a node has.
    pub(crate) fn acknowledged(&self, sequence: LogSequence) {
        self.with(|inner| inner.acknowledged = Some(sequence));
    }

    /// Counts a sample that the segmenter refused because of its times.
    pub(crate) fn sample_refused(&self) {
        self.with(|Inner { session, .. }| session.samples_refused = session.samples_refused.saturating_add(1));
    }

    /// Whether the slate is shown.
    pub(crate) fn slate(&self, shown: bool) {
        self.with(|inner| inner.session.slate = shown);
    }

    pub(crate) fn shed(&self, rendition: &RenditionId, reason: &str) {
        self.with(|inner| {
            if let Some(rung) = inner.rungs.get_mut(rendition) {
                rung.shed = Some(reason.to_owned());
            }
        });
    }

    /// A rung that was shed is restored.
    pub(crate) fn restored(&self, rendition: &RenditionId) {
        self.with(|inner| {
            if let Some(rung) = inner.rungs.get_mut(rendition) {
                rung.shed = None;
            }
        });
    }

    /// The renditions of the epoch, without those that are shed.
    pub(crate) fn ladder(&self) -> Vec<Track> {
        self.with(|inner| {
            inner.rungs.values().filter(|rung| rung.shed.is_none()).map(|rung| rung.track.clone()).collect()
        })
    }

    /// As `/status` shows it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let placed = self.placed.get().map(|placed| placed.borrow().clone()).unwrap_or_default();
        let lifecycle = self.lifecycle.borrow().clone();
        let PublisherFigures { input, pipeline, .. } = self.figures.now();
        self.with(|inner| {
            let rungs: Vec<_> =
                inner.rungs.values().map(|rung| json!({ "track": rung.track, "shed": rung.shed })).collect();
            json!({
                "state": lifecycle.state(),
                "duty": self.duty().name(),
                "reconnects": lifecycle.reconnects(),
                "started_at": self.started_at,
                "epoch": inner.epoch,
                "sequence": inner.sequence,
                "acknowledged": inner.acknowledged,
                "ring_bytes": inner.ring_bytes,
                "seal_lag_ms": u64::try_from(inner.seal_lag.as_millis()).unwrap_or(u64::MAX),
                "input": inner.report,
                "counters": {
                    "video_frames": input.video_frames,
                    "audio_frames": input.audio_frames,
                    "video_bytes": input.video_bytes,
                    "audio_bytes": input.audio_bytes,
                    "frames_early": input.dropped,
                    "clock_breaks": input.breaks,
                    "frames_decoded": pipeline.frames_decoded,
                    "frames_skipped": pipeline.frames_skipped,
                    "frames_concealed": pipeline.frames_concealed,
                    "packets_refused": pipeline.packets_refused,
                    "samples_refused": inner.session.samples_refused,
                    "rungs_shed": pipeline.rungs_shed,
                },
                "rungs": rungs,
                "slate": inner.session.slate,
                "owners": placed.receivers,
                "replicas": { "holding": placed.holding, "wanted": placed.wanted, "degraded": placed.is_degraded },
            })
        })
    }
}
