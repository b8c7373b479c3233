//! The segmenter: turns samples of all renditions of a session into rows of parts and segments, in lockstep. Pure.

use std::time::Duration;

use bytes::Bytes;

use crate::{BitsPerSecond, Error, MediaSequence, PartIndex, RenditionId, Sample, Slot, Timestamp, Track, TrackConfig};

/// How long segments and parts should be.
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
    /// Its name.
    pub rendition: RenditionId,
    /// What it carries.
    pub track: TrackConfig,
    /// Configured maximum of the encoder: stated as the peak until the first segment was measured.
    pub bandwidth_peak: BitsPerSecond,
    /// Target of the encoder: stated as the mean until the first segment was measured.
    pub bandwidth_mean: BitsPerSecond,
}

/// One step of all renditions: what one seal lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Presentation time of its start on the session's timeline: the same instant in all renditions.
    pub start: Timestamp,
    /// Presentation time of its end: the start of the next row.
    pub end: Timestamp,
    /// Segment that it belongs to.
    pub msn: MediaSequence,
    /// Its part within the segment.
    pub part: PartIndex,
    /// Whether it is the last of its segment; then `objects` has the segments too.
    pub completes_segment: bool,
    /// Checkpoint: all renditions with the bandwidth measured so far, sorted by name. In the first row and in those that
    /// complete a segment, otherwise empty.
    pub tracks: Vec<Track>,
    /// The media objects, sorted by rendition, then slot: one part for every rendition, and one segment where one completes.
    pub objects: Vec<MediaObject>,
}

/// A media object, before it is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaObject {
    /// Rendition.
    pub rendition: RenditionId,
    /// Part or segment, and its place.
    pub slot: Slot,
    /// Presentation time of the start of the row, or, for a segment, of its first row.
    pub start: Timestamp,
    /// Decode time of the first sample (`tfdt`), in the rendition's timescale; of a gap: `start` in that timescale.
    pub decode_time: Timestamp,
    /// Sum of sample durations in the rendition's timescale, positive; of a gap: that of the row or segment.
    pub duration: Timestamp,
    /// Starts with a sync sample. Always true for audio, false for a gap.
    pub independent: bool,
    /// There are no bytes. A segment is a gap when any of its parts is one.
    pub gap: bool,
    /// Length in bytes: for a segment the sum of its parts' lengths, 0 for a gap.
    pub length: u64,
    /// The bytes of a part. Empty for a segment, which is exactly its parts' bytes one after the other.
    pub bytes: Bytes,
}

/// A rendition that holds the others up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The rendition.
    pub rendition: RenditionId,
    /// How far its newest sample is behind the newest of all.
    pub behind: Duration,
}

/// Cuts all renditions of one session at the same presentation times.
#[derive(Debug)]
pub struct Segmenter {}

impl Segmenter {
    /// A segmenter whose first segment is `first_msn`. Errors when there is no rendition, a name twice, or a target that is
    /// zero or not `part <= segment`.
    pub fn new(_targets: Targets, _first_msn: MediaSequence, _renditions: Vec<RenditionConfig>) -> Result<Self, Error> {
        todo!()
    }

    /// Takes the next sample of a rendition, in decode order. Samples of a shed rendition are dropped.
    pub fn push(&mut self, _rendition: &RenditionId, _sample: Sample) -> Result<(), Error> {
        todo!()
    }

    /// Gives a rendition up: from the next row on it has gaps.
    pub fn shed(&mut self, _rendition: &RenditionId) {
        todo!()
    }

    /// The next row that is complete. Call until `None` after each push.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        todo!()
    }

    /// The end of the session: all rows that are left; the last one completes its segment.
    pub fn finish(&mut self) -> Result<Vec<Row>, Error> {
        todo!()
    }

    /// The rendition that is furthest behind, when it is behind by more than [`LAG_MAX`].
    pub fn lagging(&self) -> Option<Lag> {
        todo!()
    }

    /// The segment that the next part opens or continues.
    pub fn next_msn(&self) -> MediaSequence {
        todo!()
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        todo!()
    }
}

/// A rendition further behind than this is reported by [`Segmenter::lagging`]: it would keep all others from being live.
pub const LAG_MAX: Duration = Duration::from_secs(2);
