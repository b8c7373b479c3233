//! Viewers who are sent straight to the broadcast nodes: what they see when nodes die.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::process::{Command, Stdio};

use serde_json::json;
use testkit::browser::{Browser, Report};
use testkit::cluster::{Cluster, KEY, Node, STREAM};
use testkit::hls::playlist;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::text;
use testkit::wait::turn;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Number of reports, one per second, within which a viewer of a killed node has to play from another node.
const MOVED_WITHIN: usize = 5;

/// Longest standstill of the picture that a node's death may cause, in milliseconds. `bench failover` measures it; here, everything is a
/// debug build that shares the cores with a browser.
const STALL_MS_MAX: f64 = 5_000.0;

fn https(node: &Node) -> String {
    text(&node.ready["broadcast"][0], "https")
}

fn origin(browser: &Browser) -> String {
    text(&browser.reports.last().unwrap()["player"], "origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_viewer_plays_from_a_node_and_goes_on_elsewhere_when_it_is_killed() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    cluster.settings.push_str("\n[role.broadcast]\ndirect = true\n");
    let _control = cluster.node("control").await;
    let mut nodes = Vec::new();
    for id in ["b1", "b2", "b3"] {
        nodes.push(cluster.node(id).await);
    }
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let base = text(&balancer.ready, "https");
    playlist(&cluster.http, &base, STREAM, "audio", 2).await;

    let mut browser = Browser::open(&format!("{base}/watch/{STREAM}"), 75);
    browser.until_playing().await;
    browser.for_seconds(5).await;
    // The second node that it moves to may be listed only in the steering manifest, not in the playlist.
    for _ in 0..2 {
        let before = origin(&browser);
        let is_there = |node: &Node| https(node) == before;
        let dying = nodes.iter().position(is_there).expect("it plays from a node and not through the balancer");
        nodes.remove(dying).process.kill();
        browser.for_seconds(MOVED_WITHIN).await;
        assert_ne!(origin(&browser), before);
        // Nodes without the stream have to take it over first.
        for node in &nodes {
            playlist(&cluster.http, &https(node), STREAM, "audio", 2).await;
        }
        browser.for_seconds(5).await;
    }
    assert_undisturbed(browser).await;
}

/// hls.js itself leaves a pathway when audio cannot be loaded. Without audio, it stays as long as it retries.
#[tokio::test(flavor = "multi_thread")]
async fn direct_viewer_of_a_stream_without_sound_goes_on_as_well() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    cluster.settings.push_str("\n[role.broadcast]\ndirect = true\n");
    let _control = cluster.node("control").await;
    let mut nodes = vec![cluster.node("b1").await, cluster.node("b2").await];
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let silent = cluster.path("silent.flv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&file).args(["-c", "copy", "-an"]).arg(&silent).stdin(Stdio::null());
    assert!(ffmpeg.status().unwrap().success());
    let _publisher = publish(&silent, &text(&ingest.ready, "rtmp"), KEY);
    let base = text(&balancer.ready, "https");
    playlist(&cluster.http, &base, STREAM, "360p", 2).await;

    let mut browser = Browser::open(&format!("{base}/watch/{STREAM}"), 30);
    browser.until_playing().await;
    browser.for_seconds(5).await;
    let before = origin(&browser);
    let dying = nodes.iter().position(|node| https(node) == before).expect("it plays from a node");
    nodes.remove(dying).process.kill();
    browser.for_seconds(MOVED_WITHIN).await;
    assert_ne!(origin(&browser), before);
    assert_undisturbed(browser).await;
}

/// Ends the browser, and checks that a viewer saw no disturbance.
async fn assert_undisturbed(browser: Browser) {
    let Report(reports) = browser.stop().await;
    let (last, player) = (reports.last().unwrap(), &reports.last().unwrap()["player"]);
    assert_eq!((&player["fatalErrors"], &player["loads"]), (&json!(0), &json!(1)), "{last}");
    assert!(player["stalls"]["longestMs"].as_f64() < Some(STALL_MS_MAX), "{last}");
    assert_eq!((&last["cspViolations"], &last["pageErrors"]), (&json!([]), &json!([])), "{last}");
}
