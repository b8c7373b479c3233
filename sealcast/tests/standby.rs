//! Two ingests that get the same stream: one seals it, the other stands by, and no viewer ever sees both.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use m3u8_rs::MediaPlaylist;
use node::CancellationToken;
use testkit::browser::Browser;
use testkit::cluster::{Cluster, KEY, Node, STREAM};
use testkit::hls::{parse, playlist};
use testkit::http::get;
use testkit::process::Process;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, text};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const INGESTS: [&str; 2] = ["ingest", "ingest2"];

/// Two ingests with a publisher each, two nodes, and a balancer.
struct Stage {
    cluster: Cluster,
    ingests: BTreeMap<&'static str, (Node, Process)>,
    nodes: Vec<Node>,
    base: String,
    /// The file that the publishers send.
    file: PathBuf,
    _others: (Node, Node),
}

impl Stage {
    async fn set() -> Self {
        Self::set_with("").await
    }

    /// Starts the cluster, with additional settings of the ingests.
    async fn set_with(ingest: &str) -> Self {
        let mut cluster = Cluster::start(SEALCAST).await;
        let settings =
            format!("\n[role.ingest]\nsegment_ms = 2000\n{ingest}\n[role.broadcast]\ntarget_duration_s = 2\n");
        cluster.settings.push_str(&settings);
        let control = cluster.node("control").await;
        let nodes = vec![cluster.node("b1").await, cluster.node("b2").await];
        let balancer = cluster.node("lb").await;
        let base = text(&balancer.ready, "https");
        let file = clip(cluster.directory.path(), Clip::default());
        let mut stage = Self { file, cluster, ingests: BTreeMap::new(), nodes, base, _others: (control, balancer) };
        stage.begin("ingest").await;
        stage.playlist(2).await;
        stage
    }

    /// Starts an ingest and its publisher.
    async fn begin(&mut self, id: &'static str) {
        let node = self.cluster.node(id).await;
        self.publish(id, node);
    }

    fn publish(&mut self, id: &'static str, node: Node) {
        let publisher = publish(&self.file, &text(&node.ready, "rtmp"), KEY);
        self.ingests.insert(id, (node, publisher));
    }

    /// Kills the publisher of an ingest.
    fn leave(&mut self, id: &str) {
        self.ingests.get_mut(id).unwrap().1.kill();
    }

    /// Starts the publisher of an ingest again.
    fn come_back(&mut self, id: &'static str) {
        let (node, _) = self.ingests.remove(id).unwrap();
        self.publish(id, node);
    }

    async fn playlist(&self, segments: usize) -> MediaPlaylist {
        playlist(&self.cluster.http, &self.base, STREAM, "360p", segments).await
    }

    /// Waits until the playlist has `segments` more segments.
    async fn goes_on(&self, segments: u64) -> MediaPlaylist {
        let from = end_of(&self.playlist(1).await);
        self.until(&format!("{segments} more segments"), |playlist| end_of(playlist) >= from + segments).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&MediaPlaylist) -> bool) -> MediaPlaylist {
        let url = format!("{}/live/{STREAM}/360p/index.m3u8", self.base);
        eventually_async(what, PATIENCE, async || {
            let playlist = parse(&get(&self.cluster.http, &url).await?);
            holds(&playlist).then_some(playlist)
        })
        .await
    }

    /// A field of an ingest's status of the stream.
    async fn status(&self, ingest: &str, field: &str) -> Option<serde_json::Value> {
        let ops = text(&self.ingests[ingest].0.ready, "ops");
        let status: serde_json::Value =
            serde_json::from_str(&get(&reqwest::Client::new(), &format!("{ops}/status")).await?).ok()?;
        status.pointer(&format!("/nodes/{ingest}/streams/{STREAM}/{field}")).cloned()
    }

    async fn duty(&self, ingest: &str) -> Option<String> {
        self.status(ingest, "duty").await?.as_str().map(str::to_owned)
    }

    async fn until_slates(&self, shown: [bool; 2]) {
        eventually_async(&format!("slates {shown:?}"), PATIENCE, async || {
            let now = [self.status(INGESTS[0], "slate").await?, self.status(INGESTS[1], "slate").await?];
            (now == shown).then_some(())
        })
        .await;
    }

    async fn until_duties(&self, duties: [&str; 2]) {
        eventually_async(&format!("duties {duties:?}"), PATIENCE, async || {
            let now = [self.duty(INGESTS[0]).await?, self.duty(INGESTS[1]).await?];
            (now == duties).then_some(())
        })
        .await;
    }

    /// Waits until control knows a node, which then has heard of all others from the broker.
    async fn until_known(&self, id: &str) {
        eventually_async(&format!("{id} to be known"), PATIENCE, async || {
            let mut command = tokio::process::Command::from(sealcast::command(SEALCAST));
            command.args(["node", "list"]).current_dir(self.cluster.directory.path());
            let listed = command.output().await.ok()?;
            String::from_utf8_lossy(&listed.stdout).contains(id).then_some(())
        })
        .await;
    }

    fn signal(&self, ingest: &str, signal: &str) {
        let id = self.ingests[ingest].0.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until both nodes serve the same playlist.
    async fn nodes_agree(&self) {
        let url = |node: &Node| format!("{}/live/{STREAM}/360p/index.m3u8", text(&node.ready["broadcast"][0], "https"));
        eventually_async("nodes to say the same", PATIENCE, async || {
            let [a, b] = [
                get(&self.cluster.http, &url(&self.nodes[0])).await?,
                get(&self.cluster.http, &url(&self.nodes[1])).await?,
            ];
            (a == b).then_some(())
        })
        .await;
    }
}

