//! One gate without peers.

use super::*;
use crate::limits::{
    OBJECT_DEADLINE, QUARANTINE_BYTES_PER_PEER, QUARANTINE_CLAIMS_PER_NAME, QUARANTINE_ENTRIES_PER_PEER,
    QUARANTINE_WAIT_MAX,
};
use media::{Digest, Epoch, MediaSequence, PartIndex, Slot};
use seal::SealingKey;

fn setup() -> (Studio, Bench) {
    let authority = Authority::new();
    let studio = Studio::new("demo", START);
    let bench = Bench::with(&authority, &studio);
    (studio, bench)
}

/// Shows that good media is still admitted, whatever was tried before.
fn still_alive(studio: &mut Studio, bench: &mut Bench) {
    let before = bench.admitted();
    let rows = studio.segment(bench.wall());
    let last = rows.last().unwrap().sealed.body().objects.iter().rev().find_map(|object| match object.slot {
        Slot::Segment { msn } => Some(msn),
        _ => None,
    });
    bench.take_all(&rows);
    bench.wait(Duration::from_millis(10));
    assert_eq!(bench.admitted(), before + u64::try_from(rows.len()).unwrap());
    let text = bench.playlist("1080p").unwrap();
    assert!(text.contains(&format!("{}/{}.m4s", studio.epoch(), last.unwrap())), "{text}");
}

#[test]
fn segment_is_listed_when_seal_and_bytes_are_here_in_any_order() {
    let (mut studio, mut bench) = setup();
    for (n, row) in studio.segment(START.plus(bench.now)).iter().enumerate() {
        if n % 2 == 0 {
            bench.take(row);
        } else {
            bench.seal(row);
            let before = bench.admitted();
            bench.objects(row);
            assert_eq!(bench.admitted(), before + 1);
        }
    }
    let text = bench.playlist("1080p").unwrap();
    assert!(text.contains("#EXTINF:3.999996,\n1/0.m4s"), "{text}");
    assert_eq!(bench.refused, []);
}

#[test]
fn newest_seal_once_more_is_known_before_and_after_it_is_admitted() {
    let (mut studio, mut bench) = setup();
    let first = studio.row(bench.wall());
    bench.take(&first);
    let row = studio.row(bench.wall());
    bench.answers.clear();
    for source in [Source::Put(node("i1")), Source::Put(node("i2")), Source::Bus, Source::Head] {
        let (stream, raw) = (row.sealed.body().stream.clone(), row.sealed.raw().clone());
        bench.apply(Input::Seal { stream, raw, source });
    }
    assert_eq!((&bench.answers[..], bench.admitted()), (&[Answer::Stored, Answer::Known][..], 1));
    bench.objects(&row);
    bench.seal(&row);
    assert_eq!((bench.admitted(), &bench.refused[..]), (2, &[][..]));
}

#[test]
fn image_is_admitted_with_its_segment_and_leaves_with_it() {
    let (mut studio, mut bench) = setup();
    for _ in 0..7 {
        let row = studio.row(bench.wall());
        bench.take(&row);
    }
    assert_eq!(bench.view().media.newest_image(), None);
    let row = studio.row_with_image(bench.wall(), b"jpeg");
    let (image, media) = row.objects.iter().cloned().partition(|(name, _)| matches!(name.slot, Slot::Image { .. }));
    let without = studio::Row { objects: media, ..row.clone() };
    bench.take(&without);
    assert_eq!(bench.admitted(), 7, "a seal is admitted as a whole");
    bench.objects(&studio::Row { objects: image, ..row });
    assert_eq!((bench.admitted(), &bench.refused[..]), (8, &[][..]));
    let msn = MediaSequence(0);
    let name = studio::rendition("360p");
    let held = bench.view().media.get(Epoch(1), &name, Slot::Image { msn }).unwrap();
    assert_eq!(held, (sha256(b"jpeg"), Bytes::from_static(b"jpeg")));
    assert_eq!(bench.view().media.get(Epoch(1), &studio::rendition("1080p"), Slot::Image { msn }), None);
    let newest = bench.view().media.newest_image().unwrap();
    assert_eq!((newest.0.msn, newest.1), (msn, name.clone()));
    for _ in 0..13 {
        let rows = studio.segment(bench.wall());
        bench.take_all(&rows);
        bench.wait(Duration::from_secs(4));
    }
    assert_eq!(bench.view().media.newest_image(), None, "its segment has left the playlists");
    assert!(bench.view().media.get(Epoch(1), &name, Slot::Image { msn }).is_some(), "and is served for a while");
    bench.wait(Duration::from_secs(80));
    assert_eq!(bench.view().media.get(Epoch(1), &name, Slot::Image { msn }), None);
}

