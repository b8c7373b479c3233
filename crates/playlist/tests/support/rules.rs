//! The rules of RFC 8216bis for one playlist, for two in a row, and for all renditions at once.

use std::collections::BTreeMap;

use super::client::{Part, Playlist, Segment, seconds};

/// The rules for a playlist by itself.
pub(crate) fn alone(playlist: &Playlist) {
    let Playlist { target_s, part_target, segments, open, ended, .. } = playlist;
    header(playlist);
    assert!(!segments.is_empty(), "a playlist lists a complete segment");
    for segment in segments.iter().chain(open) {
        assert!((segment.micros + 500_000) / 1_000_000 <= *target_s, "4.4.3.1: {segment:?}");
        parts(segment, *part_target);
        let epoch = |uri: &str| uri.split_once('/').unwrap().0.to_owned();
        let uris = segment.parts.iter().map(|part| &part.uri);
        for uri in uris.chain(Some(&segment.uri).filter(|uri| !uri.is_empty())) {
            let map = segment.map.as_deref().expect("3.1.2: every segment has a MAP");
            assert_eq!(epoch(uri), epoch(map), "a MAP belongs to its epoch");
        }
    }
    parts_near_the_end(playlist);
    assert!(playlist.hints.len() <= 1 && playlist.hints.iter().all(|(kind, _)| kind == "PART"), "4.4.5.3: one hint");
    assert!(!ended || (playlist.hints.is_empty() && open.is_none()), "4.4.5.3: no hints after the end");
}

fn header(playlist: &Playlist) {
    let expected_version = match playlist.skipped {
        0 if is_i_frames(playlist) => 5,
        0 => 6,
        _ => 9,
    };
    assert_eq!(playlist.version, expected_version, "section 8");
    let target = playlist.target_s * 1_000_000;
    let control = |name: &str| seconds(&playlist.control[name]);
    assert_eq!(playlist.control["CAN-BLOCK-RELOAD"], "YES");
    assert!(control("CAN-SKIP-UNTIL") >= 6 * target && control("HOLD-BACK") >= 3 * target, "4.4.3.8");
    assert!(playlist.part_target == 0 || control("PART-HOLD-BACK") >= 3 * playlist.part_target, "4.4.3.8");
    assert_eq!(playlist.part_target == 0, is_i_frames(playlist), "4.4.3.7");
}

fn is_i_frames(playlist: &Playlist) -> bool {
    playlist.constants.iter().any(|line| line == "#EXT-X-I-FRAMES-ONLY")
}

fn parts(segment: &Segment, target: u64) {
    let Segment { parts, uri, micros, gap, .. } = segment;
    for (index, part) in parts.iter().enumerate() {
        assert!(part.micros <= target, "4.4.4.9: {part:?} is longer than the part target");
        let next = parts.get(index + 1);
        let excused = part.gap || part.independent || next.is_none_or(|next| next.gap);
        assert!(excused || part.micros * 100 >= target * 85, "4.4.4.9: {part:?} is shorter than 85 % of {target}");
    }
    if !parts.is_empty() && !uri.is_empty() {
        assert_eq!(*gap, parts.iter().any(|part| part.gap), "4.4.4.7: a segment with a gap is one: {segment:?}");
        let sum: u64 = parts.iter().map(|part| part.micros).sum();
        assert!(sum.abs_diff(*micros) <= tolerance(segment), "a segment is its parts: {segment:?}");
    }
}

/// How far a segment may be from the sum of its parts, in microseconds, because each is rounded and listed a little longer than its media. A
/// gap lasts as long as its row; the audio before and after it may last up to a frame more or less.
fn tolerance(segment: &Segment) -> u64 {
    if segment.gap { 25_000 * 12 } else { 6 + 3 * segment.parts.len() as u64 }
}

/// Playlists list parts only of segments that begin within three target durations of the end (4.4.4.9).
fn parts_near_the_end(playlist: &Playlist) {
    let limit = 3 * playlist.target_s * 1_000_000;
    let mut distance = open_length(playlist);
    for segment in playlist.segments.iter().rev() {
        let Segment { parts, micros, .. } = segment;
        distance += if parts.is_empty() { *micros } else { length(parts) };
        assert!(parts.is_empty() || distance <= limit + 20, "4.4.4.9: {segment:?} begins {distance} µs before the end");
    }
}

