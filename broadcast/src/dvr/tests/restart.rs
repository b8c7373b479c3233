//! Recordings that are read back after a restart.

use super::*;

/// A recording of some segments, whose recorder has stopped.
async fn recorded(disk: &mut Disk, count: u32) -> (Studio, Vec<Row>, BTreeMap<&'static str, String>) {
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * count));
    let mut rows = history(&mut studio, count, now);
    rows.push(studio.row(now));
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, u64::from(count) - 1).await;
    let playlists = ["1080p", "360p", "audio"].map(|name| (name, deck.playlist(name)));
    deck.stop();
    (studio, rows, playlists.into())
}

#[tokio::test]
async fn restart_resumes_with_identical_playlists_and_media() {
    let mut disk = Disk::new(SEGMENT * 30);
    let (_, rows, before) = recorded(&mut disk, 40).await;
    let mut deck = disk.start();
    deck.loaded().await;
    // A peer that was not restarted hands over its window.
    for row in &rows {
        _ = deck.timeline.apply(row.sealed.body());
    }
    for (rendition, text) in before {
        assert_eq!(deck.playlist(rendition), text);
    }
    for (name, bytes) in segments(&rows[10 * 8..40 * 8]) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
    assert!(deck.refused.try_recv().is_err(), "nothing was refused");
}

#[tokio::test]
async fn session_that_breaks_off_with_the_node_leaves_no_hole() {
    let mut disk = Disk::new(SEGMENT * 30);
    let (mut studio, rows, _) = recorded(&mut disk, 14).await;
    let mut deck = disk.start();
    deck.loaded().await;
    let base = rows.last().unwrap().sealed.body().sequence;
    studio.reconnect(disk.clock.wall());
    let more = history(&mut studio, 2, disk.clock.wall());
    deck.take_on(&more[0], Some(base));
    deck.take_all(&more[1..]);
    deck.kept(2, 16).await;
    assert_eq!(deck.listed("360p"), (0..17).collect::<Vec<_>>());
    let cut_short = deck.read(&segment("360p", 1, 14)).await.unwrap();
    assert_eq!(cut_short.bytes, segments(&rows)[&segment("360p", 1, 14)]);
}

#[tokio::test]
async fn rows_that_come_while_it_is_read_back_are_not_lost() {
    let mut disk = Disk::new(SEGMENT * 30);
    let (mut studio, mut rows, _) = recorded(&mut disk, 14).await;
    // The keys of the recording are not known yet, so it cannot be read.
    let mut deck = disk.start_knowing(Authority::nobody());
    let mut more: Vec<Row> = (0..7 + 16).map(|_| studio.row(disk.clock.wall())).collect();
    // The gate begins at a checkpoint: it has only the seals of what is before that.
    more[..7].iter_mut().for_each(|row| row.objects.clear());
    deck.take_all(&more);
    assert!(deck.past().is_none());
    deck.feed.keys(disk.authority.grant(&studio, disk.clock.wall()));
    deck.loaded().await;
    deck.kept(1, 16).await;
    assert_eq!(deck.listed("360p"), (0..14).chain(15..17).collect::<Vec<_>>());
    rows.pop();
    for (name, bytes) in segments(&rows).into_iter().chain(segments(&more[7..])) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
}

#[tokio::test]
async fn node_that_was_away_has_a_gap_and_the_rest_stays_where_it_was() {
    let mut disk = Disk::new(SEGMENT * 60);
    let (mut studio, _, _) = recorded(&mut disk, 14).await;
    let now = disk.clock.wall();
    let away: Vec<Row> = (0..7 + 8 * 4).map(|_| studio.row(now)).collect();
    let mut deck = disk.start();
    deck.loaded().await;
    let rows = history(&mut studio, 14, now);
    // The gate begins at a checkpoint: its own row has no bytes.
    let mut first = away.last().unwrap().clone();
    first.objects.clear();
    deck.take(&first);
    deck.take_all(&rows);
    deck.kept(1, 32).await;
    assert_eq!(deck.listed("360p"), (0..14).chain(19..33).collect::<Vec<_>>());
    let playlist = parse(&deck.playlist("360p"));
    assert_eq!((playlist.media_sequence, playlist.segments.len()), (0, 33));
    let length: f32 = playlist.segments.iter().map(|segment| segment.duration).sum();
    assert!((length - 33.0 * 4.0).abs() < 0.01, "the timeline of one epoch has no jump: {length}");
}

#[tokio::test]
async fn session_that_ended_while_the_node_was_away_is_a_gap_with_its_discontinuity() {
    let mut disk = Disk::new(SEGMENT * 60);
    let (mut studio, _, _) = recorded(&mut disk, 14).await;
    let now = disk.clock.wall().plus(SEGMENT * 10);
    (0..7 + 8).for_each(|_| drop(studio.row(now)));
    studio.reconnect(now);
    let opening = studio.row(now);
    let mut deck = disk.start();
    deck.loaded().await;
    let checkpoint: Vec<Row> = (0..7 + 8).map(|_| studio.row(now)).collect();
    // The gate begins at a checkpoint, with the init segments that it states.
    let mut first = checkpoint.last().unwrap().clone();
    first.objects = opening.objects.iter().filter(|(name, _)| name.slot == Slot::Init).cloned().collect();
    deck.take(&first);
    let rows = history(&mut studio, 2, now);
    deck.take_all(&rows);
    deck.kept(2, 19).await;
    let text = deck.playlist("360p");
    assert_eq!(deck.listed("360p"), (0..14).chain(18..20).collect::<Vec<_>>(), "{text}");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    let live = render::media(&deck.timeline, &studio::rendition("360p"), Extent::Full).unwrap();
    assert!(live.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n") && text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"));
}

