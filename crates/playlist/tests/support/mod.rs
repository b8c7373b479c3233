//! Writes seal logs as an ingest does, without media or signatures.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, not all used in each")]

use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, PartIndex,
    RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use playlist::{Settings, Timeline, render};
use seal::{Object, Rendition, SealBody, SealKind};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: UnixMillis = UnixMillis(1_767_225_600_000);

/// A session's ladder: names of video renditions by height, and whether there is sound.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    pub(crate) heights: Vec<u32>,
    pub(crate) audio: bool,
}

/// An ingest's hand.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) log: Vec<SealBody>,
    ladder: Ladder,
    epoch: u64,
    opened: bool,
    rows: u32,
    msn: u64,
    discontinuity: u64,
    ticks: i64,
    segment_ticks: i64,
    gaps: Vec<bool>,
}

impl Writer {
    pub(crate) fn new(ladder: Ladder) -> Self {
        let gaps = vec![false; 8];
        Self {
            log: vec![],
            ladder,
            epoch: 0,
            opened: false,
            rows: 0,
            msn: 0,
            discontinuity: 0,
            ticks: 0,
            segment_ticks: 0,
            gaps,
        }
    }

    /// The next row: a part of `ticks` of 90 kHz; `completes` its segment; the rendition at index `gap` has no bytes.
    pub(crate) fn row(&mut self, ticks: i64, completes: bool, gap: Option<usize>) -> &mut Self {
        if self.rows == 0 {
            self.segment_ticks = 0;
            self.gaps.fill(false);
        }
        let names = self.names();
        let mut objects = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if !self.opened {
                objects.push(self.object(name, Slot::Init, 0, false));
            }
            let is_gap = gap == Some(index);
            self.gaps[index] |= is_gap;
            let slot = Slot::Part { msn: MediaSequence(self.msn), part: PartIndex(self.rows) };
            objects.push(self.object(name, slot, ticks, is_gap));
            if completes {
                let slot = Slot::Segment { msn: MediaSequence(self.msn) };
                let mut segment = self.object(name, slot, self.segment_ticks + ticks, self.gaps[index]);
                segment.length = if self.gaps[index] { 0 } else { 1000 * u64::from(self.rows + 1) };
                segment.start.ticks -= self.segment_ticks;
                objects.push(segment);
            }
        }
        let checkpoint = if completes || !self.opened { self.checkpoint() } else { vec![] };
        (self.ticks, self.segment_ticks, self.opened) = (self.ticks + ticks, self.segment_ticks + ticks, true);
        (self.msn, self.rows) = if completes { (self.msn + 1, 0) } else { (self.msn, self.rows + 1) };
        self.push(SealKind::Media, checkpoint, objects)
    }

    /// A whole segment of eight parts of half a second.
    pub(crate) fn segment(&mut self) -> &mut Self {
        (0..8).for_each(|part| {
            self.row(45_000, part == 7, None);
        });
        self
    }

    pub(crate) fn segments(&mut self, count: usize) -> &mut Self {
        (0..count).for_each(|_| {
            self.segment();
        });
        self
    }

    /// A new session that builds on what is there.
    pub(crate) fn reconnect(&mut self, ladder: Ladder) -> &mut Self {
        self.msn += u64::from(self.rows > 0);
        (self.epoch, self.discontinuity) = (self.epoch + 1, self.discontinuity + 1);
        (self.ladder, self.opened, self.rows, self.ticks) = (ladder, false, 0, 0);
        self
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        self.push(SealKind::End, vec![], vec![]);
        (self.msn, self.rows) = (self.msn + u64::from(self.rows > 0), 0);
        self
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.ladder.heights.iter().map(|height| format!("{height}p")).collect();
        names.extend(self.ladder.audio.then(|| "audio".to_owned()));
        names.sort();
        names
    }

    fn scale(name: &str) -> Timescale {
        if name == "audio" { Timescale::new(48_000).unwrap() } else { Timescale::VIDEO }
    }

    fn object(&self, name: &str, slot: Slot, ticks: i64, gap: bool) -> Object {
        let scale = Self::scale(name);
        let at = Timestamp::new(self.ticks, Timescale::VIDEO);
        let init = slot == Slot::Init;
        let independent = !gap
            && (name == "audio"
                || init
                || matches!(slot, Slot::Part { part: PartIndex(0 | 4), .. } | Slot::Segment { .. }));
        Object {
            rendition: RenditionId::new(name).unwrap(),
            slot,
            start: if init { Timestamp::zero(scale) } else { at },
            decode_time: if init { Timestamp::zero(scale) } else { at.rescale(scale) },
            duration: Timestamp::new(ticks, Timescale::VIDEO).rescale(scale),
            independent,
            gap,
            length: if gap { 0 } else { 1000 },
            digest: if gap { Digest::NONE } else { Digest([7; 32]) },
            init: Digest([9; 32]),
            sync_length: (independent && name != "audio" && matches!(slot, Slot::Part { .. })).then_some(400),
        }
    }

    fn checkpoint(&self) -> Vec<Rendition> {
        let track = |name: &String| {
            let height: u32 = name.trim_end_matches('p').parse().unwrap_or(0);
            let audio = name == "audio";
            Track {
                rendition: RenditionId::new(name).unwrap(),
                codec: if audio { "mp4a.40.2" } else { "avc1.64001f" }.to_owned(),
                timescale: Self::scale(name),
                format: if audio {
                    Format::Audio { sample_rate_hz: 48_000, channels: 2 }
                } else {
                    Format::Video { width: height * 16 / 9, height, frame_rate_millihertz: 29_970 }
                },
                bandwidth_peak: BitsPerSecond(if audio { 130_000 } else { u64::from(height) * 5_000 + self.msn }),
                bandwidth_mean: BitsPerSecond(if audio { 128_000 } else { u64::from(height) * 4_000 + self.msn }),
            }
        };
        let rendition = |name| Rendition { track: track(name), init: Digest([9; 32]), init_length: 1000 };
        self.names().iter().map(rendition).collect()
    }

    fn push(&mut self, kind: SealKind, checkpoint: Vec<Rendition>, objects: Vec<Object>) -> &mut Self {
        self.log.push(SealBody {
            cluster: ClusterId::new("test").unwrap(),
            stream: StreamId::new("demo").unwrap(),
            session: SessionId([1; 16]),
            epoch: Epoch(self.epoch),
            sequence: LogSequence(self.log.last().map_or(0, |last| last.sequence.0 + 1)),
            previous: Digest([3; 32]),
            issued_at: START,
            origin: UnixMillis(START.0 + i64::try_from(self.epoch).unwrap() * 3_600_000),
            next_msn: MediaSequence(self.msn),
            discontinuity: DiscontinuitySequence(self.discontinuity),
            kind,
            checkpoint,
            objects,
        });
        self
    }
}

pub(crate) fn ladder(heights: &[u32], audio: bool) -> Ladder {
    Ladder { heights: heights.to_vec(), audio }
}

/// Folds a log; every step holds the invariants.
pub(crate) fn fold(log: &[SealBody]) -> Timeline {
    let mut timeline = Timeline::new(Settings::default());
    for body in log {
        timeline.apply(body).unwrap_or_else(|error| panic!("seal {}: {error}", body.sequence));
        timeline.check_invariants();
    }
    timeline
}

pub(crate) fn rendition(name: &str) -> RenditionId {
    RenditionId::new(name).unwrap()
}

/// The whole media playlist of a rendition.
pub(crate) fn full(timeline: &Timeline, rendition: &RenditionId) -> Option<String> {
    render::media(timeline, rendition, render::Extent::Full)
}
