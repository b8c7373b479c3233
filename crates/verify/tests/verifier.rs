//! A viewer, the node that serves him, and what that node may try.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use metadata::Scope;
use seal::{RefusalReason, SealingKey, Signer as _};
use support::{DAY, STREAM, Scene, Town, at, place, sequence};
use testkit::studio::{self, START, Studio};
use verify::Verifier;

const NOW: Duration = Duration::from_secs(1);

#[test]
fn objects_are_what_seals_name_whatever_comes_first() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    let objects: usize = rows.iter().map(|row| row.objects.len()).sum();
    scene.load(&rows[..4], 0);
    assert_eq!((scene.verifier.standing(NOW).objects, scene.verifier.standing(NOW).waiting), (0, 4 * 3 + 3));
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    scene.load(&rows[4..], 1);
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.objects, standing.waiting, standing.unlisted), (objects as u64, 0, 0));
    assert_eq!((standing.seals, standing.wrong, standing.node), (8, None, Some("i1")));
    assert_eq!(standing.next.map(|next| next.0), Some(8));
}

#[test]
fn one_changed_byte_of_an_object_is_found() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    let (name, bytes) = &rows[3].objects[1];
    let mut changed = bytes.to_vec();
    changed[17] ^= 1;
    scene.verifier.object(&place(name), &changed, NOW);
    let wrong = scene.verifier.standing(NOW).wrong.unwrap().to_owned();
    assert_eq!(wrong, "360p/1/0.3.m4s is not what seal 3 names");
}

#[test]
fn object_that_no_seal_names_is_found_once_the_log_is_past_it() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    scene.verifier.object("360p/1/0.63.m4s", b"invented", NOW);
    scene.verifier.take_seals(&sequence(&rows[..7]), NOW).unwrap();
    assert_eq!(scene.verifier.standing(NOW).wrong, None, "a seal may come");
    scene.verifier.take_seals(&sequence(&rows[7..]), NOW).unwrap();
    assert_eq!(scene.verifier.standing(NOW).wrong, Some("360p/1/0.63.m4s is named by no seal"));
}

#[test]
fn place_that_no_seal_can_name_is_wrong() {
    for place in
        ["360p/1/0.ts", "360p/1/00.m4s", "360p/one/0.m4s", "360%70/1/0.m4s", "360p/1/0.m4s/more", "x/forged.m4s"]
    {
        let mut scene = Scene::trusted();
        scene.verifier.object(place, b"forged", NOW);
        assert!(scene.verifier.standing(NOW).wrong.is_some_and(|wrong| wrong.starts_with(place)), "{place}");
    }
}

#[test]
fn one_changed_bit_of_a_seal_is_refused() {
    let rows = Scene::trusted().segment(0);
    let whole = sequence(&rows[..2]);
    for place in (0..whole.len()).step_by(97) {
        let mut scene = Scene::trusted();
        let rows = scene.segment(0);
        let mut changed = sequence(&rows[..2]).to_vec();
        let Some(byte) = changed.get_mut(place) else { continue };
        *byte ^= 4;
        scene.verifier.take_seals(&Bytes::from(changed), NOW).expect_err("a changed seal");
        assert!(scene.verifier.standing(NOW).seals < 2, "byte {place}");
    }
}

#[test]
fn key_of_another_root_is_refused_and_so_is_its_root() {
    let mut scene = Scene::trusted();
    let mut stranger = Studio::new(STREAM, START);
    let rows = stranger.segment(START);
    let refused = scene.verifier.take_seals(&sequence(&rows), NOW).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key);
    assert!(scene.verifier.standing(NOW).doubt.is_some());
    let mut elsewhere = Town::new(2);
    elsewhere.grant(&stranger.key, START.plus(DAY), at(0));
    let refused = scene.verifier.take_trust(&elsewhere.trust(&[&stranger.key], at(9))).unwrap_err();
    assert!(matches!(refused.reason, RefusalReason::Identity | RefusalReason::Key), "{refused}");
    let mut new = Scene::new();
    let refused = new.verifier.take_trust(&elsewhere.trust(&[&stranger.key], at(9))).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "{refused}");
}