#[tokio::test]
async fn peer_that_has_what_was_missed_fills_the_hole() {
    let mut disk = Disk::new(SEGMENT * 60);
    let (mut studio, before, _) = recorded(&mut disk, 14).await;
    let now = disk.clock.wall();
    let missed: Vec<Row> = (0..7 + 8 * 4).map(|_| studio.row(now)).collect();
    let mut deck = disk.start();
    deck.loaded().await;
    // The gate joins the log of a peer at the checkpoint that completes segment 9.
    let mut first = before[9 * 8 + 7].clone();
    first.objects.clear();
    deck.take(&first);
    deck.take_all(&before[10 * 8..]);
    deck.take_all(&missed);
    deck.kept(1, 18).await;
    assert_eq!(deck.listed("360p"), (0..19).collect::<Vec<_>>());
    let all = [before, missed].concat();
    for (name, bytes) in segments(&all) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
}

#[tokio::test]
async fn what_has_had_its_time_meanwhile_goes_with_its_seals() {
    let mut disk = Disk::new(SEGMENT * 24);
    let (_, rows, _) = recorded(&mut disk, 60).await;
    assert_eq!(disk.media_files().len(), 3 * 61);
    // Segments before 24 were closed more than two windows and two target durations ago.
    disk.clock = Clock::new().shifted(60_000);
    let deck = disk.start();
    deck.loaded().await;
    eventually("old files are gone", || disk.media_files().len() <= 3 * 37).await;
    assert!(deck.read(&segment("audio", 1, 24 - 1)).await.is_none());
    let lingering = segment("audio", 1, 50);
    assert_eq!(deck.read(&lingering).await.unwrap().bytes, segments(&rows)[&lingering]);
    let seals = disk.files().into_keys().filter(|path| path.extension().is_some_and(|e| e == "cbor"));
    assert_eq!(seals.count(), 2, "of 481 seals the first 256 were of segments 0 to 31");
}

#[tokio::test]
async fn recording_of_keys_that_nobody_has_goes_when_its_time_is_over() {
    let mut disk = Disk::new(SEGMENT * 12);
    let _ = recorded(&mut disk, 14).await;
    let clock = disk.clock;
    // It stays for two windows and two target durations: 104 s.
    disk.clock = clock.shifted(60_000);
    let mut deck = disk.start_knowing(Authority::nobody());
    deck.feed.keys(Authority::nobody());
    deck.stop();
    assert!(disk.root().join("demo/1/13").exists());
    disk.clock = clock.shifted(105_000);
    deck = disk.start_knowing(Authority::nobody());
    eventually("nothing is left of it", || !disk.root().join("demo").exists()).await;
    assert_eq!(deck.refused.recv().await.unwrap().reason, messages::AlertReason::Key);
}

#[tokio::test]
async fn recording_whose_time_is_over_goes_as_a_whole() {
    let mut disk = Disk::new(SEGMENT * 12);
    let _ = recorded(&mut disk, 14).await;
    assert!(disk.root().join("demo").exists());
    disk.clock = Clock::new().shifted(3 * 48_000);
    let deck = disk.start();
    eventually("nothing is left of it", || !disk.root().join("demo").exists()).await;
    assert!(!deck.dvr.has(&studio::stream("demo")));
}

#[tokio::test]
async fn recording_of_a_key_that_was_revoked_stays_what_it_was() {
    let mut disk = Disk::new(SEGMENT * 30);
    let (studio, rows, before) = recorded(&mut disk, 14).await;
    let mut deck = disk.start_knowing(disk.authority.revoke(&studio.key));
    deck.loaded().await;
    for row in &rows {
        _ = deck.timeline.apply(row.sealed.body());
    }
    for (rendition, text) in before {
        assert_eq!(deck.playlist(rendition), text);
    }
    for (name, bytes) in segments(&rows[..14 * 8]) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, bytes, "{name}");
    }
    assert!(deck.refused.try_recv().is_err(), "nothing was refused");
}

#[tokio::test]
async fn what_a_key_sealed_in_wrong_hands_is_erased_after_a_restart_with_all_before_it() {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now.minus(SEGMENT * 20));
    let (stolen, since) = (studio.fork(), now.minus(SEGMENT * 15));
    let mut rows = history(&mut studio, 10, now.minus(SEGMENT * 10));
    // A thief who backdates gains nothing: what comes after a void segment is void.
    rows.extend(studio.segment(since.minus(SEGMENT)));
    rows.push(studio.row(now.minus(SEGMENT * 10)));
    studio.key = seal::SealingKey::generate().unwrap();
    disk.keyring = disk.authority.grant(&studio, now);
    studio.reconnect(now.minus(SEGMENT * 10));
    let later = history(&mut studio, 8, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.take_on(&later[0], Some(rows.last().unwrap().sealed.body().sequence));
    deck.take_all(&later[1..]);
    deck.kept(2, 19).await;
    assert!(deck.dvr.keeps(&segment("360p", 1, 10)));
    deck.stop();
    // The key is revoked while the node is down.
    deck = disk.start_knowing(disk.authority.revoke_since(&stolen.key, since));
    deck.loaded().await;
    let is_kept = |(epoch, msn)| deck.dvr.keeps(&segment("360p", epoch, msn));
    assert_eq!(
        [(1, 0), (1, 5), (1, 9), (1, 10), (1, 11), (2, 12), (2, 19)].map(is_kept),
        [false, false, false, false, false, true, true]
    );
    let of_the_key = |path: &PathBuf| path.to_string_lossy().contains("/demo/1/");
    eventually("its files are gone", || !disk.media_files().iter().any(of_the_key)).await;
}
