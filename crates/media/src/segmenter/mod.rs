//! The segmenter: turns samples of all renditions of a session into rows of parts and segments, in lockstep.
//!
//! Owns where to cut. One rendition is the *reference*: the video with the lowest frame rate, or the audio when there is no
//! video. Its frames decide the presentation instants at which every rendition is cut, so that all have the same segments and
//! parts. A row is complete when every rendition has a sample past its end.
//!
//! Decode times are contiguous by construction: a sample lasts until the decode time of the next one, which is known because that
//! sample closes the part. No sum uses rounded units, so nothing drifts. A sync sample has its presentation time as decode time,
//! whatever the encoder's reordering delay is.
//!
//! Deliberately does not hash, sign or name objects in URLs, and does not repair audio timelines: see [`crate::audio_clock`]. Pure.

mod cut;
mod lane;
mod meter;

use std::time::Duration;

use bytes::Bytes;
use lane::Lane;

use crate::{
    BitsPerSecond, Error, MediaSequence, PartIndex, RenditionId, Sample, Slot, Timescale, Timestamp, Track,
    TrackConfig, cmaf,
};

/// Target durations of segments and parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Segment target: 4 s by default.
    pub segment: Duration,
    /// Part target: 0.5 s by default.
    pub part: Duration,
}

/// One rendition of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionConfig {
    pub rendition: RenditionId,
    /// Its content, for the init segment and the checkpoint.
    pub track: TrackConfig,
    /// Configured maximum of the encoder: the stated peak until the first segment is measured.
    pub bandwidth_peak: BitsPerSecond,
    /// Target of the encoder: the stated mean until the first segment is measured.
    pub bandwidth_mean: BitsPerSecond,
    /// The rendition has sync samples that the others lack. It becomes the reference only when no equally slow rendition can.
    pub has_more_sync: bool,
}

/// The same part of all renditions: the content of one seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Presentation time of its start on the session's timeline: the same instant in all renditions.
    pub start: Timestamp,
    /// Presentation time of its end: the start of the next row.
    pub end: Timestamp,
    /// Media sequence number of its segment.
    pub msn: MediaSequence,
    /// Its part within the segment.
    pub part: PartIndex,
    /// Whether it is the last row of its segment; then `objects` has the segments too.
    pub completes_segment: bool,
    /// Checkpoint: all renditions with the bandwidth measured so far, sorted by name. In the first row and in those that
    /// complete a segment, otherwise empty.
    pub tracks: Vec<Track>,
    /// The media objects, sorted by rendition, then slot: one part for every rendition, and one segment each when the row completes it.
    pub objects: Vec<MediaObject>,
}

/// A media object, before it is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaObject {
    pub rendition: RenditionId,
    /// Kind (part or segment) and place.
    pub slot: Slot,
    /// Presentation time of the start of the row, or, for a segment, of its first row.
    pub start: Timestamp,
    /// Decode time of the first sample (`tfdt`), in the rendition's timescale; equal to its presentation time for a sync sample. For a
    /// gap: `start` in that timescale.
    pub decode_time: Timestamp,
    /// Sum of sample durations in the rendition's timescale, positive. For a gap: the duration of the row or segment.
    pub duration: Timestamp,
    /// Starts with a sync sample. Always true for audio, false for a gap.
    pub independent: bool,
    /// The object has no bytes. A segment is a gap when any of its parts is one.
    pub gap: bool,
    /// Length in bytes: for a segment the sum of its parts' lengths, for a gap 0.
    pub length: u64,
    /// For an independent video part: bytes up to the end of its first sample, which is a sync sample.
    pub sync_length: Option<u64>,
    /// The bytes of a part. Empty for a segment, whose bytes are those of its parts in order.
    pub bytes: Bytes,
}

