//! Edges: the log without its bytes, and how an edge becomes an owner and back.

use media::{Epoch, MediaSequence, Slot};

use super::*;
use crate::Holding;

fn follow(bench: &mut Bench, holding: Holding) {
    bench.apply(Input::Follow { stream: stream("demo"), holding, owners: vec![node("b1")] });
}

fn edge() -> (Authority, Studio, Bench) {
    let authority = Authority::new();
    let studio = Studio::new("demo", START);
    let mut bench = Bench::with(&authority, &studio);
    follow(&mut bench, Holding::Edge);
    bench.wait(Duration::from_secs(6));
    (authority, studio, bench)
}

fn whole(msn: u64) -> Slot {
    Slot::Segment { msn: MediaSequence(msn) }
}

#[test]
fn edge_lists_what_is_sealed_and_pulls_nothing_by_itself() {
    let (_, mut studio, mut bench) = edge();
    let rows: Vec<Row> = (0..2).flat_map(|_| studio.segment(bench.wall())).collect();
    rows.iter().for_each(|row| bench.seal(row));
    bench.wait(Duration::from_secs(12));
    assert!(bench.playlist("360p").unwrap().contains("1/1.m4s"));
    assert_eq!((bench.reasons(), bench.pulls.len()), (vec![], 0));
    let media = &bench.view().media;
    assert!(media.get(Epoch(1), &studio::rendition("360p"), whole(1)).is_none() && !media.is_whole());
    for (name, bytes) in rows.iter().flat_map(|row| &row.objects) {
        let absent = media.elsewhere(name.epoch, &name.rendition, name.slot).unwrap();
        assert_eq!((absent.digest, absent.length), (sha256(bytes), bytes.len() as u64), "{name}");
    }
}

#[test]
fn edge_whose_bus_falls_silent_asks_an_owner_before_its_viewers_run_dry() {
    let (_, mut studio, mut bench) = edge();
    studio.segment(bench.wall()).iter().for_each(|row| bench.seal(row));
    bench.apply(Input::Peers(vec![node("b1"), node("b2")]));
    assert!(bench.pulls.is_empty());
    bench.wait(Duration::from_secs(1));
    assert!(
        matches!(bench.pulls.as_slice(), [Effect::PullLog { peer, .. }] if *peer == node("b1")),
        "{:?}",
        bench.pulls
    );
}

#[test]
fn bytes_that_are_pushed_to_an_edge_are_no_fault() {
    let (_, mut studio, mut bench) = edge();
    let rows = studio.segment(bench.wall());
    rows.iter().for_each(|row| bench.seal(row));
    rows.iter().for_each(|row| bench.objects(row));
    let more = studio.segment(bench.wall());
    bench.take_all(&more);
    bench.wait(Duration::from_secs(20));
    assert_eq!(bench.reasons(), []);
    let pushed = rows.iter().chain(&more).map(|row| row.objects.len()).sum();
    assert_eq!(bench.answers, vec![Answer::Full; pushed], "what is thrown away is not acknowledged");
}

#[test]
fn edge_that_becomes_owner_fetches_its_window_and_shows_the_same_meanwhile() {
    let (_, mut studio, mut bench) = edge();
    let rows: Vec<Row> = (0..3).flat_map(|_| studio.segment(bench.wall())).collect();
    rows.iter().for_each(|row| bench.seal(row));
    let listed = bench.playlist("360p");
    bench.apply(Input::Peers(vec![node("b1"), node("b2")]));
    follow(&mut bench, Holding::Owner);
    assert_eq!(bench.playlist("360p"), listed);
    let mut asked = 0;
    while let Some(pull) = bench.pulls.pop() {
        let Effect::PullObject { id, peer, name, .. } = pull else { continue };
        assert_eq!(peer, node("b1"), "the owner is asked");
        let (_, bytes) = rows.iter().flat_map(|row| &row.objects).find(|(known, _)| *known == name).unwrap();
        bench.apply(Input::Pulled { id, result: Pulled::Object { digest: sha256(bytes), bytes: bytes.clone() } });
        asked += 1;
    }
    assert_eq!(asked, rows.iter().map(|row| row.objects.len()).sum::<usize>());
    assert!(bench.view().media.is_whole());
    assert_eq!(bench.playlist("360p"), listed);
    assert!(bench.view().media.get(Epoch(1), &studio::rendition("360p"), whole(2)).is_some());
    let more = studio.segment(bench.wall());
    bench.take_all(&more);
    assert!(bench.view().media.get(Epoch(1), &studio::rendition("360p"), whole(3)).is_some());
    assert_eq!(bench.reasons(), []);
}

#[test]
fn log_goes_on_while_an_edge_that_became_owner_fills_its_window() {
    let (_, mut studio, mut bench) = edge();
    let mut rows = vec![];
    for _ in 0..20 {
        rows.extend(studio.segment(bench.wall()));
        rows.iter().rev().take(8).rev().for_each(|row| bench.seal(row));
        bench.wait(Duration::from_secs(4));
    }
    bench.apply(Input::Peers(vec![node("b1")]));
    let mut place = bench.gate.streams.values().next().unwrap().shown_place();
    follow(&mut bench, Holding::Owner);
    for _ in 0..14 {
        for row in studio.segment(bench.wall()) {
            bench.take(&row);
            let next = bench.gate.streams.values().next().unwrap().shown_place();
            assert!(next > place, "what comes is shown, and playlists do not go back");
            place = next;
            bench.wait(Duration::from_millis(500));
            // One pull at a time is answered, with the bytes if the test has them.
            if let Some(Effect::PullObject { id, name, .. }) = bench.pulls.pop() {
                let found = rows.iter().flat_map(|row| &row.objects).find(|(known, _)| *known == name);
                let result = match found {
                    Some((_, bytes)) => Pulled::Object { digest: sha256(bytes), bytes: bytes.clone() },
                    None => Pulled::Failed(None),
                };
                bench.apply(Input::Pulled { id, result });
            }
        }
    }
    assert!(bench.view().media.is_whole(), "what was not to be had has left the window");
}

