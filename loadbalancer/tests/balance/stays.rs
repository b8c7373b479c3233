//! Viewers without a cookie stay on their node: through slow starts, swings of load, new nodes and new connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use bus::broker::Access;
use media::{BitsPerSecond, StreamId};
use messages::NodeState;
use node::clock::Clock;
use node::presence::PresenceParts;

use crate::cluster::{Backend, Cluster, first_answer, within};

const NODES: [(&str, Access); 6] = [
    ("lb", Access::LoadBalancer),
    ("lb2", Access::LoadBalancer),
    ("b1", Access::Broadcast),
    ("b2", Access::Broadcast),
    ("b3", Access::Broadcast),
    ("b4", Access::Broadcast),
];
/// Viewers that share an address.
const SCHOOL: usize = 50;
/// Viewers with an address of their own.
const HOMES: usize = 10;
/// Pause of a viewer between two requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Orders to the nodes; none at first.
#[derive(Default)]
struct Orders {
    /// Every node's load swings. Before that, all nodes are half full.
    swing: AtomicBool,
    /// `b1` drains itself.
    drain: AtomicBool,
}

/// A node that swings between nearly full and not, or is half full, and may be drained.
async fn node(cluster: &Cluster, name: &'static str, swing: [u64; 2], orders: &Arc<Orders>) -> Backend {
    let playlist = move || async move { ([("cache-control", "public, max-age=2")], name) };
    let orders = Arc::clone(orders);
    let words = AtomicBool::default();
    let parts = move || PresenceParts {
        state: match name == "b1" && orders.drain.load(Ordering::Relaxed) {
            true => NodeState::Draining,
            false => NodeState::Online,
        },
        egress: BitsPerSecond(match orders.swing.load(Ordering::Relaxed) {
            true => swing[usize::from(words.fetch_xor(true, Ordering::Relaxed))],
            false => 500,
        }),
        egress_capacity: BitsPerSecond(1_000),
        streams: vec![StreamId::new("demo").unwrap()],
        ..PresenceParts::default()
    };
    cluster.node_that_says(name, Router::new().fallback(playlist), parts).await
}

/// A viewer: its connection, and the nodes that answered it, repeats left out.
struct Viewer {
    http: reqwest::Client,
    address: std::net::IpAddr,
    is_http1: bool,
    nodes: Vec<String>,
}

impl Viewer {
    fn new(cluster: &Cluster, index: usize) -> Self {
        let host = if index < SCHOOL { 1 } else { index - SCHOOL + 2 };
        let address = format!("127.0.0.{host}").parse().unwrap();
        let is_http1 = index % 2 == 1;
        Self { http: cluster.viewer_with(address, is_http1), address, is_http1, nodes: Vec::new() }
    }

    /// Connects anew with the next request.
    fn hangs_up(&mut self, cluster: &Cluster) {
        self.http = cluster.viewer_with(self.address, self.is_http1);
    }

    async fn asks(&mut self, balancer: SocketAddr) {
        let answer = self.http.get(format!("https://{balancer}/live/demo/v/index.m3u8")).send().await.unwrap();
        assert!(answer.status().is_success() && answer.headers().get("set-cookie").is_none());
        let node = answer.text().await.unwrap();
        if self.nodes.last() != Some(&node) {
            self.nodes.push(node);
        }
    }
}