#[test]
fn image_larger_than_a_thumbnail_is_refused() {
    let (studio, mut bench) = setup();
    let slot = Slot::Image { msn: MediaSequence(0) };
    let name = media::ObjectName { stream: studio.stream, rendition: studio::rendition("360p"), epoch: Epoch(1), slot };
    bench.object(&name, &vec![1; 128 * 1024 + 1].into());
    assert_eq!(bench.reasons(), [AlertReason::Malformed]);
}

#[test]
fn admitted_segment_is_its_parts_and_shares_their_memory() {
    let (mut studio, mut bench) = setup();
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let media = &bench.view().media;
    let name = studio::rendition("360p");
    let (digest, whole) = media.get(Epoch(1), &name, Slot::Segment { msn: MediaSequence(0) }).unwrap();
    assert_eq!(sha256(&whole), digest);
    let parts = (0..8).map(|part| Slot::Part { msn: MediaSequence(0), part: PartIndex(part) });
    let parts: Vec<Bytes> = parts.map(|slot| media.get(Epoch(1), &name, slot).unwrap().1).collect();
    assert_eq!(parts.concat(), whole);
    assert!(parts.iter().all(|part| whole.as_ptr_range().contains(&part.as_ptr())));
}

#[test]
fn nothing_of_a_row_is_visible_before_all_of_it_is_here() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    bench.seal(&row);
    let (last, others) = row.objects.split_last().unwrap();
    for (name, bytes) in others {
        bench.object(name, bytes);
        assert!(bench.view().media.get(name.epoch, &name.rendition, name.slot).is_none());
    }
    bench.object(&last.0, &last.1);
    for (name, bytes) in &row.objects {
        assert_eq!(bench.view().media.get(name.epoch, &name.rendition, name.slot).unwrap().1, *bytes);
    }
}

#[test]
fn changed_bytes_are_refused_before_and_after_their_seal() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    let (name, good) = row.objects.last().unwrap().clone();
    let mut spoiled: Vec<Bytes> = [0, good.len() / 2, good.len() - 1]
        .iter()
        .map(|at| {
            let mut bytes = good.to_vec();
            bytes[*at] ^= 1;
            bytes.into()
        })
        .collect();
    spoiled.push([&good[..], b"x"].concat().into());
    spoiled.push(good.slice(..good.len() - 1));
    // Before their seal, the bytes wait, and are refused when the seal names others; after it, they are refused at once.
    for bad in spoiled.iter().take(3) {
        bench.object_from("evil", &name, bad);
    }
    bench.seal(&row);
    assert_eq!(bench.reasons(), [AlertReason::Digest; 3]);
    for bad in &spoiled {
        bench.object_from("evil", &name, bad);
        assert_eq!(bench.answers.last(), Some(&Answer::Refused(AlertReason::Digest)));
    }
    bench.object_from("evil", &name, &Bytes::new());
    assert_eq!(bench.reasons(), vec![AlertReason::Digest; spoiled.len() + 1]);
    bench.objects(&row);
    // After the seal is admitted, too.
    bench.object_from("evil", &name, &spoiled[0]);
    assert_eq!(bench.reasons(), [AlertReason::Digest]);
    assert_eq!(bench.view().media.get(name.epoch, &name.rendition, name.slot).unwrap().1, good);
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_of_one_rendition_do_not_pass_as_another() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    let find = |name: &str| row.objects.iter().rev().find(|(n, _)| n.rendition.as_str() == name).unwrap().clone();
    let ((low, low_bytes), (high, _)) = (find("360p"), find("1080p"));
    bench.seal(&row);
    bench.object(&low, &low_bytes);
    bench.object_from("evil", &high, &low_bytes);
    assert_eq!(bench.reasons(), [AlertReason::Digest]);
    bench.objects(&row);
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_without_a_seal_are_dropped_in_time() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    bench.objects(&row);
    bench.wait(QUARANTINE_WAIT_MAX + Duration::from_millis(1));
    assert_eq!(bench.reasons(), vec![AlertReason::Deadline; row.objects.len()]);
    assert_eq!(bench.gate.shared.quarantine.bytes(), 0);
    bench.take(&row);
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_that_are_sent_again_wait_anew_for_their_seal() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    bench.objects(&row);
    bench.wait(QUARANTINE_WAIT_MAX - Duration::from_secs(1));
    // The seal was not taken: its pusher sends all of the row again.
    bench.objects(&row);
    assert_eq!(bench.answers, vec![Answer::Stored; 2 * row.objects.len()]);
    bench.wait(QUARANTINE_WAIT_MAX - Duration::from_secs(1));
    let admitted = bench.admitted();
    bench.seal(&row);
    assert_eq!((bench.admitted(), bench.reasons()), (admitted + 1, vec![]));
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_that_come_in_log_order_are_waited_for_however_far_behind_their_seals() {
    let (mut studio, mut bench) = setup();
    let rows: Vec<Row> = (0..3).flat_map(|_| studio.segment(bench.wall())).collect();
    rows.iter().for_each(|row| bench.seal(row));
    for row in &rows {
        bench.wait(OBJECT_DEADLINE - Duration::from_secs(1));
        bench.objects(row);
    }
    assert_eq!((bench.admitted(), bench.reasons()), (u64::try_from(rows.len()).unwrap(), vec![]));
    // Bytes that later ones overtook are given up after the deadline: they do not come any more.
    let rows: Vec<Row> = (0..3).flat_map(|_| studio.segment(bench.wall())).collect();
    rows.iter().for_each(|row| bench.seal(row));
    for row in rows.iter().skip(1) {
        bench.wait(Duration::from_secs(1));
        bench.objects(row);
    }
    assert!(bench.reasons().contains(&AlertReason::Deadline));
    still_alive(&mut studio, &mut bench);
}

