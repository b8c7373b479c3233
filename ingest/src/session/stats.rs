//! Figures of one stream, for `/status` and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cluster::replicas::Placed;
use media::{Epoch, LogSequence, RenditionId, Track, UnixMillis};
use serde_json::json;
use tokio::sync::watch;

use super::input::InputCounters;
use super::turn::Duty;
use crate::pipeline::Counters;

/// Rates are means over at least this long.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Figures of one stream. Shared by its tasks and `/status`.
#[derive(Debug)]
pub(crate) struct StreamStats {
    started_at: UnixMillis,
    inner: Mutex<Inner>,
    /// Who owns the stream.
    placed: OnceLock<watch::Receiver<Placed>>,
    /// Whether this ingest seals it.
    duty: OnceLock<watch::Receiver<Duty>>,
}

#[derive(Debug, Default)]
struct Inner {
    input: InputCounters,
    pipeline: Counters,
    window: Option<(Duration, InputCounters)>,
    input_bits_per_second: u64,
    frames_per_second_milli: u64,
    epoch: Option<Epoch>,
    sequence: Option<LogSequence>,
    acknowledged: Option<LogSequence>,
    ring_bytes: usize,
    seal_lag: Duration,
    samples_refused: u64,
    rungs: BTreeMap<RenditionId, Rung>,
}

#[derive(Debug)]
struct Rung {
    track: Track,
    shed: Option<String>,
}

impl StreamStats {
    pub(crate) fn new(started_at: UnixMillis) -> Self {
        Self { started_at, inner: Mutex::default(), placed: OnceLock::new(), duty: OnceLock::new() }
    }

    /// Shows who owns the stream, besides.
    pub(crate) fn follow(&self, placed: watch::Receiver<Placed>) {
        // There is one pusher for each stream.
        _ = self.placed.set(placed);
    }

    /// Shows whether it is our turn, besides.
    pub(super) fn follow_duty(&self, duty: watch::Receiver<Duty>) {
        // There is one driver for each stream.
        _ = self.duty.set(duty);
    }

    /// Whose turn it is.
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

    /// What came in so far.
    pub(crate) fn input(&self, counters: InputCounters, pipeline: Counters, now: Duration) {
        self.with(|inner| {
            inner.pipeline = pipeline;
            inner.input = counters;
            let (since, before) = *inner.window.get_or_insert((now, counters));
            let span = now.saturating_sub(since);
            if span >= RATE_WINDOW {
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
                let bits = counters.media_bytes.saturating_sub(before.media_bytes).saturating_mul(8);
                let frames = counters.video_frames.saturating_sub(before.video_frames);
                inner.input_bits_per_second = bits.saturating_mul(1_000).saturating_div(millis);
                inner.frames_per_second_milli = frames.saturating_mul(1_000_000).saturating_div(millis);
                inner.window = Some((now, counters));
            }
        });
    }

    /// A publisher begins: its rates are its own.
    pub(crate) fn new_publisher(&self) {
        self.with(|inner| inner.window = None);
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

    /// A sample did not fit where it came.
    pub(crate) fn sample_refused(&self) {
        self.with(|inner| inner.samples_refused = inner.samples_refused.saturating_add(1));
    }

    /// A rung was given up.
    pub(crate) fn shed(&self, rendition: &RenditionId, reason: &str) {
        self.with(|inner| {
            if let Some(rung) = inner.rungs.get_mut(rendition) {
                rung.shed = Some(reason.to_owned());
            }
        });
    }

    /// The renditions of the epoch, without those given up.
    pub(crate) fn ladder(&self) -> Vec<Track> {
        self.with(|inner| {
            inner.rungs.values().filter(|rung| rung.shed.is_none()).map(|rung| rung.track.clone()).collect()
        })
    }

    /// As `/status` shows it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let placed = self.placed.get().map(|placed| placed.borrow().clone()).unwrap_or_default();
        self.with(|inner| {
            let rungs: Vec<_> =
                inner.rungs.values().map(|rung| json!({ "track": rung.track, "shed": rung.shed })).collect();
            let InputCounters {
                video_frames,
                audio_frames,
                media_bytes,
                dropped,
                breaks,
                keyframe_interval_ms,
                skew_ms,
            } = inner.input;
            json!({
                "started_at": self.started_at,
                "epoch": inner.epoch,
                "sequence": inner.sequence,
                "acknowledged": inner.acknowledged,
                "ring_bytes": inner.ring_bytes,
                "seal_lag_ms": u64::try_from(inner.seal_lag.as_millis()).unwrap_or(u64::MAX),
                "input": {
                    "bits_per_second": inner.input_bits_per_second,
                    "frames_per_second_milli": inner.frames_per_second_milli,
                    "keyframe_interval_ms": keyframe_interval_ms,
                    "video_ahead_of_audio_ms": skew_ms,
                    "video_frames": video_frames,
                    "audio_frames": audio_frames,
                    "media_bytes": media_bytes,
                    "dropped": dropped,
                    "clock_breaks": breaks,
                },
                "pipeline": {
                    "frames_decoded": inner.pipeline.frames_decoded,
                    "frames_skipped": inner.pipeline.frames_skipped,
                    "frames_concealed": inner.pipeline.frames_concealed,
                    "packets_refused": inner.pipeline.packets_refused,
                    "samples_refused": inner.samples_refused,
                    "rungs_shed": inner.pipeline.rungs_shed,
                },
                "rungs": rungs,
                "owners": placed.receivers,
                "replicas": { "holding": placed.holding, "wanted": placed.wanted, "degraded": placed.is_degraded },
            })
        })
    }
}