impl MediaObject {
    /// The first sample of a video part that begins with a sync sample.
    pub fn sync_sample(&self) -> Option<Bytes> {
        let end = usize::try_from(self.sync_length?).ok()?;
        // Before it come the `moof`, whose first four bytes are its length, and the header of the `mdat`.
        let moof = u32::from_be_bytes(*self.bytes.first_chunk()?);
        let start = usize::try_from(moof).ok()?.checked_add(cmaf::MDAT_HEADER_BYTES)?;
        (start..=self.bytes.len()).contains(&end).then(|| self.bytes.slice(start..end))
    }
}

/// A rendition that holds the others up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub rendition: RenditionId,
    /// How far its newest sample is behind the newest sample of all renditions.
    pub behind: Duration,
}

/// [`Segmenter::lagging`] reports a rendition that is further behind than this, because it delays all others. The limit exceeds a
/// session's initial buffer (2.5 s) and an encoder's look-ahead (about 1 s) together.
pub const LAG_MAX: Duration = Duration::from_secs(4);

/// Most samples that wait per rendition: 17 s at 120 frames a second, well over [`LAG_MAX`].
pub const BUFFERED_SAMPLES_MAX: usize = 2_048;

/// Most bytes that wait per rendition: 10 s at 50 Mbit/s.
pub const BUFFERED_BYTES_MAX: usize = 64 << 20;

/// How far a segment may exceed its target while it waits for a sync sample. EXTINF rounded to whole seconds must not exceed
/// the target duration (RFC 8216bis, 4.4.3.1). That leaves half a second, less one long audio frame.
pub const SEGMENT_OVERSHOOT_MAX: Duration = Duration::from_millis(400);

/// Part targets that a stream may aim at, in milliseconds. At 200, and from 400 on, every usual frame rate gives regular parts of at
/// least 85 % of the declared target; in between, a few parts are up to 7 % shorter.
pub const PART_TARGET_MS: std::ops::RangeInclusive<u64> = 200..=2_000;

/// How much a part may exceed the target that it aims at, in percent. Parts end between frames, so their lengths scatter about the
/// target. Around 0.5 s at 25 frames a second they last 0.48 and 0.52 s, with audio at 44.1 kHz up to 0.534 s. Around 0.2 s, audio at
/// 44.1 kHz lasts 0.186 and 0.209 s, at 48 kHz up to 0.2133 s. The longest of these needs at least 6.9 %, and up to 9 % the
/// shortest still has [`PART_LEAST_PERCENT`].
const PART_OVERSHOOT_PERCENT: u32 = 7;

/// Least length of a regular part, in percent of the declared target (RFC 8216bis, 4.4.4.9).
const PART_LEAST_PERCENT: u32 = 85;

impl Targets {
    /// The part target to declare (PART-TARGET): the target aimed at plus 7 %, rounded up to a millisecond. No part exceeds it, and
    /// regular parts have at least 85 % of it (RFC 8216bis, 4.4.4.9).
    pub const fn declared_part(&self) -> Duration {
        declared_part(self.part)
    }

    /// Least length of a regular part.
    fn least_part(&self) -> Duration {
        self.declared_part() * PART_LEAST_PERCENT / 100
    }
}

