//! Checks the content of one seal on its own, without the log before it. Pure.
//!
//! [`crate::Head::admits`] checks what depends on the previous seal: places, epochs, and times that continue.

use std::time::Duration;

use media::{Digest, Format, LogSequence, MediaSequence, PartIndex, Slot, Timestamp, Track, UnixMillis};

use crate::limits::{
    CATCH_UP_AGE_MAX, CLOCK_AHEAD_MAX, CODEC_BYTES_MAX, COUNTER_MAX, IMAGE_BYTES_MAX, INIT_BYTES_MAX, LIVE_AGE_MAX,
    OBJECT_BYTES_MAX, OBJECTS_MAX, ORIGIN_DRIFT_MAX, PART_BYTES_MAX, PART_DURATION_MAX, PARTS_MAX, PICTURE_SIDE_MAX,
    RENDITIONS_MAX, SAMPLE_RATE_HZ_MAX, SEGMENT_DURATION_MAX,
};
use crate::{Object, Refusal, Rendition, SealBody, SealKind};

/// The place of a row in the log's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) msn: MediaSequence,
    pub(crate) part: PartIndex,
    /// Presentation time of the start of the row.
    pub(crate) start: Timestamp,
    /// The row ends its segment.
    pub(crate) completes: bool,
}

/// The objects of one rendition in a seal.
#[derive(Debug, Default, Clone, Copy)]
struct Group<'a> {
    init: Option<&'a Object>,
    part: Option<&'a Object>,
    segment: Option<&'a Object>,
    image: Option<&'a Object>,
}

/// The row that a seal adds; `None` when it has no parts.
pub(crate) fn row(body: &SealBody) -> Option<Row> {
    let is_segment = |object: &Object| matches!(object.slot, Slot::Segment { .. });
    let completes = body.objects.iter().any(is_segment);
    body.objects.iter().find_map(|object| match object.slot {
        Slot::Part { msn, part } => Some(Row { msn, part, start: object.start, completes }),
        Slot::Init | Slot::Segment { .. } | Slot::Image { .. } => None,
    })
}

/// Whether the seal opens an epoch: only such seals list init segments.
pub(crate) fn opens_epoch(body: &SealBody) -> bool {
    body.objects.iter().any(|object| object.slot == Slot::Init)
}

fn ensure(holds: bool, why: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::implausible(why)) }
}

/// Checks everything that needs no clock. Refuses lists that are unsorted or have repeats as malformed, all else as implausible.
pub(crate) fn check(body: &SealBody) -> Result<(), Refusal> {
    counters(body)?;
    checkpoint(body)?;
    let groups = groups(body)?;
    let row = row(body);
    match row {
        Some(row) => {
            shape(&groups, row)?;
            ensure(row.part.0 < PARTS_MAX, "part index over the limit")?;
            let next = if row.completes || body.kind == SealKind::End { row.msn.next() } else { row.msn };
            ensure(body.next_msn == next, "next_msn does not follow from its own row")?;
        }
        None => {
            ensure(body.objects.is_empty(), "init segments or segments without parts")?;
            ensure(body.kind == SealKind::End, "a seal that adds no media and ends nothing")?;
        }
    }
    let opens = opens_epoch(body);
    ensure(!opens || row.is_some_and(|row| row.part == PartIndex(0)), "an epoch that does not open with part 0")?;
    ensure(body.sequence != LogSequence(0) || opens, "a log that does not begin with an epoch")?;
    let must_state = opens || row.is_some_and(|row| row.completes);
    ensure(
        must_state != body.checkpoint.is_empty(),
        "a checkpoint is where none belongs, or is missing where one does",
    )?;
    groups.iter().try_for_each(|group| match_checkpoint(body, group))?;
    body.objects.iter().try_for_each(object)
}

fn counters(body: &SealBody) -> Result<(), Refusal> {
    let SealBody { epoch, sequence, next_msn, discontinuity, .. } = body;
    let all = [epoch.0, sequence.0, next_msn.0, discontinuity.0];
    ensure(all.iter().all(|counter| *counter <= COUNTER_MAX), "a counter over 2^53 - 1")?;
    ensure((body.previous == Digest::NONE) == (sequence.0 == 0), "only the first seal of a log has none before it")?;
    // A seal ends at most one segment, and abandons at most one open segment.
    ensure(next_msn.0 <= sequence.next().0.saturating_mul(2), "more segments than seals can have ended")?;
    ensure(discontinuity.0 <= sequence.0, "more discontinuities than seals")
}

fn checkpoint(body: &SealBody) -> Result<(), Refusal> {
    let names = || body.checkpoint.iter().map(|rendition| &rendition.track.rendition);
    ensure(body.checkpoint.len() <= RENDITIONS_MAX, "too many renditions")?;
    if !names().is_sorted_by(|a, b| a < b) {
        return Err(Refusal::malformed("renditions are not sorted, or one is named twice"));
    }
    body.checkpoint.iter().try_for_each(|rendition| {
        track(&rendition.track)?;
        ensure(rendition.init != Digest::NONE, "rendition without an init segment")?;
        ensure((1..=INIT_BYTES_MAX).contains(&rendition.init_length), "init segment is empty or too long")
    })
}

