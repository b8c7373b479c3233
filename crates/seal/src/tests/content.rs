//! The rules for one seal on its own, each broken once.

use media::{
    Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, PartIndex, Slot, Timestamp, UnixMillis,
};

use super::author::{Author, KEY, keyring, now, stream};
use crate::limits::{
    COUNTER_MAX, IMAGE_BYTES_MAX, INIT_BYTES_MAX, OBJECT_BYTES_MAX, OBJECTS_MAX, PART_BYTES_MAX, PARTS_MAX,
    RENDITIONS_MAX, SEAL_BYTES_MAX,
};
use crate::{Error, Freshness, Object, RefusalReason, SealBody, SealKind, cose, encode_body, sign_seal};

/// An author refuses to sign the body, and a node refuses it from an author who does.
#[track_caller]
fn refused_as(what: &str, body: &SealBody, reason: RefusalReason) {
    match sign_seal(body, &*KEY) {
        Err(Error::Content(refusal)) => assert_eq!(refusal.reason, reason, "{what}: {refusal}"),
        other => panic!("{what}: signed: {other:?}"),
    }
    let bytes = cose::seal(&encode_body(body), &*KEY, SEAL_BYTES_MAX).unwrap();
    let refusal = keyring().verify(&bytes.into(), &stream(), now(0).wall, Freshness::Live).unwrap_err();
    assert_eq!(refusal.reason, reason, "{what}: {refusal}");
}

type Break = (&'static str, fn(&mut SealBody));

#[track_caller]
fn implausible(rules: &[Break], body: &SealBody) {
    for (what, break_rule) in rules {
        let mut body = body.clone();
        break_rule(&mut body);
        refused_as(what, &body, RefusalReason::Implausible);
    }
}

fn part(body: &mut SealBody) -> &mut Object {
    body.objects.iter_mut().find(|object| matches!(object.slot, Slot::Part { .. })).unwrap()
}

fn segment(body: &mut SealBody) -> &mut Object {
    body.objects.iter_mut().find(|object| matches!(object.slot, Slot::Segment { .. })).unwrap()
}

fn opening() -> SealBody {
    Author::new().next_body()
}

fn middle() -> SealBody {
    let mut author = Author::new();
    author.row();
    author.next_body()
}

fn completing() -> SealBody {
    let mut author = Author::new();
    author.rows(3);
    author.next_body()
}

#[test]
fn good_bodies_are_signed() {
    for body in [opening(), middle(), completing()] {
        sign_seal(&body, &*KEY).unwrap();
    }
    let mut author = Author::new();
    author.rows(2);
    assert_eq!(author.end().body().next_msn, MediaSequence(1), "the end closes the open segment");
}

#[test]
fn numbers_that_cannot_be_are_implausible() {
    implausible(
        &[
            ("MSN jump of 10^9", |body| {
                body.next_msn = MediaSequence(1_000_000_000);
                body.objects.iter_mut().for_each(|object| {
                    if let Slot::Part { msn, .. } = &mut object.slot {
                        *msn = MediaSequence(1_000_000_000);
                    }
                });
            }),
            ("next_msn that its row does not lead to", |body| body.next_msn = MediaSequence(1)),
            ("next_msn that goes back", |body| {
                part(body).slot = Slot::Part { msn: MediaSequence(1), part: PartIndex(1) }
            }),
            ("epoch over 2^53", |body| body.epoch = Epoch(COUNTER_MAX + 1)),
            ("sequence over 2^53", |body| body.sequence = LogSequence(u64::MAX)),
            ("more discontinuities than seals", |body| body.discontinuity = DiscontinuitySequence(2)),
            ("first of a log with one before it", |body| body.sequence = LogSequence(0)),
            ("none before it in the middle of a log", |body| body.previous = Digest::NONE),
            ("part index at the limit", |body| {
                body.objects.iter_mut().for_each(|object| {
                    object.slot = Slot::Part { msn: MediaSequence(0), part: PartIndex(PARTS_MAX) };
                });
            }),
            ("duration 0", |body| part(body).duration.ticks = 0),
            ("negative duration", |body| part(body).duration.ticks = -1),
            ("duration of 10^12", |body| part(body).duration.ticks = 1_000_000_000_000),
            ("duration of a minute", |body| part(body).duration.ticks = 60 * 90_000),
            ("decode time before zero", |body| part(body).decode_time.ticks = -1),
            ("decode time far off", |body| part(body).decode_time.ticks += 90_000 * 61),
            ("decode time 10^18 off", |body| part(body).decode_time.ticks = i64::MAX),
            ("no bytes, and no gap", |body| part(body).length = 0),
            ("length over the limit", |body| part(body).length = PART_BYTES_MAX + 1),
            ("no digest, and no gap", |body| part(body).digest = Digest::NONE),
            ("no init segment, and no gap", |body| part(body).init = Digest::NONE),
            ("a gap with bytes", |body| part(body).gap = true),
            ("two timescales", |body| {
                let millis = media::Timescale::MILLIS;
                part(body).duration = Timestamp::new(500, millis);
            }),
            ("start that differs between renditions", |body| part(body).start.ticks += 1),
        ],
        &middle(),
    );
}

#[test]
fn wall_clock_of_the_media_is_near_when_it_was_sealed() {
    for (what, origin) in [("1970", 0), ("the far future", i64::MAX), ("the far past", i64::MIN)] {
        let mut body = middle();
        body.origin = UnixMillis(origin);
        // Signing has no clock, so it cannot refuse this.
        let sealed = sign_seal(&body, &*KEY).unwrap();
        let refusal = keyring().verify(sealed.raw(), &stream(), now(0).wall, Freshness::Live).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Implausible, "{what}");
    }
}