/// As [`Targets::declared_part`], for the part target `aimed_at`, which is at most a few minutes.
pub const fn declared_part(aimed_at: Duration) -> Duration {
    let nanos = aimed_at.as_nanos() * (100 + PART_OVERSHOOT_PERCENT) as u128;
    Duration::from_millis(nanos.div_ceil(100 * 1_000_000) as u64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RowEnd {
    instant: Timestamp,
    completes_segment: bool,
    /// Index of the rendition whose frame begins exactly there: the reference at the time of the decision.
    decided_by: usize,
}

/// Where the open segment and the open part began.
#[derive(Debug, Clone, Copy)]
struct Open {
    segment_start: Timestamp,
    part_start: Timestamp,
    /// Where the grid of parts began, and how many of its parts have ended.
    grid_start: Timestamp,
    grid_parts: u32,
}

/// Cuts all renditions of one session at the same presentation times.
#[derive(Debug)]
pub struct Segmenter {
    targets: Targets,
    /// Sorted by name.
    lanes: Vec<Lane>,
    /// Index of the reference; `None` when all are shed.
    reference: Option<usize>,
    /// `None` until all video renditions have a common sync sample.
    open: Option<Open>,
    /// The end of the next row, once the reference's frames have decided it.
    row_end: Option<RowEnd>,
    msn: MediaSequence,
    part: PartIndex,
    rows: u64,
    finished: bool,
}

impl Segmenter {
    /// A segmenter whose first segment is `first_msn`.
    ///
    /// Errors without a rendition, with a name that occurs twice, and unless `0 < part <= segment <= 60 s`.
    pub fn new(targets: Targets, first_msn: MediaSequence, renditions: Vec<RenditionConfig>) -> Result<Self, Error> {
        const SEGMENT_TARGET_MAX: Duration = Duration::from_secs(60);
        if targets.part.is_zero() || targets.part > targets.segment || targets.segment > SEGMENT_TARGET_MAX {
            return Err(Error::Configuration("targets must be 0 < part <= segment <= 60 s"));
        }
        let part_longest = targets.declared_part();
        let mut lanes: Vec<_> = renditions.into_iter().map(|config| Lane::new(config, part_longest)).collect();
        lanes.sort_by(|a, b| a.config.rendition.cmp(&b.config.rendition));
        let twice = |(a, b): (&Lane, &Lane)| a.config.rendition == b.config.rendition;
        if lanes.iter().zip(lanes.iter().skip(1)).any(twice) {
            return Err(Error::Configuration("a rendition is named twice"));
        }
        let mut segmenter = Self {
            targets,
            lanes,
            reference: None,
            open: None,
            row_end: None,
            msn: first_msn,
            part: PartIndex(0),
            rows: 0,
            finished: false,
        };
        segmenter.choose_reference();
        if segmenter.reference.is_none() {
            return Err(Error::Configuration("no rendition"));
        }
        Ok(segmenter)
    }

    /// The renditions with a measured bandwidth: those that had a long enough segment.
    pub fn measured(&self) -> impl Iterator<Item = RenditionConfig> {
        self.lanes.iter().filter(|lane| lane.meter.is_measured()).map(|lane| RenditionConfig {
            bandwidth_peak: lane.meter.peak(),
            bandwidth_mean: lane.meter.mean(),
            ..lane.config.clone()
        })
    }

    /// Continues what another session of the same source [measured](Self::measured): the stated peak does not fall below it. Ignored
    /// when the rendition of that name has another track, which makes it another source.
    pub fn resume_measurement(&mut self, before: &RenditionConfig) {
        let same = |lane: &&mut Lane| lane.config.rendition == before.rendition && lane.config.track == before.track;
        if let Some(lane) = self.lanes.iter_mut().find(same) {
            lane.meter.resume(before.bandwidth_peak, before.bandwidth_mean);
        }
    }

    /// The content of a checkpoint: all renditions with the bandwidth measured so far, sorted by name.
    pub fn tracks(&self) -> Vec<Track> {
        let track = |lane: &Lane| Track {
            rendition: lane.config.rendition.clone(),
            codec: lane.config.track.codec_string(),
            timescale: lane.timescale,
            format: lane.config.track.format(),
            bandwidth_peak: lane.meter.peak(),
            bandwidth_mean: lane.meter.mean(),
        };
        self.lanes.iter().map(track).collect()
    }

    /// Takes the next sample of a rendition, in decode order; its times may be in any timescale. Drops samples of a shed rendition, and
    /// those of a video rendition before its first sync sample.
    ///
    /// A video decode time that repeats or steps back by up to 0.5 s moves to one tick after the previous one; the presentation time stays.
    /// Errors: an unknown rendition; impossible times ([`Error::Timing`]); a full buffer ([`Error::BufferFull`]), before which
    /// [`Self::lagging`] has named the cause. A refused sample is lost and breaks the timeline of its rendition: shed the rendition, or
    /// end the session.
    pub fn push(&mut self, rendition: &RenditionId, sample: Sample) -> Result<(), Error> {
        let begun = self.open.is_some();
        let lane = self.lane_mut(rendition).ok_or_else(|| Error::UnknownRendition { rendition: rendition.clone() })?;
        if lane.shed { Ok(()) } else { lane.push(sample, begun) }
    }

    /// Gives a rendition up: from the next row on it has gaps. Ignores unknown names and repetition.
    pub fn shed(&mut self, rendition: &RenditionId) {
        if let Some(lane) = self.lane_mut(rendition) {
            lane.shed();
            self.choose_reference();
        }
    }

    /// Resumes a rendition that was given up: its gaps end with the next segment that begins with one of its sync samples. It can become
    /// the reference again only when another rendition is shed. Ignores unknown names and repetition.
    pub fn restore(&mut self, rendition: &RenditionId) {
        if let Some(lane) = self.lane_mut(rendition).filter(|lane| lane.shed) {
            lane.restore();
        }
    }

    /// The next row, when it is complete. Call until `None` after each push.
    ///
    /// Errors when the open segment cannot end ([`Error::SyncSampleLate`]), a part is too long ([`Error::PartTooLong`]) or a sample does
    /// not fit its box. The session is then over: start a new one.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        let Some(open) = self.open.or_else(|| self.begin()) else { return Ok(None) };
        if self.row_end.is_none() {
            self.row_end = self.find_row_end(open)?;
        }
        match self.row_end {
            Some(end) if self.is_complete(end) => self.take_row(open, end).map(Some),
            _ => Ok(None),
        }
    }

    /// Ends the session and returns the remaining rows; the last one completes its segment. The session ends where the reference does:
    /// other renditions lose the samples after it, and have gaps for what they lack before it.
    pub fn finish(&mut self) -> Result<Vec<Row>, Error> {
        self.finished = true;
        let mut rows = Vec::new();
        while let Some(row) = self.next_row()? {
            rows.push(row);
        }
        for lane in &mut self.lanes {
            lane.clear();
        }
        Ok(rows)
    }

    /// The rendition that is furthest behind, when it is behind by more than [`LAG_MAX`].
    pub fn lagging(&self) -> Option<Lag> {
        let lanes = || self.lanes.iter().filter(|lane| !lane.shed);
        let newest = lanes().filter_map(Lane::newest_instant).max()?;
        // A rendition that has never sent a sample counts from the oldest waiting sample of the others.
        let oldest = lanes().filter_map(|lane| lane.queue.front().map(|queued| lane.time(queued.instant()))).min();
        let behind = |lane: &Lane| {
            let reached = lane.newest_instant().or(oldest).unwrap_or(newest);
            Lag { rendition: lane.config.rendition.clone(), behind: newest.minus(reached).as_duration() }
        };
        lanes().map(behind).max_by_key(|lag| lag.behind).filter(|lag| lag.behind > LAG_MAX)
    }

    /// The segment that the next part opens or continues.
    pub const fn next_msn(&self) -> MediaSequence {
        self.msn
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        for lane in &self.lanes {
            lane.check_invariants(self.part);
        }
        assert!(
            self.lanes.iter().all(|lane| lane.shed) == self.reference.is_none(),
            "a reference while there is a rendition"
        );
        if let (Some(open), Some(end)) = (self.open, self.row_end) {
            assert!(open.segment_start <= open.part_start && open.part_start < end.instant, "time goes forward");
        }
        assert!(self.open.is_some() || self.rows == 0, "rows come after the start");
        if let (Some(open), None) = (self.open, self.row_end) {
            self.check_early(open);
        }
    }

    fn lane_mut(&mut self, rendition: &RenditionId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.config.rendition == *rendition)
    }

    /// Chooses the slowest video, because the others have its frames and sync samples too; without video, the first audio.
    fn choose_reference(&mut self) {
        let rank = |lane: &Lane| match &lane.config.track {
            TrackConfig::Video { frame_rate_millihertz: 0, .. } => (0, u32::MAX),
            TrackConfig::Video { frame_rate_millihertz, .. } => (0, *frame_rate_millihertz),
            TrackConfig::Audio { .. } => (1, 0),
        };
        let kept = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.shed);
        self.reference = kept
            .min_by_key(|(_, lane)| (lane.is_lost(), rank(lane), lane.config.has_more_sync))
            .map(|(index, _)| index);
    }

    /// Finds the first sync sample that all video renditions have, and drops the samples before it.
    fn begin(&mut self) -> Option<Open> {
        let reference = self.lanes.get(self.reference?)?;
        let mut start = reference.time(reference.queue.front()?.instant());
        let videos = || self.lanes.iter().filter(|lane| lane.is_video() && !lane.shed);
        // Each round moves the start to a later sync sample of some rendition, so the buffers bound the number of rounds.
        loop {
            let mut latest = start;
            for lane in videos() {
                let first = lane.time(lane.first_sync(start)?.instant());
                let tolerance = lane.time(lane.half_frame());
                if first > latest.plus(tolerance) {
                    latest = first;
                }
            }
            if latest == start {
                break;
            }
            start = latest;
        }
        if reference.is_video() {
            // The reference's own instant; those of the others differ by less than half a frame.
            start = reference.time(reference.first_sync(start)?.instant());
        }
        for lane in &mut self.lanes {
            lane.begin(start);
        }
        self.open = Some(Open { segment_start: start, part_start: start, grid_start: start, grid_parts: 0 });
        self.open
    }

    fn is_complete(&self, end: RowEnd) -> bool {
        let complete = |(index, lane): (usize, &Lane)| lane.shed || lane.cut(end, index, self.finished).is_some();
        self.lanes.iter().enumerate().all(complete)
    }

    fn take_row(&mut self, open: Open, end: RowEnd) -> Result<Row, Error> {
        let RowEnd { instant, completes_segment, .. } = end;
        let (msn, part) = (self.msn, self.part);
        let mut objects = Vec::with_capacity(self.lanes.len() * 2);
        let part_longest = self.targets.declared_part();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            // A shed rendition has no samples, so its part is a gap.
            let count = lane.cut(end, index, self.finished).unwrap_or(0);
            let count = lane.without_holes(count, part);
            let object = lane.take_part(count, Slot::Part { msn, part }, (open.part_start, instant))?;
            if object.duration.as_duration() > part_longest {
                return Err(Error::PartTooLong { rendition: object.rendition, length: object.duration.as_duration() });
            }
            objects.push(object);
            if completes_segment {
                let span = (open.segment_start, instant);
                objects.push(lane.take_segment(Slot::Segment { msn }, span, self.targets.segment));
            }
        }
        let tracks = if completes_segment || self.rows == 0 { self.tracks() } else { Vec::new() };
        self.rows += 1;
        self.row_end = None;
        self.open = Some(self.open_after(open, end));
        (self.msn, self.part) = if completes_segment { (msn.next(), PartIndex(0)) } else { (msn, part.next()) };
        Ok(Row { start: open.part_start, end: instant, msn, part, completes_segment, tracks, objects })
    }

    fn open_after(&self, open: Open, end: RowEnd) -> Open {
        let reference = self.lanes.get(end.decided_by);
        let next = reference.and_then(|lane| lane.queue.front());
        let sync = next.is_some_and(|queued| queued.sample.sync) && reference.is_some_and(Lane::is_video);
        let frame = reference.map_or(Timestamp::zero(Timescale::MILLIS), |lane| lane.time(lane.half_frame() * 2));
        open.after(end, self.targets.part, sync, frame)
    }
}

#[cfg(test)]
mod tests;
