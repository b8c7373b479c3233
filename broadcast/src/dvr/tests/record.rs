//! Recording: the window on disk, epochs, ends, and what there is no room for.

use super::tape::Spans;
use super::*;

#[tokio::test]
async fn playlist_goes_back_as_far_as_the_window_and_ends_as_the_live_one() {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * 40));
    let rows = history(&mut studio, 40, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    let row = studio.row(now);
    deck.take(&row);
    deck.kept(1, 39).await;
    assert_eq!(deck.listed("360p"), (10..40).collect::<Vec<_>>());
    let live = render::media(&deck.timeline, &studio::rendition("360p"), Extent::Full).unwrap();
    let long = deck.playlist("360p");
    let tail = |text: &str| {
        let at = text.find("#EXT-X-PROGRAM-DATE-TIME").unwrap();
        text[at..].lines().filter(|line| !line.starts_with("#EXT-X-RENDITION-REPORT")).collect::<Vec<_>>().join("\n")
    };
    assert!(long.ends_with("../audio/dvr.m3u8\",LAST-MSN=40,LAST-PART=0\n"), "{long}");
    assert!(tail(&long).ends_with(&tail(&live)), "{long}\n{live}");
    for (name, bytes) in segments(&rows) {
        if deck.timeline.head().is_some() && matches!(name.slot, Slot::Segment { msn } if msn.0 >= 10) {
            assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
        }
    }
    assert!(deck.read(&object("audio", 1, Slot::Init)).await.is_some());
}

#[test]
fn what_has_left_the_playlists_lingers_as_long_as_they_were() {
    let now = UnixMillis(1_767_225_600_000);
    let (window, target) = (SEGMENT * 12, SEGMENT);
    let mut studio = Studio::new("demo", now);
    let (mut fold, mut tape) = (
        fold::Fold::new(playlist::Settings::default()),
        tape::Tape::new(Spans { window, target }, Authority::nobody()),
    );
    tape.set_live(true);
    let mut gone = Vec::new();
    for n in 0..40 {
        let at = now.plus(SEGMENT * n);
        for row in studio.segment(at) {
            let taken = fold.take(&row.sealed, None);
            let closed = taken.closed.into_iter().map(|closed| (closed, true)).collect();
            tape.follow(Settled { voided: taken.voided, begins_at: None, closed }, Missing::IsHole, at);
        }
        gone.extend(tape.expire(at).into_iter().map(|key| (n, key.msn.0)));
        tape.check_invariants();
    }
    // A segment is listed for 12 segments, may be asked for as long again, and stays for 2 target durations more.
    assert_eq!(gone, (26..40).map(|n| (n, u64::from(n) - 26)).collect::<Vec<_>>());
    // When nothing new comes, what is listed stays while the playlist is served, and goes when it is not.
    let later = now.plus(SEGMENT * 1000);
    assert_eq!(tape.expire(later).len(), 14);
    assert_eq!(tape.length(), SEGMENT * 12);
    tape.set_live(false);
    assert_eq!(tape.expire(later).len(), 12);
    assert!(tape.is_empty() && tape.bytes() == 0);
    tape.check_invariants();
}