/// Media sequence number after the newest segment.
fn end_of(playlist: &MediaPlaylist) -> u64 {
    playlist.media_sequence + playlist.segments.len() as u64
}

fn discontinuities(playlist: &MediaPlaylist) -> u64 {
    playlist.discontinuity_sequence + playlist.segments.iter().filter(|segment| segment.discontinuity).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_goes_on_when_the_active_ingest_is_killed_and_the_old_one_coming_back_changes_nothing() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    stage.begin("ingest2").await;
    stage.until_duties(["active", "standby"]).await;
    let before = stage.goes_on(2).await;
    assert_eq!(discontinuities(&before), 0, "the second ingest changes nothing");

    let mut browser = Browser::open(&format!("{}/watch/{STREAM}", stage.base), 60);
    browser.until_playing().await;
    browser.for_seconds(3).await;
    drop(stage.ingests.remove("ingest"));
    let after = stage.until("one discontinuity", |playlist| discontinuities(playlist) == 1).await;
    assert!(after.media_sequence >= before.media_sequence && !after.end_list);
    let after = stage.goes_on(2).await;
    assert_eq!(discontinuities(&after), 1);
    browser.for_seconds(8).await;

    stage.begin("ingest").await;
    stage.until_duties(["standby", "active"]).await;
    let later = stage.goes_on(3).await;
    assert_eq!(discontinuities(&later), 1, "the old one changes nothing");
    assert_no_gap_and_no_step_back(&later);
    stage.nodes_agree().await;
    let report = browser.stop().await;
    report.assert_played_well(12.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_that_was_frozen_finds_the_stream_taken_and_stands_by() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    stage.begin("ingest2").await;
    stage.until_duties(["active", "standby"]).await;
    stage.signal("ingest", "-STOP");
    stage.until("one discontinuity", |playlist| discontinuities(playlist) == 1).await;
    stage.signal("ingest", "-CONT");
    stage.until_duties(["standby", "active"]).await;
    let later = stage.goes_on(3).await;
    assert_eq!(discontinuities(&later), 1, "what the old one still had to say is void");
    stage.nodes_agree().await;
}

/// What viewers see of the stream while its ingest is shut out: the newest place, which never goes back, and the longest time without
/// anything new.
#[derive(Debug, Default)]
struct Seen {
    end: u64,
    stood_still: Duration,
    went_back: Option<(u64, u64)>,
}

impl Stage {
    /// Watches the playlist until `end`.
    async fn watch(http: reqwest::Client, url: String, end: CancellationToken) -> Seen {
        let (mut seen, mut ticks) = (Seen::default(), tokio::time::interval(Duration::from_millis(100)));
        let mut still = 0_u32;
        while !end.is_cancelled() {
            ticks.tick().await;
            let Some(text) = get(&http, &url).await else { continue };
            // Parts count, too.
            let place = end_of(&parse(&text)) * 1_000 + text.matches("#EXT-X-PART:").count() as u64;
            still = if place == seen.end { still + 1 } else { 0 };
            seen.stood_still = seen.stood_still.max(Duration::from_millis(100) * still);
            if place / 1_000 < seen.end / 1_000 {
                seen.went_back = Some((seen.end / 1_000, place / 1_000));
            }
            seen.end = place;
        }
        seen
    }

    /// Runs `sealcast` on the control machine.
    async fn admin(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::from(sealcast::command(SEALCAST));
        let ran = command.args(args).current_dir(self.cluster.directory.path()).output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{args:?}: {said}");
        said
    }

    /// Watches the playlist while `happens`.
    async fn watched<T>(&self, happens: impl AsyncFnOnce(&Self) -> T) -> (T, Seen) {
        let (url, end) = (format!("{}/live/{STREAM}/360p/index.m3u8", self.base), CancellationToken::new());
        let watching = tokio::spawn(Self::watch(self.cluster.http.clone(), url, end.clone()));
        let result = happens(self).await;
        end.cancel();
        (result, watching.await.unwrap())
    }
}

/// The ingest makes another key by itself, and goes on in the log of the old one.
#[tokio::test(flavor = "multi_thread")]
async fn ingest_whose_key_is_revoked_goes_on_with_another_and_viewers_see_one_discontinuity() {
    let _turn = turn().await;
    let stage = Stage::set().await;
    let before = stage.goes_on(1).await;
    let keys: serde_json::Value = serde_json::from_str(&stage.admin(&["key", "list", "--json"]).await).unwrap();
    let key = text(&keys[0], "key");
    let (after, seen) = stage
        .watched(async |stage| {
            let said = stage.admin(&["key", "revoke", &key]).await;
            assert!(said.contains("4 of 4 other nodes have taken it"), "{said}");
            stage.until("one discontinuity", |playlist| discontinuities(playlist) == 1).await;
            stage.goes_on(3).await
        })
        .await;
    eprintln!("a revoked key: {seen:?}");
    assert_eq!(seen.went_back, None);
    assert!(after.media_sequence >= before.media_sequence && discontinuities(&after) == 1);
    assert_no_gap_and_no_step_back(&after);
    stage.nodes_agree().await;
    let data = stage.cluster.path("data/ingest");
    assert!(data.join(format!("sealing.key.{key}")).exists() && data.join("sealing.key").exists());
    let keys = stage.admin(&["key", "list"]).await;
    assert!(!keys.contains(&key) && keys.contains("ingest"), "{keys}");
}

/// The operator says that somebody else may have had the key: no node shows any more what it sealed, and the stream goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_sealed_in_wrong_hands_is_shown_by_no_node_any_more() {
    let _turn = turn().await;
    let stage = Stage::set().await;
    let before = stage.goes_on(2).await;
    let keys: serde_json::Value = serde_json::from_str(&stage.admin(&["key", "list", "--json"]).await).unwrap();
    let key = text(&keys[0], "key");
    let (_, seen) = stage
        .watched(async |stage| {
            stage.admin(&["key", "revoke", &key, "--misused-for", "1h"]).await;
            stage.until("segments of another key only", |playlist| playlist.media_sequence >= end_of(&before)).await;
            stage.goes_on(1).await
        })
        .await;
    eprintln!("a key in wrong hands: {seen:?}");
    assert_eq!(seen.went_back, None);
    for node in &stage.nodes {
        let root = format!("{}/live/{STREAM}/360p", text(&node.ready["broadcast"][0], "https"));
        for segment in &before.segments {
            let answer = stage.cluster.http.get(format!("{root}/{}", segment.uri)).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{root}/{}", segment.uri);
        }
    }
    stage.nodes_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_ingest_is_followed_by_the_one_that_stands_by() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    stage.begin("ingest2").await;
    stage.until_duties(["active", "standby"]).await;
    stage.goes_on(1).await;
    let (after, seen) = stage
        .watched(async |stage| {
            stage.admin(&["node", "revoke", "ingest"]).await;
            stage.until("one discontinuity", |playlist| discontinuities(playlist) == 1).await;
            stage.goes_on(3).await
        })
        .await;
    eprintln!("a revoked ingest: {seen:?}");
    assert_eq!(seen.went_back, None);
    assert_eq!(discontinuities(&after), 1);
    assert_no_gap_and_no_step_back(&after);
    assert_eq!(stage.duty("ingest2").await.as_deref(), Some("active"));
    stage.nodes_agree().await;
}