#[test]
fn renditions_advance_alike() {
    implausible(
        &[
            ("a part of another place", |body| {
                part(body).slot = Slot::Part { msn: MediaSequence(0), part: PartIndex(2) }
            }),
            ("a segment of one rendition only", |body| {
                body.objects.retain(|o| o.rendition.as_str() == "audio" || !matches!(o.slot, Slot::Segment { .. }));
            }),
            ("segments without parts", |body| body.objects.retain(|o| matches!(o.slot, Slot::Segment { .. }))),
            ("segment of another number", |body| segment(body).slot = Slot::Segment { msn: MediaSequence(1) }),
            ("segment that starts apart", |body| segment(body).start.ticks += 1),
            ("segment with too many bytes", |body| segment(body).length = OBJECT_BYTES_MAX + 1),
            ("segment that is too long", |body| segment(body).duration.ticks = 90_000 * 61),
            ("segment with bytes of a gap", |body| {
                let part = part(body);
                (part.gap, part.length, part.digest, part.sync_length) = (true, 0, Digest::NONE, None);
            }),
            ("completes a segment without a checkpoint", |body| body.checkpoint.clear()),
            ("a rendition that the checkpoint does not list", |body| drop(body.checkpoint.pop())),
            ("a rendition that the row does not list", |body| {
                body.objects.retain(|o| o.rendition.as_str() != "audio");
            }),
            ("another init segment than stated", |body| body.checkpoint[0].init = Digest([1; 32])),
            ("another timescale than stated", |body| body.checkpoint[0].track.timescale = media::Timescale::MILLIS),
        ],
        &completing(),
    );
    implausible(
        &[
            ("nothing at all", |body| body.objects.clear()),
            ("a checkpoint where none belongs", |body| body.checkpoint = completing().checkpoint),
        ],
        &middle(),
    );
}