#[tokio::test]
async fn broken_off_segment_is_kept_and_proven_by_its_parts() {
    let mut disk = Disk::new(SEGMENT * 20);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let mut rows = history(&mut studio, 2, now);
    rows.extend((0..3).map(|_| studio.row(now)));
    let mut deck = disk.start();
    deck.take_all(&rows);
    let base = rows.last().unwrap().sealed.body().sequence;
    studio.reconnect(now);
    let more = history(&mut studio, 2, now);
    deck.take_on(&more[0], Some(base));
    deck.take_all(&more[1..]);
    deck.kept(2, 4).await;
    assert_eq!(deck.listed("360p"), [0, 1, 2, 3, 4]);
    assert_eq!(deck.playlist("360p").matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    for (name, bytes) in segments(&rows).into_iter().chain(segments(&more)) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
}

#[tokio::test]
async fn what_a_new_epoch_voids_is_void_on_disk_too() {
    let mut disk = Disk::new(SEGMENT * 20);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let rows = history(&mut studio, 2, now);
    let half: Vec<Row> = (0..3).map(|_| studio.row(now)).collect();
    let mut other = studio.fork();
    // The session goes on for two segments that the next session does not know.
    let lost: Vec<Row> = (0..13).map(|_| studio.row(now)).collect();
    let mut deck = disk.start();
    deck.take_all(rows.iter().chain(&half).chain(&lost));
    deck.kept(1, 3).await;
    other.reconnect(now);
    let more = history(&mut other, 1, now);
    deck.take_on(&more[0], Some(half.last().unwrap().sealed.body().sequence));
    deck.take_all(&more[1..]);
    deck.kept(2, 3).await;
    assert_eq!(deck.listed("audio"), [0, 1, 2, 3]);
    let kept: BTreeMap<_, _> = segments(&[rows, half].concat()).into_iter().chain(segments(&more)).collect();
    for (name, bytes) in kept {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
    assert!(deck.read(&segment("audio", 1, 3)).await.is_none(), "void");
    assert!(!disk.root().join("demo/1/3").exists());
}

#[tokio::test]
async fn stream_that_comes_back_after_its_end_starts_with_an_empty_window() {
    let mut disk = Disk::new(SEGMENT * 20);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let mut rows = history(&mut studio, 3, now);
    rows.push(studio.end(now));
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 2).await;
    assert!(deck.playlist("360p").ends_with("#EXT-X-ENDLIST\n"));
    studio.reconnect(now);
    let more = history(&mut studio, 2, now);
    deck.take_on(&more[0], Some(rows.last().unwrap().sealed.body().sequence));
    deck.take_all(&more[1..]);
    deck.kept(2, 4).await;
    assert_eq!(deck.listed("360p"), [3, 4]);
    assert!(deck.read(&segment("360p", 1, 1)).await.is_some(), "who was watching may still ask");
}

#[tokio::test]
async fn image_is_kept_with_its_segment() {
    let mut disk = Disk::new(SEGMENT * 20);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let mut deck = disk.start();
    for _ in 0..7 {
        let row = studio.row(now);
        deck.take(&row);
    }
    let row = studio.row_with_image(now, b"jpeg");
    let (name, _) = row.objects.iter().find(|(name, _)| matches!(name.slot, Slot::Image { .. })).unwrap();
    deck.take(&row);
    deck.kept(1, 0).await;
    assert_eq!(deck.read(name).await.unwrap().bytes, Bytes::from_static(b"jpeg"));
}

#[tokio::test]
async fn oldest_gives_way_when_there_is_no_room_and_the_newest_stays() {
    let mut disk = Disk::new(SEGMENT * 100);
    // A segment takes 3 files of 160 kB and a directory; and there are two files of seals.
    disk.bytes_max = 12 * (3 * 160 + 4) * 1024 + 2 * 1024 * 1024;
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * 60));
    studio.part_bytes = 20 * 1024;
    let rows = history(&mut studio, 60, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 59).await;
    let listed = deck.listed("360p");
    let first = listed[0];
    assert_eq!(listed, (first..60).collect::<Vec<_>>());
    let past = deck.past().unwrap().before(MediaSequence(60)).len();
    assert!((8..20).contains(&past), "{past} segments fit");
    let used: u64 = disk.files().values().sum();
    assert!(used <= disk.bytes_max, "{used} of {}", disk.bytes_max);
    // The live window is longer than what fits on disk: it is served from memory.
    assert!(deck.read(&segment("360p", 1, 59)).await.is_some());
    assert!(deck.read(&segment("360p", 1, 20)).await.is_none());
}