#[test]
fn quarantine_is_bounded_per_peer_and_others_are_not_held_up() {
    let (mut studio, mut bench) = setup();
    let name = |n: u64| ObjectName {
        stream: stream("other"),
        rendition: studio::rendition("1080p"),
        epoch: Epoch(1),
        slot: Slot::Part { msn: MediaSequence(n), part: PartIndex(0) },
    };
    for n in 0..QUARANTINE_ENTRIES_PER_PEER {
        bench.object_from("evil", &name(u64::try_from(n).unwrap()), &Bytes::from_static(b"x"));
    }
    assert_eq!(bench.refused, []);
    bench.object_from("evil", &name(1_000_000), &Bytes::from_static(b"x"));
    assert_eq!(bench.answers.last(), Some(&Answer::Full));
    assert_eq!(bench.reasons(), [AlertReason::Quarantine]);
    still_alive(&mut studio, &mut bench);
    bench.wait(QUARANTINE_WAIT_MAX);
    assert_eq!(bench.reasons().len(), QUARANTINE_ENTRIES_PER_PEER);
    // By bytes, too.
    let megabytes = Bytes::from(vec![7; 8 * 1024 * 1024]);
    for n in 0..20 {
        bench.object_from("evil", &name(n), &megabytes);
    }
    assert!(bench.gate.shared.quarantine.bytes() <= QUARANTINE_BYTES_PER_PEER);
    assert!(bench.reasons().iter().all(|reason| *reason == AlertReason::Quarantine));
    // Another node's bytes of the same stream still find room.
    bench.object_from("i2", &name(1_000), &megabytes);
    assert_eq!(bench.answers.last(), Some(&Answer::Stored));
    still_alive(&mut studio, &mut bench);
}

#[test]
fn many_claims_for_one_name_are_bounded() {
    let (mut studio, mut bench) = setup();
    let row = studio.row(bench.wall());
    let (name, good) = row.objects.last().unwrap();
    bench.object(name, good);
    for n in 0..100_u32 {
        bench.object_from("evil", name, &Bytes::copy_from_slice(&n.to_be_bytes()));
    }
    assert_eq!(bench.reasons().len(), 101 - QUARANTINE_CLAIMS_PER_NAME);
    bench.take(&row);
    assert_eq!(bench.reasons(), vec![AlertReason::Digest; QUARANTINE_CLAIMS_PER_NAME - 1]);
    still_alive(&mut studio, &mut bench);
}

