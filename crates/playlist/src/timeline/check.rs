//! Checks a seal against the timeline so far: valid playlists must be renderable from it. Pure.

use media::{Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Slot, Timescale, Timestamp};
use seal::limits::PARTS_MAX;
use seal::{Object, SealBody, SealKind};

use super::{Settings, Timeline};

/// How a seal contradicts the log before it, or itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The seal is not the next one.
    #[error("seal {found} does not follow seal {head}")]
    Sequence {
        /// Newest seal applied.
        head: LogSequence,
        /// The seal given.
        found: LogSequence,
    },
    /// An epoch opens without stating its renditions or goes back, or a seal continues an ended one.
    #[error("epoch {epoch} opens at seal {sequence} without a checkpoint, or goes back")]
    Epoch {
        epoch: Epoch,
        /// Place of the seal in the log.
        sequence: LogSequence,
    },
    /// The parts or segments do not cover all renditions at one place.
    #[error("seal {sequence} does not advance all renditions alike (RFC 8216bis 6.2.4)")]
    Row {
        /// Place of the seal in the log.
        sequence: LogSequence,
    },
    /// The seal lists another part than the next one, or one beyond [`PARTS_MAX`].
    #[error("seal {sequence} lists {msn}.{part} where {expected_msn}.{expected_part} comes next (RFC 8216bis 6.2.1)")]
    Place {
        /// Place of the seal in the log.
        sequence: LogSequence,
        /// Segment that it lists.
        msn: MediaSequence,
        /// Part that it lists.
        part: PartIndex,
        expected_msn: MediaSequence,
        expected_part: PartIndex,
    },
    /// A segment does not start with a sync sample (EXT-X-INDEPENDENT-SEGMENTS).
    #[error("segment {msn} of {rendition} does not start with a sync sample")]
    Independent {
        msn: MediaSequence,
        /// The first rendition where this was found.
        rendition: RenditionId,
    },
    /// A segment is longer than EXT-X-TARGETDURATION allows (RFC 8216bis 4.4.3.1).
    #[error("segment {msn} of {rendition} is longer than the target duration of {target_duration_s} s")]
    Duration {
        msn: MediaSequence,
        /// The first rendition where this was found.
        rendition: RenditionId,
        /// EXT-X-TARGETDURATION, as configured.
        target_duration_s: u32,
    },
    /// A part is longer than PART-TARGET (RFC 8216bis 4.4.4.9).
    #[error("part {msn}.{part} of {rendition} is longer than the part target of {part_target_ms} ms")]
    PartDuration {
        msn: MediaSequence,
        part: PartIndex,
        /// The first rendition where this was found.
        rendition: RenditionId,
        /// PART-TARGET, as configured.
        part_target_ms: u32,
    },
    /// A segment is not the sum of its parts.
    #[error("segment {msn} of {rendition} is not the sum of its parts")]
    Sum {
        msn: MediaSequence,
        /// The first rendition where this was found.
        rendition: RenditionId,
    },
}

/// Media sequence number at which the epoch that `body` opens starts.
pub(super) fn first_msn(body: &SealBody) -> MediaSequence {
    let msn = body.objects.iter().find_map(|object| match object.slot {
        Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn } => Some(msn),
        Slot::Init => None,
    });
    msn.unwrap_or(body.next_msn)
}

pub(super) fn seal(timeline: &Timeline, body: &SealBody) -> Result<(), Contradiction> {
    let sequence = body.sequence;
    if let Some(head) = timeline.head.filter(|head| head.next() != sequence) {
        return Err(Contradiction::Sequence { head, found: sequence });
    }
    let newest = timeline.checkpoint();
    let opens = newest.is_none_or(|newest| newest.epoch < body.epoch);
    let goes_back = newest.is_some_and(|newest| newest.epoch > body.epoch);
    let ended = timeline.is_ended() && !opens;
    let segments = of_kind(body, |slot| matches!(slot, Slot::Segment { .. }));
    if goes_back || ended || (body.checkpoint.is_empty() && (opens || !segments.is_empty())) {
        return Err(Contradiction::Epoch { epoch: body.epoch, sequence });
    }
    let renditions = match newest.filter(|_| body.checkpoint.is_empty()) {
        Some(newest) => &newest.renditions,
        None => &body.checkpoint,
    };
    let names: Vec<&RenditionId> = renditions.iter().map(|rendition| &rendition.track.rendition).collect();
    let parts = of_kind(body, |slot| matches!(slot, Slot::Part { .. }));
    let alike = |objects: &[&Object]| {
        let same_place = objects
            .first()
            .is_none_or(|first| objects.iter().all(|object| (object.slot, object.start) == (first.slot, first.start)));
        same_place && objects.iter().map(|object| &object.rendition).eq(names.iter().copied())
    };
    // The renditions and their properties are constant within an epoch.
    let restated = newest.filter(|_| !opens).is_some_and(|newest| {
        !newest.renditions.iter().map(|rendition| &rendition.track.rendition).eq(names.iter().copied())
    });
    let partial = parts.is_empty() && (!segments.is_empty() || body.kind == SealKind::Media);
    if restated || partial || !(parts.is_empty() || alike(&parts)) || !(segments.is_empty() || alike(&segments)) {
        return Err(Contradiction::Row { sequence });
    }
    row(timeline, body, &parts)?;
    segments.iter().try_for_each(|segment| sum(timeline, body, segment, &parts))
}