#[test]
fn epoch_opens_with_everything_that_a_viewer_needs() {
    implausible(
        &[
            ("init segments only", |body| body.objects.retain(|o| o.slot == Slot::Init)),
            ("no init segments", |body| body.objects.retain(|o| o.slot != Slot::Init)),
            ("one init segment missing", |body| drop(body.objects.remove(0))),
            ("no checkpoint", |body| body.checkpoint.clear()),
            ("init segment that needs another", |body| body.objects[0].init = Digest([1; 32])),
            ("init segment that is not the one stated", |body| {
                (body.objects[0].init, body.objects[0].digest) = (Digest([1; 32]), Digest([1; 32]));
            }),
            ("init segment of another length than stated", |body| body.objects[0].length += 1),
            ("init segment that is too long", |body| {
                body.objects[0].length = INIT_BYTES_MAX + 1;
                body.checkpoint[0].init_length = INIT_BYTES_MAX + 1;
            }),
            ("init segment with a time", |body| body.objects[0].duration.ticks = 1),
            ("first part is not part 0", |body| {
                body.objects.iter_mut().for_each(|object| {
                    if let Slot::Part { part, .. } = &mut object.slot {
                        *part = PartIndex(1);
                    }
                });
            }),
            ("codec that would leave its quotes", |body| body.checkpoint[0].track.codec = "avc1\",X=\"".to_owned()),
            ("codec with a line break", |body| body.checkpoint[0].track.codec = "avc1\n#EXT".to_owned()),
            ("no codec", |body| body.checkpoint[0].track.codec = String::new()),
            ("no picture", |body| {
                body.checkpoint[0].track.format = Format::Video { width: 0, height: 1, frame_rate_millihertz: 1 };
            }),
            ("9 channels", |body| {
                body.checkpoint[0].track.format = Format::Audio { sample_rate_hz: 48_000, channels: 9 };
            }),
        ],
        &opening(),
    );
}

#[test]
fn every_number_of_a_checkpoint_is_bounded() {
    implausible(
        &[
            ("init segment without a digest", |body| {
                body.checkpoint[0].init = Digest::NONE;
                body.objects.iter_mut().filter(|object| object.rendition.as_str() == "1080p").for_each(|object| {
                    (object.gap, object.length, object.digest, object.sync_length) = (true, 0, Digest::NONE, None);
                });
            }),
            ("init segment of no bytes", |body| body.checkpoint[0].init_length = 0),
            ("init segment of 10 MB", |body| body.checkpoint[0].init_length = 10_000_000),
            ("bandwidth", |body| body.checkpoint[0].track.bandwidth_peak.0 = u64::MAX),
            ("mean bandwidth", |body| body.checkpoint[0].track.bandwidth_mean.0 = u64::MAX),
            ("frame rate", |body| {
                let format = Format::Video { width: 1, height: 1, frame_rate_millihertz: 1_000_001 };
                body.checkpoint[0].track.format = format;
            }),
            ("sample rate 0", |body| {
                body.checkpoint[0].track.format = Format::Audio { sample_rate_hz: 0, channels: 2 };
            }),
            ("sample rate of 10^9", |body| {
                body.checkpoint[0].track.format = Format::Audio { sample_rate_hz: 1_000_000_000, channels: 2 };
            }),
            ("segment that starts after its last part", |body| {
                body.objects.iter_mut().for_each(|object| {
                    if matches!(object.slot, Slot::Segment { .. }) {
                        object.start.ticks += 10 * i64::from(object.start.timescale.get());
                    }
                });
            }),
        ],
        &completing(),
    );
}