fn track(track: &Track) -> Result<(), Refusal> {
    // The codec string goes into a quoted attribute of a playlist (RFC 6381; RFC 8216bis, 4.4.6.2).
    let codec_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let codec = &track.codec;
    ensure(!codec.is_empty() && codec.len() <= CODEC_BYTES_MAX && codec.bytes().all(codec_ok), "not a codec string")?;
    let rates = [track.bandwidth_peak.0, track.bandwidth_mean.0];
    ensure(rates.iter().all(|rate| *rate <= COUNTER_MAX), "bandwidth over 2^53 - 1")?;
    match track.format {
        Format::Video { width, height, frame_rate_millihertz } => {
            let side = 1..=PICTURE_SIDE_MAX;
            ensure(side.contains(&width) && side.contains(&height), "picture size out of range")?;
            ensure(frame_rate_millihertz <= 1_000_000, "more than 1000 frames a second")
        }
        Format::Audio { sample_rate_hz, channels } => {
            ensure((1..=SAMPLE_RATE_HZ_MAX).contains(&sample_rate_hz), "sample rate out of range")?;
            ensure((1..=8).contains(&channels), "0 or more than 8 channels")
        }
    }
}

/// The objects by rendition. Refuses unsorted objects, and slots that occur twice.
fn groups(body: &SealBody) -> Result<Vec<Group<'_>>, Refusal> {
    ensure(body.objects.len() <= OBJECTS_MAX, "too many objects")?;
    if !body.objects.is_sorted_by(|a, b| (&a.rendition, a.slot) < (&b.rendition, b.slot)) {
        return Err(Refusal::malformed("objects are not sorted, or a slot is stated twice"));
    }
    let by_rendition = body.objects.chunk_by(|a, b| a.rendition == b.rendition);
    by_rendition
        .map(|objects| {
            let mut group = Group::default();
            for object in objects {
                let place = match object.slot {
                    Slot::Init => &mut group.init,
                    Slot::Part { .. } => &mut group.part,
                    Slot::Segment { .. } => &mut group.segment,
                    Slot::Image { .. } => &mut group.image,
                };
                ensure(
                    place.replace(object).is_none(),
                    "more than one part, segment or image of a rendition in a row",
                )?;
            }
            Ok(group)
        })
        .collect()
}

/// Checks that all renditions advance by the same step.
fn shape(groups: &[Group<'_>], row: Row) -> Result<(), Refusal> {
    let opens = groups.first().is_some_and(|group| group.init.is_some());
    let segment_start = groups.iter().find_map(|group| group.segment).map(|segment| segment.start);
    let alike = groups.iter().all(|group| {
        let part_slot = Slot::Part { msn: row.msn, part: row.part };
        let part_ok = group.part.is_some_and(|part| part.slot == part_slot && part.start == row.start);
        let segment_ok = match group.segment {
            Some(segment) => segment.slot == Slot::Segment { msn: row.msn } && Some(segment.start) == segment_start,
            None => !row.completes,
        };
        part_ok && segment_ok && group.init.is_some() == opens
    });
    ensure(alike, "renditions do not advance by the same step")?;
    ensure(segment_start.is_none_or(|start| start <= row.start), "segment that starts after its last part")?;
    let gap_kept = groups.iter().all(|group| match (group.part, group.segment) {
        (Some(part), Some(segment)) => segment.gap || !part.gap,
        _ => true,
    });
    ensure(gap_kept, "segment with bytes, although a part has none")?;
    image(groups)
}

/// Checks that there is at most one image, of a segment that the seal completes and that is not a gap.
fn image(groups: &[Group<'_>]) -> Result<(), Refusal> {
    let mut images = groups.iter().filter_map(|group| group.image.map(|image| (image, group.segment)));
    let Some((image, segment)) = images.next() else { return Ok(()) };
    ensure(images.next().is_none(), "more than one image")?;
    let of_segment = segment.is_some_and(|segment| {
        let same_place =
            matches!((image.slot, segment.slot), (Slot::Image { msn: a }, Slot::Segment { msn: b }) if a == b);
        same_place && !segment.gap && (image.start, image.decode_time) == (segment.start, segment.decode_time)
    });
    ensure(of_segment, "image without the segment that it shows, or of another time")
}

/// Checks that a checkpoint, if there is one, lists exactly the renditions of the row, with the timescale and init segment they use.
fn match_checkpoint(body: &SealBody, group: &Group<'_>) -> Result<(), Refusal> {
    if body.checkpoint.is_empty() {
        return Ok(());
    }
    let parts = body.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. })).count();
    ensure(parts == body.checkpoint.len(), "checkpoint and row have different renditions")?;
    let Some(name) = group.part.map(|part| &part.rendition) else { return Ok(()) };
    let found = body.checkpoint.binary_search_by(|rendition| rendition.track.rendition.cmp(name));
    let rendition: Option<&Rendition> = found.ok().and_then(|index| body.checkpoint.get(index));
    let Some(rendition) = rendition else {
        return Err(Refusal::implausible("checkpoint and row have different renditions"));
    };
    for object in [group.part, group.segment].into_iter().flatten() {
        let init_ok = object.init == rendition.init || object.gap;
        ensure(init_ok && timescale_ok(object, rendition), "object of another init segment or timescale than stated")?;
    }
    let same = |init: &Object| init.digest == rendition.init && init.length == rendition.init_length;
    ensure(group.init.is_none_or(same), "init segment is not the one that the checkpoint states")?;
    let picture = matches!(rendition.track.format, Format::Video { .. });
    let sync_ok = picture || group.part.is_none_or(|part| part.sync_length.is_none());
    ensure(sync_ok, "a sync sample's length where every sample is one")?;
    ensure(picture || group.image.is_none(), "an image of sound")
}