/// Without a broker, or with one that withholds it, a revocation comes by asking.
#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_shut_out_while_no_broker_is_there() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    stage.goes_on(1).await;
    stage.cluster.broker.kill();
    let said = stage.admin(&["node", "revoke", "ingest"]).await;
    assert!(said.contains("node ingest is revoked"), "{said}");
    eventually_async("both nodes to refuse the ingest", PATIENCE, async || {
        for id in ["b1", "b2"] {
            let node = &stage.nodes[usize::from(id == "b2")];
            let ops = text(&node.ready, "ops");
            let metrics = get(&reqwest::Client::new(), &format!("{ops}/metrics")).await?;
            let refused = metrics
                .lines()
                .any(|line| line.starts_with("metadata_nodes_refused_total") && line.contains("revoked"));
            refused.then_some(())?;
        }
        Some(())
    })
    .await;
}

/// Split brain: without a broker, neither ingest hears of the other, and both become active.
#[tokio::test(flavor = "multi_thread")]
async fn ingests_that_do_not_hear_of_each_other_are_parted_by_the_nodes() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let second = stage.cluster.node("ingest2").await;
    stage.until_known("ingest2").await;
    stage.cluster.broker.kill();
    stage.publish("ingest2", second);
    stage.until_duties(["standby", "active"]).await;
    stage.until("one discontinuity", |playlist| discontinuities(playlist) == 1).await;
    let later = stage.goes_on(4).await;
    assert_eq!(discontinuities(&later), 1, "neither takes it back");
    stage.cluster.replace_broker().await;
    let later = stage.goes_on(3).await;
    assert_eq!(discontinuities(&later), 1);
    stage.until_duties(["standby", "active"]).await;
    stage.nodes_agree().await;
}