#[test]
fn first_meeting_believes_the_root_that_it_is_told_and_says_which() {
    let mut town = Town::new(1);
    let studio = Studio::new(STREAM, START);
    town.grant(&studio.key, START.plus(DAY), at(0));
    let mut verifier = Verifier::new(studio::stream(STREAM), None).unwrap();
    verifier.take_trust(&town.trust(&[&studio.key], at(1))).unwrap();
    assert_eq!(verifier.said().unwrap().root.to_vec(), town.fingerprint());
}

#[test]
fn revoked_key_does_not_count_and_a_newer_answer_stays() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    let before = scene.town.trust(&[&scene.studio.key], at(1));
    scene.town.grant(&SealingKey::from_seed_bytes(&scene.studio.key.to_seed_bytes()).unwrap(), at(2).wall, at(2));
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(3))).unwrap();
    // An older answer that somebody has kept changes nothing.
    scene.verifier.take_trust(&before).unwrap();
    let refused = scene.verifier.take_seals(&sequence(&rows), NOW).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "backdated or not: {refused}");
    scene.load(&rows, 1);
    assert_eq!(scene.verifier.standing(NOW).objects, 0);
}

#[test]
fn key_that_a_newer_answer_leaves_out_does_not_count() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    // Whoever withholds the row of a revoked key cannot keep the older row in force.
    scene.verifier.take_trust(&scene.town.trust(&[], at(3))).unwrap();
    let refused = scene.verifier.take_seals(&sequence(&rows), NOW).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "{refused}");
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(3))).unwrap();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
}

#[test]
fn what_a_revoked_key_sealed_counts_where_the_next_key_goes_on_from_it() {
    let mut scene = Scene::new();
    let first = SealingKey::from_seed_bytes(&scene.studio.key.to_seed_bytes()).unwrap();
    let mut rows = scene.segment(0);
    let mut thief = scene.studio.fork();
    scene.studio.key = SealingKey::generate().unwrap();
    scene.studio.reconnect(at(4).wall);
    rows.extend(scene.segment(4));
    scene.town.grant(&first, at(2).wall, at(2));
    scene.town.grant(&scene.studio.key, START.plus(DAY), at(3));
    let answer = scene.town.trust(&[&first, &scene.studio.key], at(5));
    scene.verifier.take_trust(&answer).unwrap();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    scene.load(&rows, 5);
    let standing = scene.verifier.standing(NOW);
    assert_eq!(
        (standing.objects, standing.wrong),
        (rows.iter().map(|row| row.objects.len()).sum::<usize>() as u64, None)
    );
    // The thief goes on from the same place, and nobody builds on that.
    let stolen = thief.segment(at(1).wall);
    scene.verifier.take_seals(&sequence(&stolen), NOW).unwrap_err();
    assert_eq!(scene.verifier.standing(NOW).seals, rows.len() as u64);
    assert_ne!(first.key_id(), scene.studio.key.key_id());
}

#[test]
fn what_an_ingest_of_another_pool_sealed_counts_where_the_next_pool_goes_on_from_it() {
    let mut scene = Scene::new();
    let first = SealingKey::from_seed_bytes(&scene.studio.key.to_seed_bytes()).unwrap();
    let mut rows = scene.segment(0);
    let mut left = scene.studio.fork();
    scene.studio.key = SealingKey::generate().unwrap();
    scene.studio.reconnect(at(4).wall);
    rows.extend(scene.segment(4));
    scene.town.put_in_pool("other", at(3));
    let scope = Scope::Pools(vec!["other".to_owned()]);
    scene.town.grant_with(&scene.studio.key, at(3), |grant| grant.scope = scope);
    scene.verifier.take_trust(&scene.town.trust(&[&first, &scene.studio.key], at(5))).unwrap();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    scene.load(&rows, 5);
    let standing = scene.verifier.standing(NOW);
    let loaded: usize = rows.iter().map(|row| row.objects.len()).sum();
    assert_eq!((standing.objects, standing.wrong), (loaded as u64, None));
    // The pool that the stream has left may not go on with it.
    let refused = scene.verifier.take_seals(&sequence(&left.segment(at(1).wall)), NOW).unwrap_err();
    assert!(refused.detail.contains("does not name the stream"), "{refused}");
}

