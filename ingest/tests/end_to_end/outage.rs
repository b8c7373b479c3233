//! Publishers that fail and come back: what the ingest seals meanwhile, and the playlists that follow from it.

use std::process::Command;

use media::{Epoch, Slot, UnixMillis};
use messages::{SessionInfo, SessionState};
use playlist::{Settings, Timeline, WINDOW_SEGMENTS_MIN};
use seal::{Object, SealKind, Sealed};

use crate::cluster::{Cluster, KEY, Publisher};
use crate::log;

fn parts(sealed: &Sealed) -> impl Iterator<Item = &Object> {
    sealed.body().objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. }))
}

fn is_gap(sealed: &Sealed) -> bool {
    sealed.body().kind == SealKind::Media && parts(sealed).all(|part| part.gap)
}

fn gaps(seals: &[Sealed]) -> usize {
    seals.iter().filter(|sealed| is_gap(sealed)).count()
}

fn newest(seals: &[Sealed]) -> Epoch {
    seals.last().unwrap().body().epoch
}

/// Wall clock at which a row begins, and at which it ends.
fn span(sealed: &Sealed) -> (UnixMillis, UnixMillis) {
    let origin = sealed.body().origin;
    let part = parts(sealed).next().unwrap();
    (origin.plus(part.start.as_duration()), origin.plus(part.start.plus(part.duration).as_duration()))
}

/// Checks that playlists take every row, and that the wall clock of what they list never goes back.
fn fold(seals: &[Sealed]) -> Timeline {
    let part_target = media::segmenter::declared_part(std::time::Duration::from_millis(500));
    let part_target_ms = u32::try_from(part_target.as_millis()).unwrap();
    let settings = Settings { target_duration_s: 4, window_segments: WINDOW_SEGMENTS_MIN * 4, part_target_ms };
    let mut timeline = Timeline::new(settings);
    for sealed in seals {
        timeline.apply(sealed.body()).unwrap();
        timeline.check_invariants();
    }
    let rows: Vec<_> = seals.iter().filter(|sealed| parts(sealed).count() > 0).collect();
    for pair in rows.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let (epochs, reached, begins) = ([before, after].map(|s| s.body().epoch), span(before).1, span(after).0);
        assert!(begins >= reached || epochs[0] == epochs[1], "{epochs:?}: {reached} before {begins}");
        assert!(begins.0 - reached.0 >= -1, "rows follow on one another");
    }
    timeline
}