#[test]
fn more_renditions_than_a_ladder_has_are_refused() {
    let mut body = completing();
    let (part, segment) = (body.objects[0].clone(), body.objects[1].clone());
    let stated = body.checkpoint[0].clone();
    body.objects.clear();
    body.checkpoint.clear();
    for n in 0..=RENDITIONS_MAX {
        let rendition = media::RenditionId::new(&format!("r{n:02}")).unwrap();
        body.objects.push(Object { rendition: rendition.clone(), ..part.clone() });
        body.objects.push(Object { rendition: rendition.clone(), ..segment.clone() });
        let mut stated = stated.clone();
        stated.track.rendition = rendition;
        body.checkpoint.push(stated);
    }
    match sign_seal(&body, &*KEY) {
        Err(Error::Content(refusal)) => assert_eq!(refusal.reason, RefusalReason::Implausible),
        other => panic!("{other:?}"),
    }
    // A verifier does not even read the list.
    assert_eq!(crate::decode_body(&encode_body(&body)).unwrap_err().reason, RefusalReason::Malformed);
    body.checkpoint.pop();
    body.objects.truncate(2 * RENDITIONS_MAX);
    sign_seal(&body, &*KEY).unwrap();

    // Rows that complete no segment have no checkpoint that would bound them.
    let mut many = middle();
    let part = many.objects[0].clone();
    let rendition = |n: usize| media::RenditionId::new(&format!("r{n:03}")).unwrap();
    many.objects = (0..=OBJECTS_MAX).map(|n| Object { rendition: rendition(n), ..part.clone() }).collect();
    assert!(matches!(sign_seal(&many, &*KEY), Err(Error::Content(_))));
}

#[test]
fn end_has_whole_rows_or_nothing() {
    let mut inits_only = opening();
    inits_only.kind = SealKind::End;
    inits_only.objects.retain(|object| object.slot == Slot::Init);
    refused_as("init segments and no part", &inits_only, RefusalReason::Implausible);
    let mut segments_only = completing();
    segments_only.kind = SealKind::End;
    segments_only.checkpoint.clear();
    segments_only.objects.retain(|object| matches!(object.slot, Slot::Segment { .. }));
    refused_as("segments and no part", &segments_only, RefusalReason::Implausible);
    let mut log_of_an_end = middle();
    log_of_an_end.kind = SealKind::End;
    log_of_an_end.next_msn = MediaSequence(0);
    log_of_an_end.objects.clear();
    (log_of_an_end.sequence, log_of_an_end.previous) = (LogSequence(0), Digest::NONE);
    refused_as("a log that begins with an end", &log_of_an_end, RefusalReason::Implausible);
}

#[test]
fn sync_sample_is_the_start_of_an_independent_part_of_a_picture() {
    implausible(
        &[
            ("of no bytes", |body| part(body).sync_length = Some(0)),
            ("longer than its part", |body| part(body).sync_length = Some(part(body).length + 1)),
            ("in a part that is not independent", |body| part(body).independent = false),
            ("in a gap", |body| {
                let part = part(body);
                (part.gap, part.length, part.digest) = (true, 0, Digest::NONE);
            }),
            ("of a segment", |body| segment(body).sync_length = Some(1)),
            ("of sound", |body| {
                let sound = body.objects.iter_mut().find(|o| o.rendition.as_str() == "audio").unwrap();
                assert!(matches!(sound.slot, Slot::Part { .. }));
                sound.sync_length = Some(1);
            }),
        ],
        &completing(),
    );
    implausible(&[("of an init segment", |body| body.objects[0].sync_length = Some(1))], &opening());
    for length in [None, Some(1), Some(100_000)] {
        let mut body = middle();
        part(&mut body).sync_length = length;
        sign_seal(&body, &*KEY).unwrap();
    }
}

/// A row that completes a segment, with an image of the second-lowest rendition.
fn with_image() -> SealBody {
    let mut body = completing();
    let at = body.objects.iter().rposition(|o| o.rendition.as_str() == "720p").unwrap();
    let whole = body.objects[at].clone();
    let Slot::Segment { msn } = whole.slot else { panic!("a segment") };
    let duration = Timestamp::zero(whole.duration.timescale);
    let slot = Slot::Image { msn };
    body.objects.insert(at + 1, Object { slot, duration, length: 9_000, init: Digest::NONE, ..whole });
    body
}

fn image(body: &mut SealBody) -> &mut Object {
    body.objects.iter_mut().find(|object| matches!(object.slot, Slot::Image { .. })).unwrap()
}

