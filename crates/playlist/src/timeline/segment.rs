//! What the timeline holds of a segment. Pure data.

use media::{
    Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Timestamp, UnixMillis,
};

/// What tells one segment from another: an epoch whose end was void may have used the same media sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    /// Epoch in which it was sealed.
    pub epoch: Epoch,
    /// Its media sequence number.
    pub msn: MediaSequence,
}

/// A segment of all renditions: they advance in lockstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub(crate) key: SegmentKey,
    pub(crate) origin: UnixMillis,
    pub(crate) discontinuity: DiscontinuitySequence,
    /// Whether the timeline breaks before it (EXT-X-DISCONTINUITY).
    pub(crate) after_break: bool,
    /// The checkpoint before it: where a late joiner has to start to know all about it.
    pub(crate) checkpoint: LogSequence,
    pub(crate) rows: Vec<Row>,
    pub(crate) closed: Option<Closed>,
}

/// One seal's worth of a segment: a part of every rendition.
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

/// A part, or the whole of a segment, of one rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Rendition.
    pub rendition: RenditionId,
    /// Duration in the rendition's timescale.
    pub duration: Timestamp,
    /// Starts with a sync sample.
    pub independent: bool,
    /// There are no bytes.
    pub gap: bool,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of the bytes.
    pub digest: Digest,
}

/// How a segment was completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The seal that did it.
    pub(crate) by: LogSequence,
    /// The segment as sealed, sorted by rendition; empty when the session broke off and the next epoch closed it.
    pub(crate) sealed: Vec<Part>,
}

impl Segment {
    /// Which one it is.
    pub const fn key(&self) -> SegmentKey {
        self.key
    }

    /// No part will be added any more, so that it is listed.
    pub const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Its rows so far, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Wall clock of its start: the same in all renditions.
    pub fn program_date_time(&self) -> UnixMillis {
        self.rows.first().map_or(self.origin, |row| self.origin.plus(row.start.as_duration()))
    }

    /// What the playlist says about it in one rendition: sealed, or summed up over its parts where the session broke off.
    ///
    /// A rendition that its epoch did not have is a gap, as long as the row is.
    pub(crate) fn summary(&self, rendition: &RenditionId) -> Summary {
        let sealed = self.closed.as_ref().and_then(|closed| find(&closed.sealed, rendition));
        if let Some(part) = sealed {
            return Summary { duration: part.duration, gap: part.gap };
        }
        let mut parts = self.rows.iter().filter_map(|row| find(&row.parts, rendition));
        if let Some(first) = parts.next() {
            let start = Summary { duration: first.duration, gap: first.gap };
            return parts.fold(start, |sum, part| Summary {
                duration: sum.duration.plus(part.duration),
                gap: sum.gap || part.gap,
            });
        }
        Summary { duration: self.any_duration(), gap: true }
    }

    pub(crate) fn has(&self, rendition: &RenditionId) -> bool {
        self.rows.first().is_some_and(|row| find(&row.parts, rendition).is_some())
    }

    /// Duration of its first rendition, which stands for those that it does not have.
    fn any_duration(&self) -> Timestamp {
        let first = self.rows.first().and_then(|row| row.parts.first());
        first.map_or(Timestamp::zero(media::Timescale::MILLIS), |part| self.summary(&part.rendition).duration)
    }
}

/// What a playlist needs of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) duration: Timestamp,
    pub(crate) gap: bool,
}

pub(crate) fn find<'a>(parts: &'a [Part], rendition: &RenditionId) -> Option<&'a Part> {
    parts.binary_search_by(|part| part.rendition.cmp(rendition)).ok().and_then(|at| parts.get(at))
}
