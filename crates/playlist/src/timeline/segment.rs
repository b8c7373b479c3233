//! Segments, rows and parts as the timeline holds them. Pure data.

use media::{
    Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Timestamp, UnixMillis,
};
use seal::Object;

/// Identity of a segment. The media sequence number alone is not enough: a voided segment of an earlier epoch may have had the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    /// Epoch in which it was sealed.
    pub epoch: Epoch,
    pub msn: MediaSequence,
}

/// A segment of all renditions: they advance in lockstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub(crate) key: SegmentKey,
    pub(crate) origin: UnixMillis,
    pub(crate) discontinuity: DiscontinuitySequence,
    /// Whether EXT-X-DISCONTINUITY precedes it.
    pub(crate) after_break: bool,
    /// The checkpoint before it, from which a late joiner has to start to know the whole segment.
    pub(crate) checkpoint: LogSequence,
    /// Presentation time of its start.
    pub(crate) start: Timestamp,
    pub(crate) rows: Vec<Row>,
    pub(crate) closed: Option<Closed>,
}

/// The row of one seal: a part of every rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The seal that lists it.
    pub sequence: LogSequence,
    /// Its index within the segment.
    pub part: PartIndex,
    /// Presentation time of its start.
    pub start: Timestamp,
    /// The parts, sorted by rendition.
    pub parts: Vec<Part>,
}

/// A part of one rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub rendition: RenditionId,
    /// Presentation time of its first sample; for audio it may differ from the start of its row by up to a frame.
    pub start: Timestamp,
    /// Duration in the rendition's timescale.
    pub duration: Timestamp,
    /// The part starts with a sync sample.
    pub independent: bool,
    /// The part has no bytes.
    pub gap: bool,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// For video parts that begin with a sync sample: bytes from the start of the part to the end of that sample.
    pub sync_length: Option<u64>,
}

/// How a segment was completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The seal that completed it.
    pub(crate) by: LogSequence,
    /// Number of parts; 0 for a gap that stands for a missing segment ([`crate::Past`]).
    pub(crate) parts: u32,
    /// The segment in each rendition, sorted: as sealed, or the sum of its parts where the session broke off.
    pub(crate) wholes: Vec<Whole>,
}

/// A closed segment in one rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) rendition: RenditionId,
    /// Presentation time of its first sample.
    pub(crate) start: Timestamp,
    pub(crate) duration: Timestamp,
    pub(crate) gap: bool,
    /// Bytes from its start to the end of its first picture.
    pub(crate) sync_length: Option<u64>,
}

/// A duration in microseconds, rounded as the DURATION of a part is rendered.
pub(crate) fn micros(duration: Timestamp) -> u64 {
    let micros = duration.rescale(media::Timescale::new(1_000_000).expect("not zero")).ticks;
    u64::try_from(micros).unwrap_or(0)
}

/// How much EXTINF is shorter than its segment, in microseconds. It exceeds the rounding of EXTINF and of a browser's buffer (up to 1 µs
/// each, and as much for the offset between them), and is far less than an audio sample. After a change of rendition in the middle of a
/// segment, hls.js 1.7 adds durations up as floating point numbers. If a segment's end is then after the end of the buffer, hls.js takes
/// the segment for unfinished and loads nothing more.
const SHORT_MICROS: u64 = 4;

/// How much longer than its media DURATION of a part is, microseconds: more than it is rounded by, and far less than a sample of sound.
///
/// Shaka 5.2 places each part by the sum of the listed durations before it. When that place is 1 ms or more from the one that it gave its
/// source buffer, it aborts the buffer and sets a new offset. Then the browser drops a part that begins with no keyframe, and the picture
/// stands still until the next one. Shaka itself adds 1 ms to each negative offset, so with exact durations the error of a floating point
/// sum decides.
const LONG_MICROS: u64 = 2;

/// DURATION of a part that lasts `duration`, microseconds, at most the part target (RFC 8216bis 4.4.4.9).
pub(crate) fn part_micros(duration: Timestamp, part_target_ms: u32) -> u64 {
    micros(duration).saturating_add(LONG_MICROS).min(u64::from(part_target_ms).saturating_mul(1_000))
}

/// EXTINF of a segment of this duration, in microseconds. Clients add up EXTINF, so the window and the skip boundary count it too.
pub(crate) fn extinf_micros(duration: Timestamp) -> u64 {
    micros(duration).saturating_sub(SHORT_MICROS).max(1)
}

impl Segment {
    /// Its epoch and media sequence number.
    pub const fn key(&self) -> SegmentKey {
        self.key
    }

    pub(crate) const fn msn(&self) -> MediaSequence {
        self.key.msn
    }

    /// A copy without rows, as the playlist of a recording (DVR) keeps it, and as a gap in renditions for which `here` is false.
    #[must_use]
    pub fn kept(&self, here: impl Fn(&RenditionId) -> bool) -> Self {
        let mut kept = Self { rows: Vec::new(), ..self.clone() };
        for whole in kept.closed.iter_mut().flat_map(|closed| &mut closed.wholes) {
            whole.gap |= !here(&whole.rendition);
        }
        kept
    }