fn timescale_ok(object: &Object, rendition: &Rendition) -> bool {
    [object.decode_time, object.duration].iter().all(|time| time.timescale == rendition.track.timescale)
}

fn object(object: &Object) -> Result<(), Refusal> {
    let Object { start, decode_time, duration, independent, gap, length, digest, init, .. } = object;
    let is_image = matches!(object.slot, Slot::Image { .. });
    if *gap {
        ensure(*length == 0 && *digest == Digest::NONE, "a gap with bytes")?;
    } else {
        ensure(*digest != Digest::NONE && is_image == (*init == Digest::NONE), "no digest, and no gap")?;
    }
    if let Some(sync) = object.sync_length {
        let in_part = matches!(object.slot, Slot::Part { .. }) && object.independent && !gap;
        ensure(in_part, "a sync sample's length without a part that begins with one")?;
        ensure((1..=*length).contains(&sync), "a sync sample longer than its part, or of no bytes")?;
    }
    let (bytes_max, duration_max) = match object.slot {
        Slot::Init => {
            ensure(!gap && digest == init, "init segment that is a gap, or needs another")?;
            let zero = [start, decode_time, duration].iter().all(|time| time.ticks == 0);
            return ensure(zero && (1..=INIT_BYTES_MAX).contains(length), "init segment with a time or of no size");
        }
        Slot::Image { .. } => {
            let still = duration.ticks == 0 && duration.timescale == decode_time.timescale;
            ensure(!gap && *independent && still, "image that is a gap, or has a duration")?;
            return ensure((1..=IMAGE_BYTES_MAX).contains(length), "image of no bytes, or over the limit");
        }
        Slot::Part { .. } => (PART_BYTES_MAX, PART_DURATION_MAX),
        Slot::Segment { .. } => (OBJECT_BYTES_MAX, SEGMENT_DURATION_MAX),
    };
    ensure(*gap || (1..=bytes_max).contains(length), "length of 0 or over the limit")?;
    ensure(decode_time.timescale == duration.timescale, "duration and decode time in different timescales")?;
    ensure(duration.ticks > 0 && duration.as_duration() <= duration_max, "duration of 0, negative or over the limit")?;
    ensure(start.ticks >= 0 && decode_time.ticks >= 0, "time before the beginning")?;
    let apart = start.minus(*decode_time);
    let apart = apart.max(Timestamp::zero(apart.timescale).minus(apart));
    ensure(apart.as_duration() <= SEGMENT_DURATION_MAX, "decode time far from presentation time")
}

/// How a seal arrived, which limits its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Live from its author: at most [`crate::limits::LIVE_AGE_MAX`] old.
    Live,
    /// In catch-up, as part of a log: at most [`crate::limits::CATCH_UP_AGE_MAX`] old.
    CatchUp,
    /// From this node's own disk, where only admitted seals are written: as old as in catch-up, and of a key that was granted when it
    /// sealed, although it may be revoked now.
    Recorded,
}

/// Checks the time of issue against the clock, and against the wall clock that the seal gives its media.
pub(crate) fn check_time(body: &SealBody, now: UnixMillis, freshness: Freshness) -> Result<(), Refusal> {
    let issued = body.issued_at;
    let age_max = match freshness {
        Freshness::Live => LIVE_AGE_MAX,
        Freshness::CatchUp | Freshness::Recorded => CATCH_UP_AGE_MAX,
    };
    ensure(issued <= now.plus(CLOCK_AHEAD_MAX), "issued in the future")?;
    ensure(now.minus(age_max) <= issued, "issued too long ago")?;
    let Some(row) = row(body) else { return Ok(()) };
    let at = body.origin.plus(row.start.as_duration());
    let apart: Duration = at.since(issued).max(issued.since(at));
    ensure(apart <= ORIGIN_DRIFT_MAX, "wall clock of the media far from when it was sealed")
}