fn open_length(playlist: &Playlist) -> u64 {
    playlist.open.as_ref().map_or(0, |open| length(&open.parts))
}

fn length(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.micros).sum()
}

/// Segments near the end of a live playlist all have their parts.
pub(crate) fn parts_are_there(playlist: &Playlist) {
    let limit = 3 * playlist.target_s * 1_000_000;
    let (mut distance, mut apart) = (open_length(playlist), 20);
    for segment in playlist.segments.iter().rev() {
        if segment.parts.is_empty() {
            (distance, apart) = (distance + segment.micros, apart + tolerance(segment));
            assert!(distance + apart > limit, "parts of {segment:?} are missing {distance} µs before the end");
        } else {
            distance += length(&segment.parts);
        }
    }
}

/// The edits that 6.2.1 and 6.2.2 allow, between two playlists of one rendition.
pub(crate) fn follows(old: &Playlist, new: &Playlist) {
    assert_eq!(old.constants, new.constants, "6.2.1: header tags never change");
    if old.ended && new != old {
        assert!(new.msn > old.last(), "6.2.1: nothing changes after the end, until another stream takes the name");
        return;
    }
    assert!(new.msn >= old.msn && new.end() >= old.end(), "6.2.1: playlists only grow at the end");
    assert!(new.msn <= old.last() + 1, "6.2.2: nothing is left out");
    if new.msn > old.msn {
        let listed: u64 = new.segments.iter().map(|segment| segment.micros).sum();
        assert!(listed >= 3 * new.target_s * 1_000_000, "6.2.2: {listed} µs are left after a removal");
    }
    let now: BTreeMap<u64, (u64, &Segment)> = new.places().into_iter().map(|place| (place.1.msn, place)).collect();
    for (discontinuity, segment) in old.places() {
        if segment.msn < new.msn {
            continue;
        }
        let (now_discontinuity, now) = now[&segment.msn];
        assert_eq!(discontinuity, now_discontinuity, "6.2.2: EXT-X-DISCONTINUITY-SEQUENCE of segment {}", segment.msn);
        segment_follows(segment, now);
    }
    hints_hold(old, new);
}

fn segment_follows(old: &Segment, new: &Segment) {
    let tags = |segment: &Segment| (segment.breaks, segment.date.clone());
    assert_eq!(tags(old), tags(new), "6.2.1: tags of segment {} never change", old.msn);
    assert_eq!(old.map, new.map, "6.2.1: MAP of segment {} never changes, be it a gap", old.msn);
    let is_open = old.uri.is_empty();
    if is_open {
        assert!(new.parts.starts_with(&old.parts), "6.2.1: parts are only added: {old:?} {new:?}");
        return;
    }
    let whole = |segment: &Segment| Segment { parts: vec![], map: None, ..segment.clone() };
    assert_eq!(whole(old), whole(new), "6.2.1: a listed segment never changes");
    assert!(new.parts == old.parts || new.parts.is_empty(), "4.4.4.9: parts leave together: {old:?} {new:?}");
}

/// The hinted part is the next one, unless another epoch has begun instead (4.4.5.3).
fn hints_hold(old: &Playlist, new: &Playlist) {
    let Some((_, hinted)) = old.hints.first() else { return };
    let (msn, part) = old.end();
    let of = |msn: u64| new.places().into_iter().map(|(_, segment)| segment).find(move |segment| segment.msn == msn);
    // The next part is in the segment that was open, or begins the one after it.
    let in_open = of(msn).and_then(|segment| Some((segment, segment.parts.get(part)?)));
    let Some((segment, next)) =
        in_open.or_else(|| of(msn + 1).and_then(|segment| Some((segment, segment.parts.first()?))))
    else {
        return;
    };
    assert!(next.uri == *hinted || segment.breaks, "4.4.5.3: {next:?} came instead of {hinted}");
}

/// An audio frame at 44.1 kHz, in milliseconds, rounded up.
const FRAME_MS: u64 = 24;