#[test]
fn image_is_of_a_segment_that_the_seal_completes() {
    let good = with_image();
    let sealed = sign_seal(&good, &*KEY).unwrap();
    assert_eq!(keyring().verify(sealed.raw(), &stream(), now(0).wall, Freshness::Live).unwrap().body(), &good);
    implausible(
        &[
            ("of another segment", |body| image(body).slot = Slot::Image { msn: MediaSequence(1) }),
            ("of another time", |body| image(body).start.ticks += 1),
            ("of another decode time", |body| image(body).decode_time.ticks += 1),
            ("that lasts", |body| image(body).duration.ticks = 1),
            ("in two timescales", |body| image(body).duration.timescale = media::Timescale::MILLIS),
            ("of no bytes", |body| image(body).length = 0),
            ("that is too long", |body| image(body).length = IMAGE_BYTES_MAX + 1),
            ("without a digest", |body| image(body).digest = Digest::NONE),
            ("that needs an init segment", |body| image(body).init = Digest([1; 32])),
            ("that is a gap", |body| {
                let image = image(body);
                (image.gap, image.length, image.digest) = (true, 0, Digest::NONE);
            }),
            ("that is not independent", |body| image(body).independent = false),
            ("with a sync sample", |body| image(body).sync_length = Some(1)),
            ("of a gap", |body| {
                let whole = body.objects.iter_mut().filter(|o| matches!(o.slot, Slot::Segment { .. }));
                for whole in whole.filter(|o| o.rendition.as_str() == "720p") {
                    (whole.gap, whole.length, whole.digest) = (true, 0, Digest::NONE);
                }
            }),
            ("of two renditions", |body| {
                let mut other = image(body).clone();
                other.rendition = media::RenditionId::new("480p").unwrap();
                let at = body.objects.iter().rposition(|o| o.rendition == other.rendition).unwrap();
                body.objects.insert(at + 1, other);
            }),
            ("of sound", |body| {
                let whole = body.objects.last().unwrap().clone();
                let duration = Timestamp::zero(whole.duration.timescale);
                body.objects.retain(|object| !matches!(object.slot, Slot::Image { .. }));
                body.objects.push(Object {
                    slot: Slot::Image { msn: MediaSequence(0) },
                    duration,
                    length: 1,
                    init: Digest::NONE,
                    ..whole
                });
            }),
        ],
        &good,
    );
    implausible(
        &[("of a segment that goes on", |body| {
            let part = body.objects[0].clone();
            let duration = Timestamp::zero(part.duration.timescale);
            let slot = Slot::Image { msn: MediaSequence(0) };
            let image = Object { slot, duration, length: 1, init: Digest::NONE, sync_length: None, ..part };
            body.objects.insert(1, image);
        })],
        &middle(),
    );
}

#[test]
fn order_and_uniqueness_are_part_of_the_encoding() {
    let mut unsorted = opening();
    unsorted.objects.swap(0, 1);
    refused_as("objects not sorted", &unsorted, RefusalReason::Malformed);
    let mut twice = opening();
    let again = twice.objects[1].clone();
    twice.objects.insert(1, again);
    refused_as("a slot twice", &twice, RefusalReason::Malformed);
    let mut renditions = opening();
    renditions.checkpoint.swap(0, 1);
    refused_as("renditions not sorted", &renditions, RefusalReason::Malformed);
    let mut two_parts = middle();
    let mut more = two_parts.objects[0].clone();
    more.slot = Slot::Part { msn: MediaSequence(0), part: PartIndex(2) };
    two_parts.objects.insert(1, more);
    refused_as("two parts of a rendition", &two_parts, RefusalReason::Implausible);
}

#[test]
fn gap_is_an_object_too() {
    let mut author = Author::new();
    author.row();
    let mut body = author.next_body();
    let object = part(&mut body);
    (object.gap, object.length, object.digest, object.independent) = (true, 0, Digest::NONE, false);
    object.sync_length = None;
    let sealed = author.sign(&body);
    keyring().verify(sealed.raw(), &stream(), now(0).wall, Freshness::Live).unwrap();
    let mut end = body;
    end.kind = SealKind::End;
    refused_as("an end that leaves its segment open", &end, RefusalReason::Implausible);
}