/// All viewers ask again and again. Those with an address of their own make a new connection each time.
async fn watch(cluster: &Cluster, viewers: &mut [Viewer], balancer: SocketAddr, time: Duration) {
    let clock = Clock::new();
    while clock.elapsed() < time {
        for (index, viewer) in viewers.iter_mut().enumerate() {
            viewer.asks(balancer).await;
            if index >= SCHOOL {
                viewer.hangs_up(cluster);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn viewers_stay(phase: Duration) {
    let cluster = Cluster::start(&NODES).await;
    // With this key the school's nine seats are spread over all nodes; another one may leave a node out.
    cluster.set_sticky_key([6; 32]);
    let balancer = cluster.balancer().await;
    let orders = Arc::new(Orders::default());
    let _nodes = [
        node(&cluster, "b1", [780, 880], &orders).await,
        node(&cluster, "b2", [880, 780], &orders).await,
        node(&cluster, "b3", [790, 860], &orders).await,
    ];
    first_answer(&cluster.viewer(), &format!("https://{balancer}/live/demo/v/index.m3u8")).await;
    cluster.becomes("b1", "online").await;
    cluster.becomes("b2", "online").await;
    cluster.becomes("b3", "online").await;
    let mut viewers: Vec<Viewer> = (0..SCHOOL + HOMES).map(|index| Viewer::new(&cluster, index)).collect();
    // The school arrives at nodes that are alike, so its key alone decides how it is spread; the homes arrive while loads swing.
    for viewer in viewers.iter_mut().take(SCHOOL) {
        viewer.asks(balancer).await;
    }
    orders.swing.store(true, Ordering::Relaxed);
    watch(&cluster, &mut viewers, balancer, phase).await;
    let _new = node(&cluster, "b4", [0, 100], &orders).await;
    cluster.becomes("b4", "online").await;
    watch(&cluster, &mut viewers, balancer, phase).await;

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for viewer in viewers.iter().take(SCHOOL) {
        *counts.entry(&viewer.nodes[0]).or_default() += 1;
    }
    let wandered: Vec<&Vec<String>> =
        viewers.iter().map(|viewer| &viewer.nodes).filter(|nodes| nodes.len() > 1).collect();
    assert!(wandered.is_empty(), "{} of {} viewers wandered: {wandered:?}", wandered.len(), viewers.len());
    assert!(counts.len() == 3 && counts.values().all(|count| *count < SCHOOL * 2 / 3), "one address: {counts:?}");

    orders.drain.store(true, Ordering::Relaxed);
    cluster.becomes("b1", "draining").await;
    watch(&cluster, &mut viewers, balancer, phase).await;
    for Viewer { nodes, .. } in &viewers {
        let moves = if nodes[0] == "b1" { 1 } else { 0 };
        assert_eq!(nodes.len(), 1 + moves, "{nodes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_without_cookies_stay_while_nodes_start_swing_and_drain() {
    viewers_stay(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: a minute"]
async fn viewers_without_cookies_stay_for_a_minute_of_starts_swings_and_drains() {
    viewers_stay(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_with_the_cookie_of_another_node_stays_where_its_stream_is() {
    let cluster = Cluster::start(&NODES).await;
    let balancer = cluster.balancer().await;
    let playlist = |name: &'static str| {
        Router::new().fallback(move || async move { ([("cache-control", "public, max-age=2")], name) })
    };
    // The nodes take turns in claiming to hold the stream.
    let holds_in_turns = |first: bool| {
        let holds = AtomicBool::new(first);
        move || PresenceParts {
            streams: holds
                .fetch_xor(true, Ordering::Relaxed)
                .then(|| StreamId::new("demo").unwrap())
                .into_iter()
                .collect(),
            ..PresenceParts::default()
        }
    };
    let _page = cluster.backend("b1").await;
    let _nodes = [
        cluster.node_that_says("b2", playlist("b2"), holds_in_turns(true)).await,
        cluster.node_that_says("b3", playlist("b3"), holds_in_turns(false)).await,
    ];
    for name in ["b1", "b2", "b3"] {
        cluster.becomes(name, "online").await;
    }
    let viewer = cluster.viewer();
    let cookie = within("a viewer of b1", async {
        loop {
            let answer = viewer.get(format!("https://{balancer}/")).send().await.unwrap();
            if let Some(cookie) = answer.headers().get("set-cookie") {
                return cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
        }
    })
    .await;
    let mut seen = BTreeSet::new();
    let clock = Clock::new();
    while clock.elapsed() < Duration::from_secs(6) {
        let playlist = viewer.get(format!("https://{balancer}/live/demo/v/index.m3u8")).header("cookie", &cookie);
        seen.insert(playlist.send().await.unwrap().text().await.unwrap());
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}