/// Milliseconds since midnight of `2026-01-01T00:00:00.000Z`.
fn millis_of_day(date: &str) -> u64 {
    let time = date.split_once('T').and_then(|(_, time)| time.strip_suffix('Z')).expect("a date");
    let numbers: Vec<u64> = time.split([':', '.']).map(|number| number.parse().expect("digits")).collect();
    let [hours, minutes, seconds, millis] = numbers[..] else { panic!("no time: {date}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
}

/// Renditions advance together, and each playlist reports all others (6.2.4, 4.4.5.4, B.1).
pub(crate) fn alike(playlists: &BTreeMap<String, Playlist>, i_frames: &BTreeMap<String, Playlist>) {
    let shape = |playlist: &Playlist| {
        let places = playlist.places();
        let places: Vec<_> = places.iter().map(|(number, segment)| (*number, segment.msn)).collect();
        (places, playlist.end(), playlist.constants.clone(), playlist.ended)
    };
    let dates = |playlist: &Playlist| -> Vec<u64> {
        playlist.places().iter().map(|(_, segment)| millis_of_day(&segment.date)).collect()
    };
    let Some(first) = playlists.values().next() else { return };
    let pictures = playlists.iter().find(|(name, _)| *name != "audio").map_or(first, |(_, playlist)| playlist);
    for (name, playlist) in playlists {
        assert_eq!(shape(playlist), shape(first), "6.2.4: {name} is not like the others");
        // Audio begins with its first frame at or after that instant.
        let apart = if name == "audio" { 0..=FRAME_MS } else { 0..=0 };
        for (date, picture) in dates(playlist).into_iter().zip(dates(pictures)) {
            let later = date.checked_sub(picture);
            assert!(later.is_some_and(|later| apart.contains(&later)), "6.2.4: date of {name}: {date}, {picture}");
        }
    }
    let mut ends = Vec::new();
    for (name, playlist) in playlists {
        let last = playlist.open.as_ref().or(playlist.segments.last()).expect("it lists something");
        ends.push((format!("../{name}/index.m3u8"), last.msn, Some(last.parts.len() as u64 - 1)));
        // An I-frame playlist has no parts.
        ends.extend(i_frames.get(name).map(|i_frames| (format!("../{name}/iframes.m3u8"), i_frames.last(), None)));
    }
    let media = playlists.iter().map(|(name, playlist)| (format!("../{name}/index.m3u8"), playlist));
    let i_frames = i_frames.iter().map(|(name, playlist)| (format!("../{name}/iframes.m3u8"), playlist));
    for (own, playlist) in media.chain(i_frames) {
        let others: Vec<_> = ends.iter().filter(|(uri, ..)| *uri != own).cloned().collect();
        assert_eq!(playlist.reports, others, "B.1: reports of {own}");
    }
}

/// All renditions hint the next part, even when it is a gap (4.4.5.3, B.1).
pub(crate) fn hints(playlists: &BTreeMap<String, Playlist>) {
    for (name, playlist) in playlists {
        let last = playlist.open.as_ref().or(playlist.segments.last()).expect("it lists something");
        let last = last.parts.last().expect("the last segment is its parts");
        let (msn, part) = playlist.end();
        let epoch: u64 = last.uri.split_once('/').unwrap().0.parse().unwrap();
        let hint = || ("PART".to_owned(), format!("{epoch}/{msn}.{part}.m4s"));
        let expected: Vec<_> = (!playlist.ended).then(hint).into_iter().collect();
        assert_eq!(playlist.hints, expected, "4.4.5.3: hints of {name}");
    }
}

/// An I-frame playlist has the complete segments of its media playlist, in the same places.
pub(crate) fn i_frames_are_alike(media: &Playlist, i_frames: &Playlist) {
    assert!(is_i_frames(i_frames));
    assert_eq!((i_frames.msn, i_frames.discontinuity), (media.msn, media.discontinuity));
    assert_eq!(i_frames.segments.len(), media.segments.len());
    for (picture, segment) in i_frames.segments.iter().zip(&media.segments) {
        assert!(picture.gap || !segment.gap, "a picture of a gap: {picture:?}");
        assert_eq!(picture.gap, picture.range.is_none(), "4.4.3.6: {picture:?}");
        let place = |segment: &Segment| Segment { gap: false, range: None, parts: vec![], ..segment.clone() };
        assert_eq!(place(picture), place(segment));
    }
}
