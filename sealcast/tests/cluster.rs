//! A cluster of plain processes around a real Mosquitto: what viewers see when machines die.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::time::Duration;

use testkit::browser::Browser;
use testkit::cluster::{Cluster, KEY, STREAM};
use testkit::hls::{parse, playlist};
use testkit::http::get;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::text;
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

#[tokio::test(flavor = "multi_thread")]
async fn viewer_plays_on_when_its_node_is_killed_and_when_the_broker_is_replaced() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    let _control = cluster.node("control").await;
    let mut nodes = [("b1", cluster.node("b1").await), ("b2", cluster.node("b2").await)];
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let base = text(&balancer.ready, "https");
    playlist(&cluster.http, &base, STREAM, "audio", 2).await;

    let mut browser = Browser::open(&format!("{base}/watch/{STREAM}"), 60);
    browser.until_playing().await;
    browser.for_seconds(5).await;

    let node =
        browser.reports.last().and_then(|report| report["player"]["verified"]["node"].as_str()).unwrap().to_owned();
    let (_, dying) = nodes.iter_mut().find(|(id, _)| *id == node).expect("the page names its node");
    dying.process.kill();
    browser.for_seconds(15).await;
    let now = browser.reports.last().unwrap()["player"]["verified"]["node"].clone();
    assert_ne!(now, node.as_str(), "the other node serves the viewer");

    cluster.replace_broker().await;
    browser.for_seconds(12).await;
    let report = browser.stop().await;
    report.assert_played_well(25.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_ingest_comes_back_and_the_playlist_goes_on_with_one_discontinuity() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    let _control = cluster.node("control").await;
    let node = cluster.node("b1").await;
    let mut ingest = cluster.node("ingest").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let base = text(&node.ready["broadcast"][0], "https");
    let before = playlist(&cluster.http, &base, STREAM, "audio", 3).await;
    let newest = before.media_sequence + before.segments.len() as u64 - 1;

    ingest.process.kill();
    drop(publisher);
    let ingest = cluster.node("ingest").await;
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let url = format!("{base}/live/{STREAM}/audio/index.m3u8");
    let after = eventually_async("the playlist to go on", PATIENCE, async || {
        let playlist = parse(&get(&cluster.http, &url).await?);
        let end = playlist.media_sequence + playlist.segments.len() as u64 - 1;
        (end >= newest + 3).then_some(playlist)
    })
    .await;
    assert!(after.media_sequence >= before.media_sequence);
    assert_eq!(after.segments.iter().filter(|segment| segment.discontinuity).count(), 1);
    assert!(!after.end_list);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_joins_late_says_the_same_as_one_that_was_there() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    let _control = cluster.node("control").await;
    let early = cluster.node("b1").await;
    let ingest = cluster.node("ingest").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let early = text(&early.ready["broadcast"][0], "https");
    playlist(&cluster.http, &early, STREAM, "audio", 3).await;
    let late = cluster.node("b2").await;
    let late = text(&late.ready["broadcast"][0], "https");
    for path in ["index.m3u8", "audio/index.m3u8", "360p/index.m3u8"] {
        let url = |base: &str| format!("{base}/live/{STREAM}/{path}");
        let (a, b) = eventually_async("both nodes at the same place", Duration::from_secs(30), async || {
            let a = get(&cluster.http, &url(&early)).await?;
            let b = get(&cluster.http, &url(&late)).await?;
            (a.lines().last() == b.lines().last() && a.lines().count() == b.lines().count()).then_some((a, b))
        })
        .await;
        assert_eq!(a, b, "{path}");
    }
}