#[test]
fn segment_that_is_not_its_parts_blocks_until_the_next_session() {
    let (mut studio, mut bench) = setup();
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    (0..7).for_each(|_| {
        let row = studio.row(bench.wall());
        bench.take(&row);
    });
    let mut fork = studio.fork();
    let bad = fork.spoiled(bench.wall(), |body| {
        let mut segments = body.objects.iter_mut().filter(|o| matches!(o.slot, Slot::Segment { .. }));
        segments.next().unwrap().digest = Digest([5; 32]);
    });
    bench.take(&bad);
    assert_eq!(bench.reasons(), [AlertReason::Digest]);
    let before = bench.playlist("360p");
    studio.reconnect(bench.wall());
    still_alive(&mut studio, &mut bench);
    assert!(bench.playlist("360p").unwrap().contains("#EXT-X-DISCONTINUITY\n"));
    assert_ne!(bench.playlist("360p"), before);
}

#[test]
fn stream_ends_and_comes_back_with_numbers_that_go_on() {
    let (mut studio, mut bench) = setup();
    for _ in 0..3 {
        still_alive(&mut studio, &mut bench);
    }
    let end = studio.end(bench.wall());
    bench.seal(&end);
    assert!(bench.playlist("360p").unwrap().ends_with("#EXT-X-ENDLIST\n"));
    studio.reconnect(bench.wall());
    still_alive(&mut studio, &mut bench);
    let text = bench.playlist("360p").unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:3\n") && !text.contains("ENDLIST"), "{text}");
}

#[test]
fn removed_segments_stay_for_as_long_as_a_playlist_that_listed_them() {
    let (mut studio, mut bench) = setup();
    let first = studio.segment(bench.wall());
    bench.take_all(&first);
    for _ in 0..12 {
        bench.wait(Duration::from_secs(4));
        let rows = studio.segment(bench.wall());
        bench.take_all(&rows);
    }
    let name = studio::rendition("360p");
    let slot = Slot::Segment { msn: MediaSequence(0) };
    assert!(!bench.playlist("360p").unwrap().contains("1/0.m4s"));
    // 13 segments, each up to half a second over the target.
    bench.wait(Duration::from_millis(4_500 * 13 - 1_000));
    assert!(bench.view().media.get(Epoch(1), &name, slot).is_some());
    bench.wait(Duration::from_secs(2));
    assert!(bench.view().media.get(Epoch(1), &name, slot).is_none());
    assert!(bench.view().media.get(Epoch(1), &name, Slot::Segment { msn: MediaSequence(1) }).is_some());
}

#[test]
fn seal_that_is_lost_for_good_costs_no_more_than_a_segment() {
    let (mut studio, mut bench) = setup();
    still_alive(&mut studio, &mut bench);
    let lost = studio.row(bench.wall());
    bench.objects(&lost);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    bench.wait(Duration::from_secs(11));
    assert!(bench.reasons().contains(&AlertReason::Chain));
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert!(bench.playlist("360p").unwrap().contains("1/2.m4s"));
}

#[test]
fn bytes_that_are_lost_for_good_cost_no_more_than_a_segment() {
    let (mut studio, mut bench) = setup();
    still_alive(&mut studio, &mut bench);
    let lost = studio.row(bench.wall());
    bench.seal(&lost);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert!(!bench.playlist("360p").unwrap().contains("1/1.m4s"));
    bench.wait(Duration::from_secs(11));
    assert!(bench.reasons().contains(&AlertReason::Deadline));
    assert!(bench.playlist("360p").unwrap().contains("1/2.m4s"));
    still_alive(&mut studio, &mut bench);
}

/// Where a row stands in the playlists.
fn place_of(row: &Row) -> (MediaSequence, PartIndex) {
    let parts = row.sealed.body().objects.iter().filter_map(|object| match object.slot {
        Slot::Part { msn, part } => Some((msn, part)),
        _ => None,
    });
    parts.max().expect("a row has parts")
}

