//! Checks on a whole log and its bytes.

use std::process::Command;

use media::{Digest, MediaSequence, ObjectName, PartIndex, RenditionId, Slot};
use seal::{Head, SealKind, Sealed};

use crate::cluster::Cluster;
use crate::receiver::Receiver;

/// Checks that every seal follows the one before, within an epoch and from one epoch to the next, and names bytes that are there.
pub(crate) fn check(receiver: &Receiver) -> Vec<Sealed> {
    assert_eq!(receiver.refused(), Vec::<String>::new());
    let seals = receiver.seals();
    assert_eq!(seals[0].body().previous, Digest::NONE);
    assert_eq!(seals[0].body().sequence.0, 0);
    for pair in seals.windows(2) {
        let [before, after] = pair else { unreachable!() };
        Head::of(before).admits(after.body()).unwrap();
    }
    for sealed in &seals {
        assert!(receiver.complete(sealed), "seal {} names bytes that are not here", sealed.body().sequence);
    }
    seals
}

/// Media sequence numbers of the segments whose first part is in these seals, in order.
pub(crate) fn segments(seals: &[Sealed]) -> Vec<MediaSequence> {
    let objects = seals.iter().flat_map(|sealed| &sealed.body().objects);
    let mut all: Vec<_> = objects
        .filter_map(|object| match object.slot {
            Slot::Part { msn, part: PartIndex(0) } => Some(msn),
            _ => None,
        })
        .collect();
    all.dedup();
    all.sort();
    all.dedup();
    all
}

/// Names of the renditions of the log's first checkpoint.
pub(crate) fn renditions(seals: &[Sealed]) -> Vec<RenditionId> {
    let first = seals.iter().find(|sealed| !sealed.body().checkpoint.is_empty()).unwrap();
    first.body().checkpoint.iter().map(|rendition| rendition.track.rendition.clone()).collect()
}

/// Checks that ffmpeg decodes one rendition of one epoch (init segment and all parts) without a warning; returns the seconds of media.
pub(crate) fn decode(cluster: &Cluster, seals: &[Sealed], rendition: &RenditionId) -> f64 {
    let epoch = seals[0].body().epoch;
    let mut file = Vec::new();
    let (mut seconds, mut next_decode_time) = (0.0, None);
    for sealed in seals.iter().filter(|sealed| sealed.body().kind == SealKind::Media) {
        for object in sealed.body().objects.iter().filter(|object| object.rendition == *rendition && !object.gap) {
            assert_eq!(sealed.body().epoch, epoch);
            if matches!(object.slot, Slot::Segment { .. } | Slot::Image { .. }) {
                continue;
            }
            let name = ObjectName {
                stream: sealed.body().stream.clone(),
                rendition: rendition.clone(),
                epoch,
                slot: object.slot,
            };
            file.extend_from_slice(&cluster.receiver.object(&name).unwrap());
            if object.slot != Slot::Init {
                assert_eq!(next_decode_time.unwrap_or(object.decode_time), object.decode_time, "hole before {name}");
                next_decode_time = Some(object.decode_time.plus(object.duration));
                seconds += object.duration.as_seconds();
            }
        }
    }
    let path = cluster.file(&format!("{rendition}-{epoch}.mp4"));
    std::fs::write(&path, file).unwrap();
    let decoded = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "warning", "-xerror", "-i"])
        .arg(&path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&decoded.stderr);
    assert!(decoded.status.success() && said.is_empty(), "{rendition}: {said}");
    seconds
}
