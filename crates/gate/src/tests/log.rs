//! How the log judges seals: sessions, forks, restarts.

use super::super::Holding;
use super::super::limits::FENCE_MAX;
use super::*;

fn fence(stream: &StreamId) -> Input {
    Input::Fence { stream: stream.clone(), peer: NodeId::new("i2").unwrap() }
}

#[test]
fn old_session_is_not_replayed_into_a_restarted_gate() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let old: Vec<Row> = studio.segment(bench.wall());
    bench.take_all(&old);
    studio.reconnect(bench.wall());
    let new = studio.segment(bench.wall());
    bench.take_all(&new);
    // While it runs.
    bench.take_all(&old);
    let playlist = bench.playlist("360p").unwrap();
    assert!(bench.reasons().iter().all(|reason| *reason == AlertReason::Epoch));
    // After a restart with its disk.
    let mut again = Bench::new(bench.saved.clone());
    again.apply(Input::Keys(authority.grant(&studio, START)));
    again.now = bench.now;
    again.wait(Duration::from_secs(2));
    again.take_all(&old);
    again.wait(Duration::from_secs(2));
    assert_eq!(again.admitted(), 0);
    assert!(again.reasons().contains(&AlertReason::Epoch));
    assert_eq!(again.playlist("360p"), None);
    // The log goes on where it was.
    let more = studio.segment(again.wall());
    again.take_all(&more);
    let more = studio.segment(again.wall());
    again.take_all(&more);
    assert!(again.playlist("360p").unwrap().contains("2/3.m4s"), "{playlist}");
}

#[test]
fn log_whose_newest_seals_only_its_author_has_goes_on_with_the_next_session_at_once() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    // A head is saved only now and then.
    let saved = bench.saved.clone();
    for _ in 0..2 {
        let rows = studio.segment(bench.wall());
        bench.take_all(&rows);
    }
    let row = studio.row(bench.wall());
    bench.take(&row);
    assert!(bench.playlist("360p").unwrap().contains("1/3.0.m4s"));

    let mut again = Bench::new(saved);
    again.apply(Input::Keys(authority.grant(&studio, START)));
    again.now = bench.now;
    again.wait(Duration::from_secs(2));
    studio.reconnect(again.wall());
    let rows = studio.segment(again.wall());
    again.take_all(&rows);
    let text = again.playlist("360p").unwrap_or_default();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:4\n") && text.contains("2/4.m4s"), "{text}");
    assert_eq!(again.refused, []);
}

/// The bus delivers the newest seal at once, the ingest its first ones a moment later.
#[test]
fn log_whose_newest_seal_comes_first_is_here_from_its_beginning() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    let (newest, before) = rows.split_last().unwrap();
    bench.take(newest);
    bench.wait(Duration::from_millis(300));
    assert_eq!(bench.admitted(), 0);
    bench.take_all(before);
    assert!(bench.playlist("360p").unwrap().contains("1/0.m4s"));
    assert_eq!(bench.refused, []);
}

#[test]
fn log_whose_beginning_does_not_come_begins_where_it_can() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.objects(&rows[0]);
    bench.take(rows.last().unwrap());
    bench.wait(Duration::from_secs(2));
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let text = bench.playlist("360p").unwrap();
    assert!(text.contains("1/1.m4s") && !text.contains("1/0.m4s"), "{text}");
}

#[test]
fn fork_is_refused_and_the_first_stands() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let mut fork = studio.fork();
    let row = studio.row(bench.wall());
    let other = fork.row(bench.wall().plus(Duration::from_millis(1)));
    bench.take(&row);
    bench.seal(&other);
    assert_eq!(bench.reasons(), [AlertReason::Equivocation]);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert!(bench.playlist("360p").unwrap().contains("1/1.m4s"));
}

/// A thief has a key whose grant is over, and a broker or a node that brings what he seals, with whatever time.
#[test]
fn key_whose_grant_is_over_seals_nothing_that_a_head_or_the_log_of_a_peer_brings() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    // The grant was for a day, and seals that come so may be 30 days old.
    bench.now = Duration::from_secs(11 * 86_400);
    let forged = studio.segment(START.plus(Duration::from_secs(3_600)));
    forged.iter().for_each(|row| bench.objects(row));
    for row in &forged {
        let (stream, raw) = (stream("demo"), row.sealed.raw().clone());
        bench.apply(Input::Seal { stream, raw, source: Source::Head });
    }
    assert_eq!(bench.reasons(), vec![AlertReason::Key; forged.len()]);
    bench.apply(Input::Peers(vec![node("evil")]));
    bench.apply(Input::Follow { stream: stream("demo"), holding: Holding::Owner, owners: vec![node("evil")] });
    let log: Vec<Bytes> = forged.iter().map(|row| row.sealed.raw().clone()).collect();
    for _ in 0..8 {
        for pull in std::mem::take(&mut bench.pulls) {
            if let Effect::PullLog { id, .. } = pull {
                bench.apply(Input::Pulled { id, result: Pulled::Log(log.clone()) });
            }
        }
        bench.wait(Duration::from_millis(500));
    }
    assert_eq!((bench.reasons().first(), bench.admitted(), bench.playlist("360p")), (Some(&AlertReason::Key), 0, None));
}