#[test]
fn minutes_without_bytes_cost_seconds_once_they_come_again() {
    let (mut studio, mut bench) = setup();
    still_alive(&mut studio, &mut bench);
    let half = Duration::from_millis(500);
    let place = |bench: &Bench| bench.gate.streams.values().next().and_then(|stream| stream.shown_place());
    for _ in 0..600 {
        let row = studio.row(bench.wall());
        bench.seal(&row);
        bench.wait(half);
    }
    let (healed, next) = (bench.now, studio.row(bench.wall()));
    let newest = place_of(&next);
    bench.take(&next);
    while place(&bench) <= Some(newest) {
        bench.wait(half);
        let row = studio.row(bench.wall());
        bench.take(&row);
        assert!(bench.now - healed < Duration::from_secs(15), "{:?} of {newest:?}", place(&bench));
    }
    bench.refused.clear();
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_that_are_lost_before_a_checkpoint_that_is_long_in_coming_cost_no_more_than_that() {
    let (mut studio, mut bench) = setup();
    (studio.parts, bench.gate.shared.settings.playlist.target_duration_s) = (40, 20);
    let first = studio.segment(bench.wall());
    bench.take_all(&first);
    let lost = studio.row(bench.wall());
    bench.seal(&lost);
    // Twenty seconds to the next checkpoint: that is behind the deadline of the bytes.
    for row in studio.segment(bench.wall()) {
        bench.take(&row);
        bench.wait(Duration::from_millis(500));
    }
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let place = bench.gate.streams.values().next().and_then(|stream| stream.shown_place());
    assert!(place >= Some(place_of(rows.last().unwrap())), "{place:?}");
}

#[test]
fn memory_is_bounded_and_frees_what_left_the_playlists_first() {
    let (mut studio, mut bench) = setup();
    studio.part_bytes = 100_000;
    bench.gate.shared.settings.media_bytes_max = 40_000_000;
    for _ in 0..40 {
        still_alive(&mut studio, &mut bench);
        assert!(bench.gate.shared.media_bytes <= 40_000_000);
    }
    assert_eq!(bench.refused, []);
    bench.gate.shared.settings.media_bytes_max = 1_000_000;
    let row = studio.row(bench.wall());
    bench.take(&row);
    assert!(bench.reasons().contains(&AlertReason::Quarantine));
}

#[test]
fn idle_stream_leaves_the_memory_but_not_its_place() {
    let (mut studio, mut bench) = setup();
    still_alive(&mut studio, &mut bench);
    bench.wait(Duration::from_secs(700));
    assert_eq!((bench.gate.streams(), bench.gate.shared.media_bytes, bench.views.len()), (0, 0, 0));
    still_alive_after_idle(&mut studio, &mut bench);
}

fn still_alive_after_idle(studio: &mut Studio, bench: &mut Bench) {
    studio.reconnect(bench.wall());
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    bench.wait(Duration::from_secs(2));
    assert!(bench.playlist("360p").unwrap().contains("2/1.m4s"));
}

#[test]
fn seals_that_overtake_their_grant_wait_for_it() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::new(BTreeMap::new());
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert_eq!((bench.gate.streams(), bench.refused.len()), (0, 0));
    bench.apply(Input::Keys(authority.grant(&studio, START)));
    bench.wait(Duration::from_secs(2));
    assert!(bench.playlist("360p").unwrap().contains("1/0.m4s"));
    assert_eq!(bench.reasons(), []);
    still_alive(&mut studio, &mut bench);
    // A key that never gets a grant is refused in the end, however many seals it signs.
    let mut thief = Studio::new("demo", START);
    for _ in 0..200 {
        let row = thief.row(bench.wall());
        bench.seal(&row);
    }
    bench.wait(Duration::from_secs(4));
    assert_eq!(bench.reasons(), [AlertReason::Key; 200]);
    still_alive(&mut studio, &mut bench);
}

#[test]
fn bytes_that_were_hashed_too_early_spoil_nothing() {
    let (mut studio, mut bench) = setup();
    still_alive(&mut studio, &mut bench);
    for row in studio.segment(bench.wall()) {
        // Wrong bytes claim each place before the right ones come.
        for (name, _) in &row.objects {
            bench.object_from("evil", name, &Bytes::from_static(b"not the right ones"));
        }
        bench.take(&row);
    }
    assert_eq!(bench.reasons(), [AlertReason::Digest; 24]);
    assert!(bench.playlist("1080p").unwrap().contains("1/1.m4s"));
    still_alive(&mut studio, &mut bench);
}

