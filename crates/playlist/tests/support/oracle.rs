//! The answers to requests by 6.2.5.2 and 6.2.6, worked out from the text of a playlist.

use media::{Epoch, MediaSequence, PartIndex, Slot};
use playlist::reload::{Answer, Directives, Edge, Presence, TooFar};

use super::client::Playlist;

/// Checks that every request, near the end of the playlist and far from it, gets the answer that follows from the text.
pub(crate) fn check(edge: &Edge, playlist: &Playlist) {
    let last = playlist.last();
    let near = last.saturating_sub(2)..=last + 4;
    let segments: Vec<u64> = [0, playlist.msn, u64::MAX].into_iter().chain(near).collect();
    let parts = u32::try_from(playlist.end().1).unwrap();
    let parts: Vec<_> =
        (parts.saturating_sub(1)..parts + 8).chain([0, 1, 8, 63, u32::MAX]).map(Some).chain([None]).collect();
    for msn in segments {
        for part in parts.iter().copied() {
            let directives = directives(msn, part);
            assert_eq!(edge.answer(&directives), answer(playlist, msn, part), "{directives:?} of {:?}", playlist.end());
        }
    }
    assert_eq!(edge.answer(&Directives::default()), Answer::Now);
    assert_eq!(edge.is_ended(), playlist.ended);
    objects(edge, playlist);
}

pub(crate) fn directives(msn: u64, part: Option<u32>) -> Directives {
    Directives { msn: Some(MediaSequence(msn)), part: part.map(PartIndex), ..Directives::default() }
}

pub(crate) fn answer(playlist: &Playlist, msn: u64, part: Option<u32>) -> Answer {
    if playlist.ended || contains(playlist, msn, part) {
        return Answer::Now;
    }
    if msn > playlist.last() + 2 {
        return Answer::Refuse(TooFar::Segment);
    }
    let Some(part) = part else { return Answer::Wait };
    let (open, parts) = playlist.end();
    // A part past the last of a complete segment is part 0 of the next one.
    let (msn, part) = if msn < open { (msn + 1, 0) } else { (msn, i64::from(part)) };
    // Counted from the last part in the playlist, which is -1 in a segment that has none yet.
    let ahead = if msn == open { part - (i64::try_from(parts).unwrap() - 1) } else { part + 1 };
    let limit = if playlist.part_target < 1_000_000 { 3_000_000.0 / playlist.part_target as f64 } else { 3.0 };
    if ahead as f64 > limit { Answer::Refuse(TooFar::Part) } else { Answer::Wait }
}

fn contains(playlist: &Playlist, msn: u64, part: Option<u32>) -> bool {
    let Some(part) = part else { return msn <= playlist.last() };
    let (open, parts) = playlist.end();
    if msn == open {
        return (part as usize) < parts;
    }
    // All segments except the last complete one have others after them.
    msn < playlist.last()
        || (msn == playlist.last()
            && (parts > 0 || (part as usize) < playlist.segments.last().expect("it is there").parts.len()))
}

fn objects(edge: &Edge, playlist: &Playlist) {
    let ask = |uri: &str| {
        let (epoch, slot) = uri.split_once('/').unwrap();
        edge.object(Epoch(epoch.parse().unwrap()), Slot::parse(slot).unwrap())
    };
    for (_, segment) in playlist.places() {
        let parts = segment.parts.iter().map(|part| &part.uri);
        for uri in parts.chain(&segment.map).chain(Some(&segment.uri).filter(|uri| !uri.is_empty())) {
            assert_eq!(ask(uri), Presence::Now, "{uri} is listed");
        }
    }
    for (_, uri) in &playlist.hints {
        assert_eq!(ask(uri), Presence::Wait, "{uri} is hinted");
    }
    let (msn, parts) = playlist.end();
    let newest = playlist.open.as_ref().or(playlist.segments.last()).expect("it lists something");
    let uri = newest.parts.first().map_or(&newest.uri, |part| &part.uri);
    let epoch = uri.split_once('/').unwrap().0.parse::<u64>().unwrap();
    // The playlist of a rendition without further parts has no hints; those of other renditions have.
    if playlist.hints.is_empty() && !playlist.ended {
        return;
    }
    let limit = (3_000_000 / playlist.part_target.min(1_000_000)) as usize;
    let near = if playlist.ended { Presence::Never } else { Presence::Wait };
    for (uri, expected) in [
        (format!("{epoch}/{msn}.{}.m4s", parts + 1), near),
        (format!("{epoch}/{msn}.m4s"), near),
        (format!("{epoch}/{}.jpg", msn + 1), near),
        (format!("{}/init.mp4", epoch + 1), near),
        (format!("{}/{}.0.m4s", epoch + 1, msn + 1), near),
        (format!("{epoch}/{msn}.{}.m4s", parts + limit), Presence::Never),
        (format!("{epoch}/{msn}.{}.m4s", u32::MAX), Presence::Never),
        (format!("{epoch}/{}.m4s", msn + 2), Presence::Never),
        (format!("{}/init.mp4", epoch + 2), Presence::Never),
    ] {
        assert_eq!(ask(&uri), expected, "{uri} is not listed");
    }
}