fn of_kind(body: &SealBody, kind: impl Fn(Slot) -> bool) -> Vec<&Object> {
    body.objects.iter().filter(|object| kind(object.slot)).collect()
}

/// Checks that the parts come next, start segments with a sync sample, and keep the segment within the target duration.
fn row(timeline: &Timeline, body: &SealBody, parts: &[&Object]) -> Result<(), Contradiction> {
    let (expected_msn, expected_part) = timeline.expected(body.epoch);
    for object in parts {
        let Slot::Part { msn, part } = object.slot else { continue };
        let in_place = (msn, part) == (expected_msn, expected_part);
        if !in_place || part.0 >= PARTS_MAX {
            let sequence = body.sequence;
            return Err(Contradiction::Place { sequence, msn, part, expected_msn, expected_part });
        }
        if part == PartIndex(0) && !object.independent && !object.gap {
            return Err(Contradiction::Independent { msn, rendition: object.rendition.clone() });
        }
        let Settings { part_target_ms, .. } = timeline.settings;
        if object.duration > Timestamp::new(part_target_ms.into(), Timescale::MILLIS) {
            return Err(Contradiction::PartDuration { msn, part, rendition: object.rendition.clone(), part_target_ms });
        }
        let duration = before(timeline, body, object).duration.plus(object.duration);
        listable(timeline, object, duration)?;
    }
    Ok(())
}

/// Checks that the segment is not longer than the target duration (4.4.3.1).
fn listable(timeline: &Timeline, object: &Object, duration: Timestamp) -> Result<(), Contradiction> {
    let target_duration_s = timeline.settings.target_duration_s;
    let (Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn }) = object.slot else { return Ok(()) };
    if round_to_seconds(duration) <= i64::from(target_duration_s) {
        return Ok(());
    }
    Err(Contradiction::Duration { msn, rendition: object.rendition.clone(), target_duration_s })
}

/// Checks that a sealed segment is exactly its parts.
fn sum(timeline: &Timeline, body: &SealBody, segment: &Object, parts: &[&Object]) -> Result<(), Contradiction> {
    let Slot::Segment { msn } = segment.slot else { return Ok(()) };
    let wrong = || Contradiction::Sum { msn, rendition: segment.rendition.clone() };
    let part = parts.iter().find(|part| part.rendition == segment.rendition).ok_or_else(wrong)?;
    let Slot::Part { msn: part_msn, .. } = part.slot else { return Err(wrong()) };
    let before = before(timeline, body, part);
    let gap = before.gap || part.gap;
    let length = if gap { Some(0) } else { before.length.checked_add(part.length) };
    let same = segment.gap == gap && Some(segment.length) == length && part_msn == msn;
    // The sealed duration of a gap is that of its rows, which is rounded separately from the sum of the parts.
    let duration = before.duration.plus(part.duration);
    if gap {
        listable(timeline, segment, segment.duration)?;
    }
    if same && (gap || segment.duration == duration) { Ok(()) } else { Err(wrong()) }
}

struct Before {
    duration: Timestamp,
    length: u64,
    gap: bool,
}

/// What the open segment already has of the object's rendition.
fn before(timeline: &Timeline, body: &SealBody, object: &Object) -> Before {
    let nothing = Before { duration: Timestamp::zero(object.duration.timescale), length: 0, gap: false };
    let open = timeline.open().filter(|open| open.key.epoch == body.epoch);
    let rows = open.into_iter().flat_map(|open| &open.rows);
    rows.filter_map(|row| row.find(&object.rendition)).fold(nothing, |sum, part| Before {
        duration: sum.duration.plus(part.duration),
        length: sum.length.saturating_add(part.length),
        gap: sum.gap || part.gap,
    })
}

/// Rounds as the comparison of RFC 8216bis 4.4.3.1: to the nearest second, halves up.
fn round_to_seconds(duration: Timestamp) -> i64 {
    duration.rescale(Timescale::new(1).expect("not zero")).ticks
}