#[test]
fn new_session_voids_what_came_after_the_seal_it_builds_on() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let mut other = studio.fork();
    let void = studio.segment(bench.wall());
    bench.take_all(&void);
    assert!(bench.playlist("360p").unwrap().contains("1/1.m4s"));
    other.reconnect(bench.wall());
    let rows = other.segment(bench.wall());
    bench.take_all(&rows);
    let text = bench.playlist("360p").unwrap();
    assert!(text.contains("1/0.m4s") && text.contains("2/1.m4s") && !text.contains("1/1.m4s"), "{text}");
    let gone = &void.last().unwrap().objects[0].0;
    assert!(bench.view().media.get(gone.epoch, &gone.rendition, gone.slot).is_none());
    assert_eq!(bench.refused, []);
}

#[test]
fn what_was_told_to_who_opens_an_epoch_stays_true_until_it_has() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    // One seal is here without its bytes; later ones come from an ingest that wakes up.
    let late = studio.row(bench.wall());
    bench.seal(&late);
    let (admitted, mut other) = (bench.admitted(), studio.fork());
    bench.apply(fence(&studio.stream));
    assert_eq!(bench.answers.pop(), Some(Answer::Stored));
    bench.objects(&late);
    let void = studio.segment(bench.wall());
    bench.take_all(&void);
    bench.wait(FENCE_MAX / 2);
    assert_eq!(bench.admitted(), admitted);
    // The new epoch builds on a seal that waits; what comes after that seal was never shown.
    other.reconnect(bench.wall());
    let rows = other.segment(bench.wall());
    bench.take_all(&rows);
    assert_eq!(bench.admitted(), admitted + 1 + rows.len() as u64);
    // The log goes on at once.
    let next = other.row(bench.wall());
    bench.take(&next);
    assert_eq!(bench.admitted(), admitted + 2 + rows.len() as u64);
    assert_eq!(bench.refused, []);
}

#[test]
fn who_fences_and_is_gone_costs_the_log_seconds_and_nothing_of_it() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    bench.apply(fence(&studio.stream));
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let admitted = bench.admitted();
    assert!(admitted > 0, "a log that is not held cannot be fenced");
    bench.apply(fence(&studio.stream));
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert_eq!(bench.admitted(), admitted);
    bench.wait(FENCE_MAX);
    assert_eq!(bench.admitted(), admitted + rows.len() as u64);
    assert_eq!(bench.refused, []);
}

#[test]
fn fence_holds_up_no_epoch_at_a_node_that_has_nothing_of_the_log_or_its_head_alone() {
    let authority = Authority::new();
    let mut studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    let fence = |bench: &mut Bench, stream: &StreamId| {
        let (stream, owners) = (stream.clone(), Vec::new());
        bench.apply(Input::Follow { stream: stream.clone(), holding: Holding::Owner, owners });
        bench.wait(Duration::from_secs(6));
        bench.apply(fence(&stream));
    };
    fence(&mut bench, &studio.stream);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    assert_eq!(bench.admitted(), rows.len() as u64, "there was no log");

    let mut again = Bench::new(bench.saved.clone());
    again.apply(Input::Keys(authority.grant(&studio, START)));
    again.now = bench.now;
    fence(&mut again, &studio.stream);
    // The seal that it builds on never came here.
    studio.segment(again.wall());
    studio.reconnect(again.wall());
    let rows = studio.segment(again.wall());
    again.take_all(&rows);
    assert_eq!(again.admitted(), rows.len() as u64, "there was a head");
}

#[test]
fn saved_head_reads_back_and_a_torn_one_does_not() {
    let mut studio = Studio::new("demo", START);
    let row = studio.row(START);
    let init = row.objects[0].1.clone();
    let saved = SavedHead { head: seal::Head::of(&row.sealed), raw: row.sealed.raw().clone(), inits: vec![init] };
    let bytes = saved.to_bytes();
    assert_eq!(SavedHead::from_bytes(&bytes).unwrap(), saved);
    for cut in [0, 3, 4, 100, bytes.len() - 1] {
        assert!(SavedHead::from_bytes(&bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}
