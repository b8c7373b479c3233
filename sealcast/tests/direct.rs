//! Viewers who are sent straight to the broadcast nodes, and what happens to them when those die.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod support;

use std::process::{Command, Stdio};

use serde_json::json;
use support::browser::{Browser, Report};
use support::cluster::{Cluster, KEY, Node, STREAM};
use support::media::playlist;
use support::publish::{Clip, clip, publish};
use support::text;

/// Reports, one a second, within which a viewer whose node is killed has to play from elsewhere.
const MOVED_WITHIN: usize = 5;

/// Longest standstill of the picture over all of it, in milliseconds: what a viewer may see of a node's death. `bench failover` measures it; here
/// everything is a debug build that shares the cores with a browser.
const STALL_MS_MAX: f64 = 5_000.0;

fn https(node: &Node) -> String {
    text(&node.ready["broadcast"][0], "https")
}

fn origin(browser: &Browser) -> String {
    text(&browser.reports.last().unwrap()["player"], "origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_viewer_plays_from_a_node_and_goes_on_elsewhere_when_it_is_killed() {
    let _turn = support::turn().await;
    let mut cluster = Cluster::start().await;
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
    // The second one that it goes to may be one that the playlist did not list, but the steering manifest.
    for _ in 0..2 {
        let before = origin(&browser);
        let is_there = |node: &Node| https(node) == before;
        let dying = nodes.iter().position(is_there).expect("it plays from a node and not through the balancer");
        nodes.remove(dying).process.kill();
        browser.for_seconds(MOVED_WITHIN).await;
        assert_ne!(origin(&browser), before);
        // Nodes that did not have the stream have to take it over first.
        for node in &nodes {
            playlist(&cluster.http, &https(node), STREAM, "audio", 2).await;
        }
        browser.for_seconds(5).await;
    }
    assert_undisturbed(browser).await;
}

/// hls.js alone leaves a pathway when sound cannot be loaded; without sound it stays for as long as it retries.
#[tokio::test(flavor = "multi_thread")]
async fn direct_viewer_of_a_stream_without_sound_goes_on_as_well() {
    let _turn = support::turn().await;
    let mut cluster = Cluster::start().await;
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

/// Ends it: nothing went wrong that a viewer would have seen.
async fn assert_undisturbed(browser: Browser) {
    let Report(reports) = browser.stop().await;
    let (last, player) = (reports.last().unwrap(), &reports.last().unwrap()["player"]);
    assert_eq!((&player["fatalErrors"], &player["loads"]), (&json!(0), &json!(1)), "{last}");
    assert!(player["stalls"]["longestMs"].as_f64() < Some(STALL_MS_MAX), "{last}");
    assert_eq!((&last["cspViolations"], &last["pageErrors"]), (&json!([]), &json!([])), "{last}");
}