/// For nodes and players, the slate is media. It yields to an ingest with a publisher, and a standby ingest shows none.
#[tokio::test(flavor = "multi_thread")]
async fn slate_is_shown_by_the_active_ingest_alone_and_gives_way_to_a_publisher_at_the_other() {
    let _turn = turn().await;
    // The grace is long enough not to end meanwhile.
    let mut stage = Stage::set_with("outage = \"slate\"\nreconnect_grace_s = 600\n").await;
    stage.begin("ingest2").await;
    stage.until_duties(["active", "standby"]).await;
    stage.leave("ingest2");
    let going_on = stage.goes_on(4).await;
    assert_eq!(discontinuities(&going_on), 0, "the one that stood by changes nothing");
    stage.until_slates([false, false]).await;

    stage.leave("ingest");
    stage.until_slates([true, false]).await;
    let slate = stage.goes_on(3).await;
    assert_eq!(discontinuities(&slate), 1);
    stage.until_slates([true, false]).await;

    stage.come_back("ingest2");
    stage.until_duties(["standby", "active"]).await;
    stage.until_slates([false, false]).await;
    let later = stage.goes_on(2).await;
    assert_eq!(discontinuities(&later), 2);

    stage.come_back("ingest");
    stage.goes_on(2).await;
    stage.until_duties(["standby", "active"]).await;
    stage.leave("ingest2");
    stage.until_duties(["active", "standby"]).await;
    let last = stage.goes_on(3).await;
    assert!(discontinuities(&last) >= 3);
    stage.until_slates([false, false]).await;
    let dates: Vec<_> = last.segments.iter().filter_map(|segment| segment.program_date_time).collect();
    assert!(dates.is_sorted(), "{dates:?}");
    stage.nodes_agree().await;
}

/// Checks that the media of one ingest continues where the other's stopped.
fn assert_no_gap_and_no_step_back(playlist: &MediaPlaylist) {
    let gaps =
        playlist.segments.iter().filter(|segment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP")).count();
    assert_eq!(gaps, 0, "{playlist:?}");
    let dates: Vec<_> = playlist.segments.iter().filter_map(|segment| segment.program_date_time).collect();
    assert!(dates.is_sorted(), "{dates:?}");
}