#[test]
fn renewed_grant_says_nothing_against_older_seals_of_its_key() {
    let mut scene = Scene::new();
    let rows = scene.segment(0);
    scene.town.grant_with(&scene.studio.key, at(300), |grant| grant.from = at(300).wall);
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(301))).unwrap();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    assert_eq!(scene.verifier.standing(NOW).seals, 8);
}

#[test]
fn viewer_who_joins_late_walks_back_by_digests_alone() {
    let mut scene = Scene::trusted();
    let mut rows = scene.segment(0);
    rows.extend(scene.segment(4));
    scene.verifier.take_seals(&sequence(&rows[7..]), NOW).unwrap();
    scene.load(&rows, 4);
    let standing = scene.verifier.standing(NOW);
    assert!(standing.before > 0 && standing.wrong.is_none(), "{standing:?}");
    assert_eq!(standing.longest_wait, Duration::ZERO, "they wait for no seal");
    let mut other = rows[..7].to_vec();
    other.remove(6);
    scene.verifier.take_past(&sequence(&other), NOW).unwrap_err();
    scene.verifier.take_past(&sequence(&rows), NOW).unwrap();
    let loaded: usize = rows.iter().map(|row| row.objects.len()).sum();
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.objects, standing.before, standing.unlisted), (loaded as u64, 0, 0));
}

#[test]
fn object_that_no_piece_of_the_log_lists_is_counted_as_not_checked() {
    let mut scene = Scene::trusted();
    let mut rows = scene.segment(0);
    rows.extend(scene.segment(4));
    scene.verifier.take_seals(&sequence(&rows[7..]), NOW).unwrap();
    scene.load(&rows[..1], 4);
    scene.load(&rows[8..9], 60);
    let standing = scene.verifier.standing(at(60).elapsed);
    assert_eq!(
        (standing.unlisted, standing.objects, standing.wrong),
        (3, 6, None),
        "the checkpoint lists init segments"
    );
}

#[test]
fn epoch_that_voids_seals_is_followed() {
    let mut scene = Scene::trusted();
    let mut rows = scene.segment(0);
    let mut next = scene.studio.fork();
    rows.extend(scene.segment(4)[..2].to_vec());
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    next.reconnect(at(5).wall);
    let later = next.segment(at(5).wall);
    // The node has the new epoch only from its second seal on, as it is asked.
    scene.verifier.take_seals(&sequence(&later[2..]), NOW).unwrap();
    let from = scene.verifier.standing(NOW).next.unwrap();
    assert!(from.0 <= 8, "{from}");
    let log = [&rows[1..8], &later[..]].concat();
    scene.verifier.take_seals(&sequence(&log), NOW).unwrap();
    scene.load(&later, 6);
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.wrong, standing.place.unwrap().epoch.0), (None, 2));
    assert_eq!(standing.waiting, 0);
}

