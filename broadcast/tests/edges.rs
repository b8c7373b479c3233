//! Owners and edges over real sockets: two nodes have the bytes, and the others fetch what their viewers want.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use media::{ObjectName, Slot};
use messages::AlertReason;
use node::CancellationToken;
use support::viewer::Viewer;
use support::{Ingest, Node, Zone, assert_alike, eventually, listed};
use testkit::studio::{Row, Studio, sha256};

/// Two owners and an edge, two segments in.
struct Stage {
    _zone: Zone,
    studio: Studio,
    ingest: Ingest,
    nodes: Vec<Node>,
    rows: Vec<Row>,
}

impl Stage {
    async fn new() -> Self {
        let zone = Zone::start().await;
        let mut studio = Studio::new("demo", zone.now());
        let mut nodes = vec![];
        for name in ["b1", "b2", "b3"] {
            nodes.push(zone.node(name).await);
        }
        let ingest = zone.ingest_owned("i1", &studio, &[&nodes[0], &nodes[1]]).await;
        let mut rows = vec![];
        for _ in 0..2 {
            rows.extend(play(&ingest, &[&nodes[0], &nodes[1]], &mut studio).await);
        }
        Self { _zone: zone, studio, ingest, nodes, rows }
    }

    fn objects(&self) -> impl Iterator<Item = &(ObjectName, bytes::Bytes)> {
        self.rows.iter().flat_map(|row| &row.objects)
    }

    async fn pulls(&self) -> u64 {
        self.nodes[2].status().await["edge"]["pulls"].as_u64().unwrap()
    }
}