fn signal(publisher: &Publisher, name: &str) {
    let id = publisher.child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_publisher_leaves_gaps_until_it_is_back_and_its_last_segment_stays_whole() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 30).await;
    let url = cluster.url("live", KEY);
    let mut publisher = cluster.publish(&url, 60);
    cluster.receiver.wait_for("a segment, and a part of the next", |r| r.seals().len() >= 10).await;
    publisher.child.kill().await.unwrap();
    cluster.receiver.wait_for("five seconds of gaps", |r| gaps(&r.seals()) >= 10).await;
    cluster.session(SessionState::Reconnecting).await;
    let publisher = cluster.publish(&url, 60);
    let more = |seals: &[Sealed]| seals.iter().filter(|sealed| sealed.body().epoch == Epoch(2)).count() >= 10;
    cluster.receiver.wait_for("the next epoch", |r| more(&r.seals()) && r.seals().iter().all(|s| r.complete(s))).await;
    drop(publisher);

    let seals = log::check(&cluster.receiver);
    let timeline = fold(&seals);
    let media = seals.iter().position(is_gap).unwrap();
    let rest = seals[media..].iter().position(|sealed| !is_gap(sealed)).unwrap() + media;
    assert!(seals[..media].iter().all(|sealed| sealed.body().epoch == Epoch(1) && !is_gap(sealed)));
    assert!(seals[media..rest].iter().all(|sealed| sealed.body().epoch == Epoch(1) && is_gap(sealed)));
    assert!(seals[rest].body().epoch == Epoch(2));
    // The segment that was received in part was closed early, and is no gap.
    let last = seals[media - 1].body();
    let whole: Vec<_> = last.objects.iter().filter(|object| matches!(object.slot, Slot::Segment { .. })).collect();
    assert!(!whole.is_empty() && whole.iter().all(|segment| !segment.gap));
    // By the wall clock, only the media before the first keyframe is missing between the gaps and the media that follows.
    let between = span(&seals[rest]).0.0 - span(&seals[rest - 1]).1.0;
    assert!((0..=500).contains(&between), "{between} ms");
    // Decode times continue where the media ended, however long the outage.
    for part in parts(&seals[rest]) {
        let same = |before: &&Object| before.rendition == part.rendition;
        let before = parts(&seals[media - 1]).find(same).unwrap();
        let ended = before.decode_time.plus(before.duration);
        let step = part.decode_time.as_duration().as_secs_f64() - ended.as_duration().as_secs_f64();
        assert!((-0.1..=0.5).contains(&step), "{}: {step} s", part.rendition);
    }
    for rendition in log::renditions(&seals) {
        let epochs: Vec<_> = seals.chunk_by(|a, b| a.body().epoch == b.body().epoch).collect();
        log::decode(&cluster, &seals[..media], &rendition);
        log::decode(&cluster, epochs[1], &rendition);
    }
    assert_eq!(
        timeline.segments().filter(|segment| segment.key().epoch == Epoch(1)).count(),
        log::segments(&seals[..rest]).len()
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_that_hangs_leaves_gaps_and_goes_on_in_a_new_epoch() {
    let cluster = Cluster::start(|_| {}).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 5).await;
    signal(&publisher, "-STOP");
    cluster.receiver.wait_for("gaps", |r| gaps(&r.seals()) >= 8).await;
    assert_eq!(newest(&cluster.receiver.seals()), Epoch(1));
    signal(&publisher, "-CONT");
    let more = |seals: &[Sealed]| seals.iter().filter(|sealed| sealed.body().epoch == Epoch(2)).count() >= 6;
    cluster.receiver.wait_for("the next epoch", |r| more(&r.seals()) && r.seals().iter().all(|s| r.complete(s))).await;
    drop(publisher);
    let seals = log::check(&cluster.receiver);
    fold(&seals);
    assert!(seals.iter().all(|sealed| !is_gap(sealed) || sealed.body().epoch == Epoch(1)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_end_with_the_grace() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 3).await;
    let mut publisher = cluster.publish(&cluster.url("live", KEY), 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 12).await;
    publisher.child.kill().await.unwrap();
    cluster.receiver.wait_for("the end", |r| r.seals().last().is_some_and(|s| s.body().kind == SealKind::End)).await;
    cluster.session(SessionState::Ended).await;
    let seals = log::check(&cluster.receiver);
    let timeline = fold(&seals);
    assert!(timeline.is_ended());
    assert!((2..=7).contains(&gaps(&seals)), "{} gaps in three seconds", gaps(&seals));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_was_left_to_another_ingest_is_not_announced_as_ended() {
    let mut cluster = Cluster::start(|config| config.reconnect_grace_s = 8).await;
    let mut publisher = cluster.publish(&cluster.url("live", KEY), 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 6).await;
    publisher.child.kill().await.unwrap();
    let ours = cluster.session(SessionState::Reconnecting).await;
    let other = |epoch| SessionInfo {
        ingest: "i2".parse().unwrap(),
        epoch: Epoch(epoch),
        state: SessionState::Live,
        ..ours.clone()
    };
    cluster.say_session(&other(7)).await;
    // The ingest stands by, then has its turn because the other one is not there. It has nothing to seal until its grace is over.
    cluster.status_where("its end", serde_json::Value::is_null).await;
    cluster.stop_ingest().await;
    cluster.say_session(&other(8)).await;
    cluster.session_where("that of the other ingest", |session| session.epoch == Epoch(8)).await;
    let said: Vec<_> = cluster.sessions().iter().map(|session| (session.epoch.0, session.state)).collect();
    let left = said.iter().position(|(epoch, _)| *epoch == 7).unwrap();
    assert_eq!(said[left + 1..], [(8, SessionState::Live)], "{said:?}");
    cluster.stop().await;
}

/// Configures a grace in which the slate is shown. The source is passed through, and encoded as one more rung.
fn with_slate(config: &mut ingest::Config) {
    config.reconnect_grace_s = 30;
    config.outage = ingest::DuringOutage::Slate;
    let rung = |short_side| ingest::pipeline::RungConfig { short_side, kbit_per_second: None };
    config.pipeline.rungs = Some([180, 90].map(rung).into());
}

fn of_epoch(seals: &[Sealed], epoch: u64) -> Vec<Sealed> {
    seals.iter().filter(|sealed| sealed.body().epoch == Epoch(epoch)).cloned().collect()
}

/// Renditions with their formats, from the first checkpoint.
fn formats(seals: &[Sealed]) -> Vec<(String, String)> {
    let first = seals.iter().find(|sealed| !sealed.body().checkpoint.is_empty()).unwrap();
    let of =
        |rendition: &seal::Rendition| (rendition.track.rendition.to_string(), format!("{:?}", rendition.track.format));
    first.body().checkpoint.iter().map(of).collect()
}

async fn shows_slate(cluster: &Cluster) -> bool {
    cluster.status("i1").await["streams"]["demo"]["slate"] == true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slate_is_shown_while_the_publisher_is_away_and_gives_way_when_it_is_back() {
    let cluster = Cluster::start(with_slate).await;
    let url = cluster.url("live", KEY);
    let mut publisher = cluster.publish(&url, 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 10).await;
    assert!(!shows_slate(&cluster).await);
    publisher.child.kill().await.unwrap();
    let slate = |seals: &[Sealed]| of_epoch(seals, 2).len();
    cluster.receiver.wait_for("six seconds of the slate", |r| slate(&r.seals()) >= 12).await;
    assert!(shows_slate(&cluster).await);
    let waiting = cluster.session(SessionState::Reconnecting).await;
    assert_eq!(waiting.epoch, Epoch(2), "it is still waited for");
    let publisher = cluster.publish(&url, 60);
    let more = |seals: &[Sealed]| of_epoch(seals, 3).len() >= 8;
    cluster.receiver.wait_for("the next epoch", |r| more(&r.seals()) && r.seals().iter().all(|s| r.complete(s))).await;
    assert_eq!(cluster.session(SessionState::Live).await.epoch, Epoch(3));
    assert!(!shows_slate(&cluster).await);
    drop(publisher);

    let seals = log::check(&cluster.receiver);
    fold(&seals);
    let epochs: Vec<_> = seals.chunk_by(|a, b| a.body().epoch == b.body().epoch).collect();
    assert_eq!(epochs.iter().map(|epoch| epoch[0].body().epoch).collect::<Vec<_>>(), [1, 2, 3].map(Epoch));
    assert_eq!(epochs.iter().map(|epoch| epoch[0].body().discontinuity.0).collect::<Vec<_>>(), [0, 1, 2]);
    let numbers: Vec<u64> = log::segments(&seals).into_iter().map(|msn| msn.0).collect();
    assert_eq!(numbers, (0..u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    // There are gaps for two seconds, and then none while the slate is shown.
    assert!((2..=8).contains(&gaps(epochs[0])), "{} gaps", gaps(epochs[0]));
    let shown = epochs[1].iter().rposition(|sealed| !is_gap(sealed)).unwrap() + 1;
    assert_eq!(gaps(&epochs[1][..shown]), 0);
    assert!(epochs[1].len() - shown <= 2, "gaps while the publisher begins");
    assert_eq!(formats(epochs[0]), formats(epochs[1]), "the same ladder");
    assert_eq!(formats(epochs[0]), formats(epochs[2]));
    let media = epochs[0].iter().rposition(|sealed| !is_gap(sealed)).unwrap() + 1;
    for rendition in log::renditions(&seals) {
        log::decode(&cluster, &epochs[0][..media], &rendition);
        let seconds = log::decode(&cluster, &epochs[1][..shown], &rendition);
        assert!(seconds >= 5.5, "{rendition}: {seconds} s");
        log::decode(&cluster, epochs[2], &rendition);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_that_is_back_at_once_makes_no_slate() {
    let cluster = Cluster::start(with_slate).await;
    let url = cluster.url("live", KEY);
    let mut publisher = cluster.publish(&url, 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 6).await;
    publisher.child.kill().await.unwrap();
    let publisher = cluster.publish(&url, 60);
    cluster.receiver.wait_for("the next epoch", |r| of_epoch(&r.seals(), 2).len() >= 8).await;
    assert_eq!(cluster.session(SessionState::Live).await.epoch, Epoch(2));
    assert!(!shows_slate(&cluster).await);
    drop(publisher);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slate_ends_with_the_grace() {
    let cluster = Cluster::start(|config| {
        with_slate(config);
        config.reconnect_grace_s = 6;
    })
    .await;
    let mut publisher = cluster.publish(&cluster.url("live", KEY), 60);
    cluster.receiver.wait_for("some rows", |r| r.seals().len() >= 6).await;
    publisher.child.kill().await.unwrap();
    cluster.receiver.wait_for("the end", |r| r.seals().last().is_some_and(|s| s.body().kind == SealKind::End)).await;
    assert_eq!(cluster.session(SessionState::Ended).await.epoch, Epoch(2));
    let seals = log::check(&cluster.receiver);
    assert!(fold(&seals).is_ended());
    let slate = of_epoch(&seals, 2);
    assert!((4..=12).contains(&slate.len()), "{} rows of the slate in four seconds", slate.len());
    assert_eq!(gaps(&slate), 0);
    cluster.stop().await;
}
