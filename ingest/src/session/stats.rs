//! Figures of one stream, for `/status` and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cluster::replicas::Placed;
use media::{Epoch, LogSequence, Now, RenditionId, Track, UnixMillis};
use messages::InputReport;
use serde_json::json;
use tokio::sync::watch;

use super::encoder_metadata::EncoderMetadata;
use super::input::InputCounters;
use super::turn::Duty;
use crate::pipeline::{AudioFormat, BreakReason, Counters, Input, VideoFormat};

/// Figures of one stream. Shared by its tasks and `/status`.
#[derive(Debug)]
pub(crate) struct StreamStats {
    started_at: UnixMillis,
    inner: Mutex<Inner>,
    /// The owners of the stream.
    placed: OnceLock<watch::Receiver<Placed>>,
    /// This ingest's duty.
    duty: OnceLock<watch::Receiver<Duty>>,
}

#[derive(Debug, Default)]
struct Inner {
    publisher: Publisher,
    /// The newest report on the publisher.
    report: Option<InputReport>,
    epoch: Option<Epoch>,
    sequence: Option<LogSequence>,
    acknowledged: Option<LogSequence>,
    ring_bytes: usize,
    seal_lag: Duration,
    rungs: BTreeMap<RenditionId, Rung>,
}

/// Figures of the newest publisher.
#[derive(Debug, Clone, Default)]
pub(super) struct Publisher {
    /// When it connected; `None` once it is gone.
    pub(super) connected: Option<Now>,
    /// When it left; `None` while it is connected.
    pub(super) gone: Option<UnixMillis>,
    /// The slate is shown in its place.
    pub(super) slate: bool,
    /// Why its video is no longer passed through.
    pub(super) pass_through_ended: Option<BreakReason>,
    pub(super) announced: EncoderMetadata,
    pub(super) input: InputCounters,
    pub(super) pipeline: Counters,
    pub(super) video: Option<VideoFormat>,
    pub(super) audio: Option<AudioFormat>,
    /// When the newest picture and the newest sound came, by the monotonic clock.
    pub(super) heard: (Option<Duration>, Option<Duration>),
    /// Samples that the segmenter refused because of their times.
    pub(super) samples_refused: u64,
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

    /// Has `/status` show the owners of the stream.
    pub(crate) fn follow(&self, placed: watch::Receiver<Placed>) {
        // Set once, because each stream has one pusher.
        _ = self.placed.set(placed);
    }

    /// Has `/status` show this ingest's duty.
    pub(super) fn follow_duty(&self, duty: watch::Receiver<Duty>) {
        // Set once, because each stream has one driver.
        _ = self.duty.set(duty);
    }

    /// This ingest's duty.
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

    /// Takes the counters of the publisher's input so far.
    pub(crate) fn input(&self, counters: InputCounters, pipeline: Counters, now: Duration) {
        self.with(|Inner { publisher, .. }| {
            let before = std::mem::replace(&mut publisher.input, counters);
            publisher.pipeline = pipeline;
            if counters.video_frames != before.video_frames {
                publisher.heard.0 = Some(now);
            }
            if counters.audio_frames != before.audio_frames {
                publisher.heard.1 = Some(now);
            }
        });
    }

    /// Takes note of a format; ignores other inputs.
    pub(crate) fn format(&self, input: &Input) {
        match input {
            Input::VideoConfig(format) => self.with(|inner| inner.publisher.video = Some(format.clone())),
            Input::AudioConfig(format) => self.with(|inner| inner.publisher.audio = Some(format.clone())),
            Input::Video(_) | Input::Audio(_) | Input::Break => {}
        }
    }

    /// Takes what the encoder says of itself, in place of what the one before said.
    pub(crate) fn announced(&self, announced: EncoderMetadata) {
        self.with(|inner| inner.publisher.announced = announced);
    }

    /// A publisher begins: its figures start anew, except for what it announced.
    pub(crate) fn new_publisher(&self, now: Now) {
        self.with(|inner| {
            let announced = std::mem::take(&mut inner.publisher.announced);
            inner.publisher = Publisher { connected: Some(now), announced, ..Publisher::default() };
        });
    }

    /// The publisher is gone.
    pub(crate) fn publisher_gone(&self, now: UnixMillis) {
        self.with(|inner| (inner.publisher.connected, inner.publisher.gone) = (None, Some(now)));
    }

    /// A run of its pipeline broke. Notes whether that ends pass-through, or allows it again.
    pub(super) fn broke(&self, reason: &BreakReason) {
        self.with(|Inner { publisher, .. }| match reason {
            BreakReason::Paused(_) | BreakReason::KeyframesIrregular(_) | BreakReason::Unsegmentable => {
                publisher.pass_through_ended = Some(reason.clone());
            }
            // A new source is judged anew, but irregular keyframes rule out pass-through until the publisher reconnects.
            BreakReason::VideoFormat => {
                publisher.pass_through_ended.take_if(|ended| !matches!(ended, BreakReason::KeyframesIrregular(_)));
            }
            _ => {}
        });
    }

    /// Why the newest publisher's video is no longer passed through.
    pub(super) fn pass_through_ended(&self) -> Option<BreakReason> {
        self.with(|inner| inner.publisher.pass_through_ended.clone())
    }

    /// Figures of the newest publisher, and the rungs that are shed in the current epoch.
    pub(super) fn publisher(&self) -> (Publisher, Vec<String>) {
        self.with(|inner| {
            let shed = inner.rungs.iter().filter(|(_, rung)| rung.shed.is_some()).map(|(name, _)| name.to_string());
            (inner.publisher.clone(), shed.collect())
        })
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
        self.with(|Inner { publisher, .. }| publisher.samples_refused = publisher.samples_refused.saturating_add(1));
    }

    /// Whether the slate is shown.
    pub(super) fn slate(&self, shown: bool) {
        self.with(|inner| inner.publisher.slate = shown);
    }

    /// A rung was shed.
    pub(crate) fn shed(&self, rendition: &RenditionId, reason: &str) {
        self.with(|inner| {
            if let Some(rung) = inner.rungs.get_mut(rendition) {
                rung.shed = Some(reason.to_owned());
            }
        });
    }

    /// A rung that was shed is restored.
    pub(super) fn restored(&self, rendition: &RenditionId) {
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
        self.with(|inner| {
            let rungs: Vec<_> =
                inner.rungs.values().map(|rung| json!({ "track": rung.track, "shed": rung.shed })).collect();
            let Publisher { input, pipeline, samples_refused, .. } = &inner.publisher;
            json!({
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
                    "samples_refused": samples_refused,
                    "rungs_shed": pipeline.rungs_shed,
                },
                "rungs": rungs,
                "slate": inner.publisher.slate,
                "owners": placed.receivers,
                "replicas": { "holding": placed.holding, "wanted": placed.wanted, "degraded": placed.is_degraded },
            })
        })
    }
}