async fn play(ingest: &Ingest, owners: &[&Node], studio: &mut Studio) -> Vec<Row> {
    let rows = studio.segment(ingest.context.clock.wall());
    for row in &rows {
        ingest.push(owners, row).await;
    }
    listed(owners, studio, &rows).await;
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_follows_for_its_viewers_and_fetches_each_object_once() {
    let mut stage = Stage::new().await;
    let edge = &stage.nodes[2];
    assert_eq!(edge.status().await["streams"], serde_json::json!([]), "nobody has asked for it");
    let streams = edge.get("/api/v1/streams").await;
    assert!(String::from_utf8_lossy(&streams.1).contains("\"demo\""), "it is listed all the same");

    assert_alike(&stage.nodes.iter().collect::<Vec<_>>(), &stage.studio).await;
    let newest =
        stage.rows.last().unwrap().objects.iter().filter(|(name, _)| matches!(name.slot, Slot::Part { .. })).count()
            as u64;
    let ahead = stage.pulls().await;
    assert!(ahead <= newest, "playlists need no bytes, but for the newest parts, fetched ahead: {ahead} pulls");
    let mut objects = 0;
    for (name, bytes) in stage.objects() {
        let path = name.to_string();
        let answers = futures_util::future::join_all((0..20).map(|_| edge.get(&path))).await;
        assert!(answers.iter().all(|(status, body)| *status == StatusCode::OK && body == bytes), "{name}");
        objects += 1;
    }
    assert_eq!(stage.pulls().await, objects, "one pull for each");
    // Segments are assembled from the parts that are here.
    listed(&[edge], &stage.studio, &stage.rows).await;
    assert_eq!(stage.pulls().await, objects);

    let owners = [&stage.nodes[0], &stage.nodes[1]];
    let rows = play(&stage.ingest, &owners, &mut stage.studio).await;
    listed(&[edge], &stage.studio, &rows).await;
    assert_alike(&stage.nodes.iter().collect::<Vec<_>>(), &stage.studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_stream_is_not_waited_for() {
    let stage = Stage::new().await;
    let (status, _) = stage.nodes[2].get("/live/nothing/index.m3u8").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(stage.nodes[2].status().await["streams"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_goes_on_when_an_owner_is_gone() {
    let mut stage = Stage::new().await;
    let mut nodes = std::mem::take(&mut stage.nodes);
    let (edge, second, first) = (nodes.pop().unwrap(), nodes.pop().unwrap(), nodes.pop().unwrap());
    listed(&[&edge], &stage.studio, &stage.rows).await;
    first.stop().await;
    let rows = play(&stage.ingest, &[&second], &mut stage.studio).await;
    listed(&[&edge], &stage.studio, &rows).await;
    for (name, bytes) in stage.objects() {
        assert_eq!(edge.get(&name.to_string()).await, (StatusCode::OK, bytes.clone()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_that_becomes_an_owner_has_everything_itself() {
    let mut stage = Stage::new().await;
    let mut nodes = std::mem::take(&mut stage.nodes);
    let (edge, second, first) = (nodes.pop().unwrap(), nodes.pop().unwrap(), nodes.pop().unwrap());
    assert_alike(&[&first, &edge], &stage.studio).await;
    stage.ingest.announce(&stage.studio, &[&second, &edge]).await;
    eventually("the edge is an owner and has all", async || {
        let status = edge.status().await;
        status["streams"][0]["holding"] == "owner" && status["streams"][0]["whole"] == true
    })
    .await;
    first.stop().await;
    second.stop().await;
    for (name, bytes) in stage.objects() {
        assert_eq!(edge.get(&name.to_string()).await, (StatusCode::OK, bytes.clone()), "{name}");
    }
    let rows = play(&stage.ingest, &[&edge], &mut stage.studio).await;
    assert!(rows.len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_that_lies_is_refused_and_the_other_one_asked() {
    let zone = Zone::start().await;
    let mut studio = Studio::new("demo", zone.now());
    let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "a_listen").await.unwrap();
    let data = format!("https://{}", listener.local_addr().unwrap());
    let tls = zone.identity("evil").await.server_mutual();
    let router = axum::Router::new().fallback(async || Response::new(Body::from(vec![7; 2000])));
    let limits = node::http::Limits::default();
    tokio::spawn(node::http::serve_tls(listener, tls, router, limits, CancellationToken::new()));
    let _evil = zone.stranger("evil", data).await;

    let (owner, edge) = (zone.node("b1").await, zone.node("b3").await);
    let evil = testkit::studio::node("evil");
    let ingest = zone.ingest_of("i1", &studio, &[owner.id.clone(), evil]).await;
    let mut segments = 0;
    while !zone.has_alerted(&edge, AlertReason::Digest) {
        let rows = play(&ingest, &[&owner], &mut studio).await;
        listed(&[&edge], &studio, &rows).await;
        for (name, bytes) in rows.iter().flat_map(|row| &row.objects) {
            let (status, served) = edge.get(&name.to_string()).await;
            assert_eq!((status, sha256(&served)), (StatusCode::OK, sha256(bytes)), "{name}");
        }
        segments += 1;
        assert!(segments < 300, "the liar was never asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_that_does_not_answer_is_asked_last_from_then_on() {
    let zone = Zone::start().await;
    let mut studio = Studio::new("demo", zone.now());
    let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "a_listen").await.unwrap();
    let data = format!("https://{}", listener.local_addr().unwrap());
    let tls = zone.identity("evil").await.server_mutual();
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let router = axum::Router::new().fallback(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    });
    let limits = node::http::Limits::default();
    tokio::spawn(node::http::serve_tls(listener, tls, router, limits, CancellationToken::new()));
    let _evil = zone.stranger("evil", data).await;
    let (owner, edges) = (zone.node("b1").await, [zone.node("b2").await, zone.node("b3").await]);
    let ingest = zone.ingest_of("i1", &studio, &[owner.id.clone(), testkit::studio::node("evil")]).await;
    let mut fetch = async || {
        let rows = play(&ingest, &[&owner], &mut studio).await;
        let objects: Vec<_> = rows.iter().flat_map(|row| &row.objects).collect();
        for (edge, (name, bytes)) in edges.iter().flat_map(|edge| objects.iter().map(move |object| (edge, object))) {
            assert_eq!(edge.get(&name.to_string()).await, (StatusCode::OK, bytes.clone()), "{name}");
        }
        objects.len()
    };
    // A node that has not announced itself yet counts as failed for a while.
    while asked.load(Ordering::SeqCst) == 0 {
        fetch().await;
    }
    // The edges ask it one after the other. Requests that arrive together are pulled together; after that, no more are.
    for _round in 0..4 {
        let before = asked.load(Ordering::SeqCst);
        let objects = fetch().await;
        if asked.load(Ordering::SeqCst) - before < objects / 4 {
            return;
        }
    }
    panic!("still asked, {} times by now", asked.load(Ordering::SeqCst));
}

/// Serves wrong bytes at the address of a node with another name, whose presence names it as the data plane of `b2`.
async fn edge_does_not_ask(identity: impl AsyncFnOnce(&Zone) -> Arc<node::tls::Identity>) {
    let zone = Zone::start().await;
    let mut studio = Studio::new("demo", zone.now());
    let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "a_listen").await.unwrap();
    let data = format!("https://{}", listener.local_addr().unwrap());
    let tls = identity(&zone).await.server_mutual();
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let router = axum::Router::new().fallback(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        Response::new(Body::from(vec![7; 2000]))
    });
    let limits = node::http::Limits::default();
    tokio::spawn(node::http::serve_tls(listener, tls, router, limits, CancellationToken::new()));
    let _named = zone.stranger("b2", data).await;

    let (owner, edge) = (zone.node("b1").await, zone.node("b3").await);
    let owners = [owner.id.clone(), testkit::studio::node("b2")];
    let ingest = zone.ingest_of("i1", &studio, &owners).await;
    let mut segments = 0;
    while !zone.has_alerted(&edge, AlertReason::Identity) {
        let rows = play(&ingest, &[&owner], &mut studio).await;
        listed(&[&edge], &studio, &rows).await;
        segments += 1;
        assert!(segments < 300, "the server was never met");
        assert_eq!(asked.load(Ordering::SeqCst), 0, "it was asked for media");
    }
    zone.alerted(&edge, AlertReason::Identity).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0, "it was asked for media");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_another_node_than_the_owner_is_not_asked() {
    edge_does_not_ask(async |zone| zone.identity("evil").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_no_broadcast_node_is_not_asked() {
    edge_does_not_ask(async |zone| zone.ingest_identity("i2").await).await;
}

/// The owner answers about the log at once, and about media when it is released.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_what_no_viewer_waits_for_any_more() {
    /// Pulls of a node at once.
    const PULLS: usize = 128;
    let zone = Zone::start().await;
    let mut studio = Studio::new("demo", zone.now());
    let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "a_listen").await.unwrap();
    let data = format!("https://{}", listener.local_addr().unwrap());
    let tls = zone.identity("evil").await.server_mutual();
    let (owner, edge) = (zone.node("b1").await, zone.node("b3").await);
    let (asked, newer) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let released = tokio::sync::watch::Sender::new(false);
    let counted = [asked.clone(), newer.clone()];
    let (waits, log) = (released.clone(), (owner.client.clone(), owner.data.clone()));
    let router = axum::Router::new().fallback(move |uri: http::Uri| async move {
        let (client, data) = log;
        if uri.path().ends_with("m4s") || uri.path().ends_with("mp4") {
            // The row that comes in the end is the first of segment 8.
            counted[usize::from(uri.path().contains("/8."))].fetch_add(1, Ordering::SeqCst);
            let _ = waits.subscribe().wait_for(|released| *released).await;
            return (StatusCode::NOT_FOUND, bytes::Bytes::new());
        }
        let path = uri.path_and_query().unwrap();
        let answer = client.get(format!("{data}{path}")).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    });
    let limits = node::http::Limits::default();
    tokio::spawn(node::http::serve_tls(listener, tls, router, limits, CancellationToken::new()));
    let _evil = zone.stranger("evil", data).await;
    let ingest = zone.ingest_of("i1", &studio, &[testkit::studio::node("evil")]).await;
    let mut names = Vec::new();
    for _ in 0..8 {
        let rows = play(&ingest, &[&owner], &mut studio).await;
        names.extend(rows.into_iter().flat_map(|row| row.objects).map(|(name, _)| name.to_string()));
    }
    assert!(names.len() > PULLS + 20);
    eventually("the edge has the log", async || edge.playlist(&studio.stream, "1080p").await.is_some()).await;
    let viewers: Vec<Viewer> = (0..3).map(|_| Viewer::new(&zone.control.identity, b"h2", &edge)).collect();
    let wait: Vec<_> = names
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let viewer = viewers[number % viewers.len()].clone();
            tokio::spawn(async move { viewer.get(&name, &[]).await })
        })
        .collect();
    eventually("all turns are taken", async || asked.load(Ordering::SeqCst) >= PULLS).await;
    wait.iter().for_each(tokio::task::JoinHandle::abort);
    for answer in wait {
        assert!(answer.await.unwrap_err().is_cancelled());
    }
    eventually("nobody waits any more", async || edge.status().await["edge"]["waited_for"] == 0).await;
    let before = asked.load(Ordering::SeqCst);
    released.send_replace(true);
    // Its turn comes after theirs.
    let last = studio.row(zone.now());
    ingest.push(&[&owner], &last).await;
    let name = last.objects.iter().find(|(name, _)| matches!(name.slot, Slot::Part { .. })).unwrap().0.to_string();
    eventually("what a viewer waits for is asked for", async || {
        edge.get(&name).await;
        newer.load(Ordering::SeqCst) > 0
    })
    .await;
    assert_eq!(asked.load(Ordering::SeqCst), before, "somebody asks for what nobody waits for");
}