/// A gate with five segments of one key, and when the third began.
fn five_segments() -> (Authority, Studio, Bench, UnixMillis) {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let mut third = None;
    for n in 0..5 {
        bench.wait(Duration::from_secs(4));
        if n == 2 {
            third = Some(bench.wall());
        }
        let rows = studio.segment(bench.wall());
        bench.take_all(&rows);
    }
    (authority, studio, bench, third.unwrap())
}

/// Revokes the studio's key, which was in wrong hands since a time.
fn compromise(authority: &Authority, studio: &Studio, bench: &mut Bench, since: UnixMillis) {
    bench.apply(Input::Keys(authority.revoke_since(&studio.key, since)));
}

/// The studio goes on with another key.
fn replace_key(authority: &Authority, studio: &mut Studio, bench: &mut Bench) {
    studio.key = SealingKey::generate().unwrap();
    bench.apply(Input::Keys(authority.grant(studio, START)));
    studio.reconnect(bench.wall());
}

fn held(bench: &Bench) -> Vec<u64> {
    let is_here = |msn: &u64| {
        let slot = Slot::Segment { msn: MediaSequence(*msn) };
        let get = |epoch| bench.view().media.get(Epoch(epoch), &studio::rendition("360p"), slot);
        get(1).or_else(|| get(2)).is_some()
    };
    (0..20).filter(is_here).collect()
}

#[test]
fn what_a_key_sealed_in_wrong_hands_is_withdrawn_and_the_log_goes_on_under_another() {
    let (authority, mut studio, mut bench, third) = five_segments();
    let open = studio.row(bench.wall());
    bench.take(&open);
    assert_eq!(held(&bench), [0, 1, 2, 3, 4]);
    compromise(&authority, &studio, &mut bench, third);
    assert_eq!((bench.playlist("360p"), held(&bench)), (None, vec![]));
    let late = studio.fork().row(bench.wall());
    bench.take(&late);
    bench.wait(Duration::from_secs(4));
    assert_eq!((bench.playlist("360p"), bench.reasons()), (None, vec![AlertReason::Key]));
    replace_key(&authority, &mut studio, &mut bench);
    still_alive(&mut studio, &mut bench);
    let text = bench.playlist("360p").unwrap();
    // The open segment was listed part by part: its number does not come again.
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:6\n") && !text.contains("1/4.m4s"), "{text}");
    bench.gate.check_invariants();
}

#[test]
fn what_another_key_sealed_behind_it_stays() {
    let (authority, mut studio, mut bench, third) = five_segments();
    let old = studio.fork();
    replace_key(&authority, &mut studio, &mut bench);
    still_alive(&mut studio, &mut bench);
    still_alive(&mut studio, &mut bench);
    let before = bench.playlist("360p").unwrap();
    assert!(before.contains("1/0.m4s") && before.contains("2/6.m4s"), "{before}");
    compromise(&authority, &old, &mut bench, third);
    let text = bench.playlist("360p").unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:5\n") && !text.contains("1/4.m4s"), "{text}");
    assert_eq!(held(&bench), [5, 6]);
    still_alive(&mut studio, &mut bench);
    bench.gate.check_invariants();
}

#[test]
fn what_a_key_sealed_before_it_was_in_wrong_hands_stays() {
    let (authority, studio, mut bench, _) = five_segments();
    let (before, now) = (bench.playlist("360p"), bench.wall());
    compromise(&authority, &studio, &mut bench, now.plus(Duration::from_millis(1)));
    assert_eq!((bench.playlist("360p"), held(&bench)), (before, vec![0, 1, 2, 3, 4]));
}

#[test]
fn backdated_seals_of_a_key_in_wrong_hands_are_no_older_than_what_they_follow() {
    let (authority, mut studio, mut bench, _) = five_segments();
    let since = bench.wall();
    // As the newest of a log, a seal may be old: the stream may have stood still.
    for row in studio.segment(since.minus(Duration::from_secs(1_800))) {
        bench.objects(&row);
        let (stream, raw) = (row.sealed.body().stream.clone(), row.sealed.raw().clone());
        bench.apply(Input::Seal { stream, raw, source: Source::Head });
    }
    assert!(bench.playlist("360p").unwrap().contains("1/5.m4s"));
    compromise(&authority, &studio, &mut bench, since);
    assert_eq!((bench.playlist("360p"), held(&bench)), (None, vec![]));
}