#[test]
fn segment_that_was_begun_as_an_edge_is_whole_however_soon_its_parts_come() {
    for fills_at_once in [true, false] {
        let (_, mut studio, mut bench) = edge();
        let mut rows = studio.segment(bench.wall());
        rows.iter().for_each(|row| bench.seal(row));
        let open: Vec<Row> = (0..3).map(|_| studio.row(bench.wall())).collect();
        open.iter().for_each(|row| bench.seal(row));
        rows.extend(open);
        bench.apply(Input::Peers(vec![node("b1")]));
        follow(&mut bench, Holding::Owner);
        let fill = |bench: &mut Bench| {
            while let Some(pull) = bench.pulls.pop() {
                let Effect::PullObject { id, name, .. } = pull else { continue };
                let (_, bytes) = rows.iter().flat_map(|row| &row.objects).find(|(known, _)| *known == name).unwrap();
                bench.apply(Input::Pulled {
                    id,
                    result: Pulled::Object { digest: sha256(bytes), bytes: bytes.clone() },
                });
            }
        };
        if fills_at_once {
            fill(&mut bench);
        }
        for _ in 0..5 {
            let row = studio.row(bench.wall());
            bench.take(&row);
        }
        fill(&mut bench);
        assert_eq!(bench.reasons(), []);
        assert!(bench.playlist("360p").unwrap().contains("1/1.m4s") && bench.view().media.is_whole());
        let (digest, bytes) = bench.view().media.get(Epoch(1), &studio::rendition("360p"), whole(1)).unwrap();
        assert_eq!(digest, sha256(&bytes));
    }
}

#[test]
fn owner_that_becomes_edge_goes_on_without_the_bytes_it_waited_for() {
    let (authority, mut studio) = (Authority::new(), Studio::new("demo", START));
    let mut bench = Bench::with(&authority, &studio);
    let rows = studio.segment(bench.wall());
    bench.take_all(&rows);
    let next = studio.segment(bench.wall());
    next.iter().for_each(|row| bench.seal(row));
    assert!(!bench.playlist("360p").unwrap().contains("1/1.m4s"));
    follow(&mut bench, Holding::Edge);
    assert!(bench.playlist("360p").unwrap().contains("1/1.m4s"));
    let media = &bench.view().media;
    assert!(media.get(Epoch(1), &studio::rendition("360p"), whole(0)).is_some(), "what it has it keeps");
    assert!(media.elsewhere(Epoch(1), &studio::rendition("360p"), whole(1)).is_some());
}

#[test]
fn reconnect_and_void_rows_are_followed_by_an_edge_like_by_an_owner() {
    let (authority, mut studio, mut bench) = edge();
    let mut owner = Bench::with(&authority, &studio);
    let rows: Vec<Row> = (0..2).flat_map(|_| studio.segment(bench.wall())).collect();
    for row in &rows {
        owner.take(row);
        bench.seal(row);
    }
    studio.reconnect(bench.wall());
    for row in studio.segment(bench.wall()) {
        owner.take(&row);
        bench.seal(&row);
    }
    assert_eq!(bench.playlist("360p"), owner.playlist("360p"));
    assert!(bench.playlist("360p").unwrap().contains("EXT-X-DISCONTINUITY"));
}

#[test]
fn stream_that_was_joined_in_vain_asks_again_before_it_believes_its_first_seal() {
    let (_, mut studio, mut bench) = edge();
    bench.apply(Input::Peers(vec![node("b1")]));
    bench.pulls.clear();
    let row = studio.row(bench.wall());
    bench.seal(&row);
    assert_eq!(bench.admitted(), 0);
    assert!(matches!(&bench.pulls[..], [Effect::PullLog { peer, .. }] if *peer == node("b1")));
}

#[test]
fn edge_whose_stream_was_silent_for_long_is_an_edge_when_it_goes_on() {
    let (_, mut studio, mut bench) = edge();
    for row in studio.segment(bench.wall()) {
        bench.seal(&row);
    }
    bench.wait(Duration::from_secs(700));
    assert_eq!(bench.gate.streams(), 0);
    studio.reconnect(bench.wall());
    for _ in 0..2 {
        studio.segment(bench.wall()).iter().for_each(|row| bench.seal(row));
        bench.wait(Duration::from_secs(6));
    }
    assert_eq!(bench.view().holding, Holding::Edge);
    assert!(bench.pulls.iter().all(|pull| !matches!(pull, Effect::PullObject { .. })));
}

#[test]
fn stream_that_nobody_follows_any_more_is_gone_but_for_its_head() {
    let (_, mut studio, mut bench) = edge();
    for row in studio.segment(bench.wall()) {
        bench.seal(&row);
    }
    bench.apply(Input::Unfollow(stream("demo")));
    assert_eq!((bench.views.len(), bench.gate.streams(), bench.gate.heads().count()), (0, 0, 1));
}