#[test]
fn init_segment_of_an_epoch_without_a_checkpoint_here_is_from_before_the_log() {
    let mut scene = Scene::trusted();
    let opening = scene.segment(0);
    // The node's log begins in the middle of the last segment of the epoch.
    let mut kept: Vec<_> = (0..3).map(|_| scene.studio.row(at(4).wall)).collect();
    scene.studio.reconnect(at(6).wall);
    kept.extend(scene.segment(6));
    scene.verifier.take_seals(&sequence(&kept[kept.len() - 1..]), NOW).unwrap();
    scene.verifier.take_past(&sequence(&kept), NOW).unwrap();
    scene.load(&opening[..1], 60);
    scene.load(&kept[..4], 60);
    let standing = scene.verifier.standing(at(60).elapsed);
    assert_eq!(
        (standing.before, standing.objects, standing.wrong),
        (6, 3 * 3 + 6, None),
        "init segments and a part each"
    );
    scene.verifier.object("720p/2/init.mp4", b"invented", at(60).elapsed);
    assert_eq!(scene.verifier.standing(NOW).wrong, Some("720p/2/init.mp4 is named by no seal"));
}

#[test]
fn long_silence_is_made_up_for_by_a_later_piece_of_the_log() {
    let mut scene = Scene::trusted();
    let rows = scene.segment(0);
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    for seconds in 1..40 {
        scene.segment(4 * seconds);
    }
    let rows = [scene.segment(160), scene.segment(164)].concat();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    scene.load(&rows[8..], 164);
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.wrong, standing.waiting), (None, 0));
    assert!(standing.objects > 0);
}

#[test]
fn objects_of_a_hole_in_the_followed_log_are_from_before_it() {
    let mut scene = Scene::trusted();
    let before = scene.segment(0);
    scene.verifier.take_seals(&sequence(&before), NOW).unwrap();
    let hole: Vec<_> = (1..40).flat_map(|seconds| scene.segment(4 * seconds)).collect();
    // A later piece begins at a checkpoint, which the last row of a segment is.
    let rows = scene.segment(160);
    scene.verifier.take_seals(&sequence(&[&hole[hole.len() - 1..], &rows].concat()), NOW).unwrap();
    scene.load(&before[3..4], 164);
    scene.load(&hole[80..81], 164);
    scene.load(&rows, 164);
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.before, standing.waiting, standing.wrong), (6, 0, None), "a seek back");
    scene.verifier.take_past(&sequence(&[&before[..], &hole[..]].concat()), at(165).elapsed).unwrap();
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.before, standing.unlisted, standing.wrong), (0, 0, None), "an older piece lists them");
    scene.verifier.object("360p/1/7.9.m4s", b"invented", at(166).elapsed);
    assert_eq!(scene.verifier.standing(NOW).wrong, Some("360p/1/7.9.m4s is named by no seal"));
}

#[test]
fn objects_that_are_forgotten_because_too_many_are_listed_are_from_before_the_log() {
    let mut scene = Scene::trusted();
    scene.studio.renditions = (100..131).map(|height| format!("{height}p")).collect();
    scene.studio.part_bytes = 8;
    let earlier = scene.segment(0);
    let mut rows = vec![earlier.last().unwrap().clone()];
    // 31 renditions with eight parts and a segment each.
    rows.extend((1..70).flat_map(|seconds| scene.segment(4 * seconds)));
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    assert_eq!(scene.verifier.standing(NOW).seals, 553);
    scene.load(&rows[3..4], 300);
    scene.load(&rows[rows.len() - 8..], 300);
    let standing = scene.verifier.standing(NOW);
    assert_eq!((standing.before, standing.objects, standing.wrong), (31, 8 * 31, None), "a seek back");
    // An older piece would leave a hole before what is listed.
    scene.verifier.take_past(&sequence(&earlier), at(301).elapsed).unwrap();
    scene.load(&rows[4..5], 301);
    scene.verifier.object("110p/1/0.1.m4s", b"older", at(320).elapsed);
    let standing = scene.verifier.standing(at(320).elapsed);
    assert_eq!((standing.before, standing.unlisted, standing.wrong), (1, 2 * 31, None));
    scene.verifier.object("110p/1/69.9.m4s", b"invented", at(320).elapsed);
    assert_eq!(scene.verifier.standing(NOW).wrong, Some("110p/1/69.9.m4s is named by no seal"));
}
