//! Writes seal logs as an ingest does, without media or signatures.

use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, PartIndex,
    RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use seal::{Object, Rendition, SealBody, SealKind};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: UnixMillis = UnixMillis(1_767_225_600_000);

/// Half a second of 90 kHz.
pub(crate) const PART: i64 = 45_000;

/// A session's ladder: heights of the video renditions, and the sample rate of the audio, if there is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ladder {
    pub(crate) heights: Vec<u32>,
    pub(crate) sample_rate_hz: Option<u32>,
}

pub(crate) fn ladder(heights: &[u32], audio: bool) -> Ladder {
    Ladder { heights: heights.to_vec(), sample_rate_hz: audio.then_some(48_000) }
}

impl Ladder {
    /// Sorted, as a seal lists them.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.heights.iter().map(|height| format!("{height}p")).collect();
        names.extend(self.sample_rate_hz.map(|_| "audio".to_owned()));
        names.sort();
        names
    }
}

/// A row to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Ticks of 90 kHz.
    pub(crate) ticks: i64,
    pub(crate) completes: bool,
    /// Bit `n`: the rendition at index `n` has no bytes.
    pub(crate) gaps: u32,
}

/// The state of the log after a seal.
#[derive(Debug, Clone)]
struct State {
    ladder: Ladder,
    epoch: u64,
    opened: bool,
    ended: bool,
    rows: u32,
    msn: u64,
    discontinuity: u64,
    ticks: i64,
    segment_ticks: i64,
    gaps: u32,
}

/// Writes the log of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) log: Vec<SealBody>,
    state: State,
    /// After each seal of the log.
    states: Vec<State>,
}

impl Writer {
    pub(crate) fn new(ladder: Ladder) -> Self {
        let (epoch, msn, discontinuity) = (0, 0, 0);
        let state = State {
            ladder,
            epoch,
            opened: false,
            ended: false,
            rows: 0,
            msn,
            discontinuity,
            ticks: 0,
            segment_ticks: 0,
            gaps: 0,
        };
        Self { log: vec![], state, states: vec![] }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state.ended
    }

    /// Whether the epoch has a seal.
    pub(crate) fn has_opened(&self) -> bool {
        self.state.opened
    }

    /// Ticks of the open segment, and its rows.
    pub(crate) fn open(&self) -> (i64, u32) {
        if self.state.rows == 0 { (0, 0) } else { (self.state.segment_ticks, self.state.rows) }
    }

    /// The next row: a part of `ticks` of 90 kHz; `completes` its segment; the rendition at index `gap` has no bytes.
    pub(crate) fn row(&mut self, ticks: i64, completes: bool, gap: Option<usize>) -> &mut Self {
        self.write(Row { ticks, completes, gaps: gap.map_or(0, |gap| 1 << gap) })
    }

    /// An outage of the encoder that lasts `rows` rows.
    pub(crate) fn outage(&mut self, rows: usize) -> &mut Self {
        (0..rows).for_each(|_| {
            let completes = self.open().1 >= 7;
            self.write(Row { ticks: PART, completes, gaps: u32::MAX });
        });
        self
    }

    pub(crate) fn write(&mut self, row: Row) -> &mut Self {
        let Row { ticks, completes, gaps } = row;
        if self.state.rows == 0 {
            (self.state.segment_ticks, self.state.gaps) = (0, 0);
        }
        self.state.gaps |= gaps;
        let (msn, part) = (MediaSequence(self.state.msn), PartIndex(self.state.rows));
        let mut objects = Vec::new();
        for (index, name) in self.state.ladder.names().iter().enumerate() {
            let is_gap = |gaps: u32| gaps >> index & 1 == 1;
            if !self.state.opened {
                objects.push(self.object(name, Slot::Init, (0, 0), false));
            }
            let from = self.state.ticks;
            objects.push(self.object(name, Slot::Part { msn, part }, (from, from + ticks), is_gap(gaps)));
            if completes {
                let begin = from - self.state.segment_ticks;
                let gap = is_gap(self.state.gaps);
                let mut segment = self.object(name, Slot::Segment { msn }, (begin, from + ticks), gap);
                segment.length = if gap { 0 } else { 1000 * u64::from(self.state.rows + 1) };
                objects.push(segment);
            }
        }
        let checkpoint = if completes || !self.state.opened { self.checkpoint() } else { vec![] };
        let State { ticks: at, segment_ticks, opened, msn, rows, .. } = &mut self.state;
        (*at, *segment_ticks, *opened) = (*at + ticks, *segment_ticks + ticks, true);
        (*msn, *rows) = if completes { (*msn + 1, 0) } else { (*msn, *rows + 1) };
        self.push(SealKind::Media, checkpoint, objects)
    }

    /// A whole segment of eight parts of half a second.
    pub(crate) fn segment(&mut self) -> &mut Self {
        self.finish_segment();
        (0..8).for_each(|part| {
            self.row(PART, part == 7, None);
        });
        self
    }

    /// Completes the open segment, if there is one.
    pub(crate) fn finish_segment(&mut self) -> &mut Self {
        if self.state.rows > 0 { self.row(PART, true, None) } else { self }
    }