#[tokio::test]
async fn disk_that_others_have_filled_is_left_to_them() {
    let mut disk = Disk::new(SEGMENT * 20);
    disk.free_bytes_min = u64::MAX;
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let rows = history(&mut studio, 13, now);
    let mut deck = disk.start();
    // The disk is measured before the first row.
    deck.take_all(&rows);
    deck.loaded().await;
    assert_eq!(deck.listed("360p"), (1..13).collect::<Vec<_>>(), "the live window");
    deck.stop();
    assert_eq!(disk.media_files(), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn what_cannot_be_written_is_missing_and_nothing_else() {
    let mut disk = Disk::new(SEGMENT * 40);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * 20));
    let rows = history(&mut studio, 20, now);
    let mut deck = disk.start();
    deck.take_all(&rows[..8]);
    deck.kept(1, 0).await;
    // A file has the name of segment 3's directory, so the directory cannot be made.
    std::fs::write(disk.root().join("demo/1/3"), "in the way").unwrap();
    deck.take_all(&rows[8..]);
    deck.kept(1, 19).await;
    let playlist = parse(&deck.playlist("360p"));
    assert_eq!((playlist.media_sequence, playlist.segments.len()), (0, 20));
    assert_eq!(
        deck.listed("360p"),
        (0..20).filter(|msn| *msn != 3).collect::<Vec<_>>(),
        "a gap that nobody saw as media"
    );
    assert!(deck.read(&segment("360p", 1, 3)).await.is_none());
    assert!(deck.read(&segment("360p", 1, 4)).await.is_some());
}

#[test]
fn gate_never_waits_for_the_disk() {
    let disk = Disk::new(SEGMENT * 20);
    let mut studio = Studio::new("demo", disk.clock.wall());
    let row = studio.row(disk.clock.wall());
    let (feed, received, _) = RecorderQueue::unread(Authority::nobody());
    for _ in 0..5_000 {
        feed.admitted(row.sealed.body().stream.clone(), admitted(&row, None));
    }
    let rows = received();
    assert!(rows <= 1024, "further rows are dropped");
    feed.forget(row.sealed.body().stream.clone());
    assert_eq!(received(), rows + 1, "what is not said again finds room");
}

#[test]
fn revocation_reaches_a_recorder_whose_queue_is_full() {
    let authority = Authority::new();
    let studio = Studio::new("demo", studio::START);
    let (feed, received, keys) = RecorderQueue::unread(authority.grant(&studio, studio::START));
    for _ in 0..5_000 {
        feed.forget(studio::stream("demo"));
    }
    assert_eq!(received(), 1024, "there is no room for anything");
    feed.keys(authority.revoke(&studio.key));
    assert!(keys.borrow().is_revoked(&seal::Signer::key_id(&studio.key)));
}

#[tokio::test]
async fn what_a_key_sealed_in_wrong_hands_is_erased_with_all_before_it_and_never_kept() {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * 20));
    let (stolen, since) = (studio.fork(), now.minus(SEGMENT * 15));
    let rows = history(&mut studio, 10, now.minus(SEGMENT * 10));
    let open = studio.row(now.minus(SEGMENT * 10));
    studio.key = seal::SealingKey::generate().unwrap();
    studio.reconnect(now.minus(SEGMENT * 10));
    let later = history(&mut studio, 10, now);
    let mut deck = disk.start();
    deck.take_all(rows.iter().chain([&open]));
    deck.kept(1, 9).await;
    // The node's gate has erased it already.
    deck.timeline.drop_through(open.sealed.body().sequence);
    deck.feed.keys(disk.authority.revoke_since(&stolen.key, since));
    eventually("the key's segments are gone", || !deck.dvr.keeps(&segment("360p", 1, 9))).await;
    assert!(!deck.dvr.keeps(&segment("360p", 1, 0)), "nor anything before them");
    // The segment that the key left open is closed by the seal of another, and is the key's all the same.
    let (first, others) = later.split_first().unwrap();
    deck.take_on(first, Some(open.sealed.body().sequence));
    deck.take_all(others);
    deck.kept(2, 20).await;
    assert_eq!(deck.listed("360p"), (11..=20).collect::<Vec<_>>());
    assert!(!deck.dvr.keeps(&segment("360p", 1, 10)));
    let files: Vec<_> = disk.media_files().into_iter().filter(|path| path.to_string_lossy().contains("/1/")).collect();
    assert!(files.is_empty(), "{files:?}");
}