    /// Whether the segment is complete and so listed.
    pub const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Its rows so far, in order. Empty once the segment is so old that no epoch can void its seals.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Number of parts so far.
    pub fn parts(&self) -> u32 {
        let so_far = || u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.closed.as_ref().map_or_else(so_far, |closed| closed.parts)
    }

    /// Wall clock of its start, and so of its first picture.
    pub fn begins(&self) -> UnixMillis {
        self.origin.plus(self.start.as_duration())
    }

    /// Wall clock of its first sample in a rendition: all renditions map media timestamps to the same dates (RFC 8216bis 6.2.4).
    pub fn program_date_time(&self, rendition: &RenditionId) -> UnixMillis {
        self.origin.plus(self.summary(rendition).start.as_duration())
    }

    /// What a playlist states about the whole segment in a rendition.
    ///
    /// A rendition that its epoch does not have is a gap, as long as the epoch's first rendition.
    pub(crate) fn summary(&self, rendition: &RenditionId) -> Summary {
        let Some(closed) = &self.closed else {
            let gap = self.rows.iter().any(|row| row.find(rendition).is_none_or(|part| part.gap));
            let first = self.rows.first().and_then(|row| row.find(rendition));
            let (start, sync_length) = first.map_or((self.start, None), |part| (part.start, part.sync_length));
            return Summary { start, duration: self.length_in_parts(rendition), gap, sync_length };
        };
        let at = closed.wholes.binary_search_by(|whole| whole.rendition.cmp(rendition));
        match at.ok().and_then(|at| closed.wholes.get(at)) {
            Some(&Whole { start, duration, gap, sync_length, .. }) => Summary { start, duration, gap, sync_length },
            None => {
                let duration = closed.wholes.first().map_or(NO_TIME, |whole| whole.duration);
                Summary { start: self.start, duration, gap: true, sync_length: None }
            }
        }
    }

    /// Whether its epoch has the rendition.
    pub(crate) fn has(&self, rendition: &RenditionId) -> bool {
        self.renditions().any(|name| name == rendition)
    }

    /// The renditions of its epoch.
    pub(crate) fn renditions(&self) -> impl Iterator<Item = &RenditionId> {
        let wholes = self.closed.iter().flat_map(|closed| &closed.wholes).map(|whole| &whole.rendition);
        let open = self.rows.first().filter(|_| self.closed.is_none());
        wholes.chain(open.into_iter().flat_map(|row| &row.parts).map(|part| &part.rendition))
    }

    /// The summed duration of its parts in a rendition.
    fn length_in_parts(&self, rendition: &RenditionId) -> Timestamp {
        let mut parts = self.rows.iter().map(|row| row.duration(rendition));
        let first = parts.next().unwrap_or(NO_TIME);
        parts.fold(first, Timestamp::plus)
    }

    /// Its duration in its shortest rendition, in microseconds; 0 while it is open.
    pub(crate) fn shortest_micros(&self) -> u64 {
        let wholes = self.closed.iter().flat_map(|closed| &closed.wholes);
        wholes.map(|whole| micros(whole.duration)).min().unwrap_or(0)
    }

    /// Its EXTINF in its shortest rendition, in microseconds; 0 while it is open.
    pub(crate) fn shortest_extinf_micros(&self) -> u64 {
        let wholes = self.closed.iter().flat_map(|closed| &closed.wholes);
        wholes.map(|whole| extinf_micros(whole.duration)).min().unwrap_or(0)
    }

    /// Whether a seal after `sequence` closed it.
    pub(crate) fn is_closed_after(&self, sequence: LogSequence) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.by > sequence)
    }

    /// Closes it: as sealed, or, when the session broke off before a seal did, as the sum of its parts.
    pub(crate) fn close(&mut self, by: LogSequence, sealed: &[&Object]) {
        let summed_up = self.renditions().map(|rendition| {
            let Summary { start, duration, gap, sync_length } = self.summary(rendition);
            Whole { rendition: rendition.clone(), start, duration, gap, sync_length }
        });
        let mut wholes: Vec<Whole> = summed_up.collect();
        for whole in &mut wholes {
            // The sealed duration of a gap is that of its rows, which is rounded separately from the sum of the parts.
            if let Some(sealed) = sealed.iter().find(|sealed| sealed.rendition == whole.rendition) {
                (whole.duration, whole.gap) = (sealed.duration, sealed.gap);
            }
        }
        self.closed = Some(Closed { by, parts: self.parts(), wholes });
    }
}

const NO_TIME: Timestamp = Timestamp::zero(media::Timescale::MILLIS);

impl Row {
    /// The part of a rendition.
    pub fn find(&self, rendition: &RenditionId) -> Option<&Part> {
        self.parts.binary_search_by(|part| part.rendition.cmp(rendition)).ok().and_then(|at| self.parts.get(at))
    }

    /// Its duration in a rendition; its first rendition stands in for one that it does not have.
    pub(crate) fn duration(&self, rendition: &RenditionId) -> Timestamp {
        self.find(rendition).or_else(|| self.parts.first()).map_or(NO_TIME, |part| part.duration)
    }
}

/// What a playlist states about a segment in one rendition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) start: Timestamp,
    pub(crate) duration: Timestamp,
    pub(crate) gap: bool,
    pub(crate) sync_length: Option<u64>,
}