    pub(crate) fn segments(&mut self, count: usize) -> &mut Self {
        (0..count).for_each(|_| {
            self.segment();
        });
        self
    }

    /// A new session that builds on the newest seal.
    pub(crate) fn reconnect(&mut self, ladder: Ladder) -> &mut Self {
        let State { epoch, msn, discontinuity, rows, opened, .. } = self.state;
        // An epoch that never had a seal is no discontinuity.
        let (epoch, discontinuity) = (epoch + 1, discontinuity + u64::from(opened));
        let msn = msn + u64::from(rows > 0);
        self.state = State { epoch, discontinuity, msn, ..Self::new(ladder).state };
        self
    }

    /// A new session that builds on the seal `back` places before the newest; later seals are void. Returns the sequence it builds on.
    pub(crate) fn reconnect_before(&mut self, back: usize, ladder: Ladder) -> LogSequence {
        let kept = self.log.len().saturating_sub(back).max(1);
        let epoch = self.state.epoch;
        self.log.truncate(kept);
        self.states.truncate(kept);
        self.state = self.states.last().expect("there is a seal").clone();
        self.state.epoch = epoch;
        self.reconnect(ladder);
        self.log.last().expect("there is a seal").sequence
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        let State { msn, rows, .. } = self.state;
        // After it the log continues past the segment that was open.
        (self.state.msn, self.state.rows, self.state.ended) = (msn + u64::from(rows > 0), 0, true);
        self.push(SealKind::End, vec![], vec![])
    }

    fn scale(&self, name: &str) -> Timescale {
        let rate = self.state.ladder.sample_rate_hz.filter(|_| name == "audio");
        rate.map_or(Timescale::VIDEO, |rate| Timescale::new(rate).unwrap())
    }

    /// Cuts video at the given tick, and audio before its first frame of 1024 samples at or after it.
    fn cut(&self, name: &str, ticks: i64) -> i64 {
        let at = Timestamp::new(ticks, Timescale::VIDEO).rescale(self.scale(name)).ticks;
        if name == "audio" { (at + 1023) / 1024 * 1024 } else { at }
    }

    fn object(&self, name: &str, slot: Slot, (from, to): (i64, i64), gap: bool) -> Object {
        let scale = self.scale(name);
        let init = slot == Slot::Init;
        let is_start = matches!(slot, Slot::Part { part: PartIndex(0 | 4), .. } | Slot::Segment { .. });
        let independent = !gap && (name == "audio" || init || is_start);
        // A gap lasts as long as its row.
        let row = Timestamp::new(to - from, Timescale::VIDEO).rescale(scale);
        let frames = Timestamp::new(self.cut(name, to) - self.cut(name, from), scale);
        let pictures = independent && name != "audio" && matches!(slot, Slot::Part { .. });
        Object {
            rendition: RenditionId::new(name).unwrap(),
            slot,
            start: Timestamp::new(from, if init { scale } else { Timescale::VIDEO }),
            decode_time: Timestamp::new(self.cut(name, from), scale),
            duration: if gap { row } else { frames },
            independent,
            gap,
            length: if gap { 0 } else { 1000 },
            digest: if gap { Digest::NONE } else { Digest([7; 32]) },
            init: Digest([9; 32]),
            sync_length: pictures.then_some(400),
        }
    }

    fn checkpoint(&self) -> Vec<Rendition> {
        let msn = self.state.msn;
        let track = |name: &String| {
            let height: u32 = name.trim_end_matches('p').parse().unwrap_or(0);
            let audio = name == "audio";
            Track {
                rendition: RenditionId::new(name).unwrap(),
                codec: if audio { "mp4a.40.2" } else { "avc1.64001f" }.to_owned(),
                timescale: self.scale(name),
                format: if audio {
                    Format::Audio { sample_rate_hz: self.scale(name).get(), channels: 2 }
                } else {
                    Format::Video { width: height * 16 / 9, height, frame_rate_millihertz: 29_970 }
                },
                bandwidth_peak: BitsPerSecond(if audio { 130_000 } else { u64::from(height) * 5_000 + msn }),
                bandwidth_mean: BitsPerSecond(if audio { 128_000 } else { u64::from(height) * 4_000 + msn }),
            }
        };
        let rendition = |name| Rendition { track: track(name), init: Digest([9; 32]), init_length: 1000 };
        self.state.ladder.names().iter().map(rendition).collect()
    }

    fn push(&mut self, kind: SealKind, checkpoint: Vec<Rendition>, objects: Vec<Object>) -> &mut Self {
        let State { epoch, msn, discontinuity, .. } = self.state;
        self.log.push(SealBody {
            cluster: ClusterId::new("test").unwrap(),
            stream: StreamId::new("demo").unwrap(),
            session: SessionId([1; 16]),
            epoch: Epoch(epoch),
            sequence: LogSequence(self.log.last().map_or(0, |last| last.sequence.0 + 1)),
            previous: Digest([3; 32]),
            issued_at: START,
            origin: UnixMillis(START.0 + i64::try_from(epoch).unwrap() * 3_600_000),
            next_msn: MediaSequence(msn),
            discontinuity: DiscontinuitySequence(discontinuity),
            kind,
            checkpoint,
            objects,
        });
        self.states.push(self.state.clone());
        self
    }
}
