//! Attacks with seals that were valid once: replays, forks, and a bus that loses, repeats and reorders. The log decides.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use bytes::Bytes;
use http::StatusCode;
use messages::{AlertReason, Topic};
use support::{Ingest, Node, Zone, assert_alike, eventually, listed};
use testkit::studio::{Row, Studio, stream};

async fn zone_with(names: &[&str]) -> (Zone, Vec<Node>) {
    let zone = Zone::start().await;
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(zone.node(name).await);
    }
    (zone, nodes)
}

/// A session, and a later one so long that nodes remember of the first only that it was older.
async fn two_sessions(zone: &Zone, nodes: &[&Node], studio: &mut Studio, ingest: &Ingest) -> Vec<Row> {
    let mut old = Vec::new();
    for row in studio.segment(zone.now()) {
        ingest.push(nodes, &row).await;
        old.push(row);
    }
    listed(nodes, studio, &old).await;
    studio.reconnect(zone.now());
    for _ in 0..17 {
        for row in studio.segment(zone.now()) {
            ingest.push(nodes, &row).await;
        }
    }
    ingest.play(nodes, studio).await;
    old
}

async fn replay(ingest: &Ingest, node: &Node, rows: &[Row]) {
    for row in rows {
        for (name, bytes) in &row.objects {
            ingest.put(node, name, bytes).await;
        }
        ingest.publish_seal(row).await;
        let request = ingest.client.put(format!("{}/live/demo/seals", node.data)).body(row.sealed.raw().clone());
        request.send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_old_session_replayed() {
    let (zone, mut nodes) = zone_with(&["b1", "b2"]).await;
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let old = two_sessions(&zone, &all, &mut studio, &ingest).await;
    let evil = zone.ingest("i2", &studio).await;

    // While the node runs.
    let before = nodes[0].sequence(&studio.stream).await;
    replay(&evil, &nodes[0], &old).await;
    zone.alerted(&nodes[0], AlertReason::Epoch).await;
    assert_eq!(nodes[0].sequence(&studio.stream).await, before);

    // Restarted with its disk; then wiped, with a peer that is up. The retained head is the old session's, too.
    for wiped in [false, true] {
        nodes.remove(0).stop().await;
        if wiped {
            std::fs::remove_dir_all(zone.directory.path().join("b1")).unwrap();
        }
        zone.alerts.lock().unwrap().clear();
        nodes.insert(0, zone.node("b1").await);
        replay(&evil, &nodes[0], &old).await;
        zone.alerted(&nodes[0], AlertReason::Epoch).await;
        let text = nodes[0].playlist(&studio.stream, "360p").await;
        assert!(text.is_none_or(|text| !text.contains("\n1/")), "nothing of the old session is listed");
        let all: Vec<&Node> = nodes.iter().collect();
        ingest.play(&all, &mut studio).await;
        assert_alike(&all, &studio).await;
    }

    // Alone, with its disk.
    nodes.pop().unwrap().stop().await;
    nodes.pop().unwrap().stop().await;
    zone.alerts.lock().unwrap().clear();
    let node = zone.node("b1").await;
    replay(&evil, &node, &old).await;
    zone.alerted(&node, AlertReason::Epoch).await;
    assert_eq!(node.playlist(&studio.stream, "360p").await, None);
    for row in studio.segment(zone.now()) {
        ingest.push(&[&node], &row).await;
    }
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_with_two_valid_signatures() {
    let (zone, nodes) = zone_with(&["b1"]).await;
    let node = &nodes[0];
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[node], &mut studio).await;
    let mut fork = studio.fork();
    let row = studio.row(zone.now());
    let other = fork.row(zone.now().plus(std::time::Duration::from_millis(7)));
    assert_ne!(row.sealed.digest(), other.sealed.digest());
    ingest.push(&[node], &row).await;
    eventually("the first is admitted", async || {
        node.sequence(&studio.stream).await == Some(row.sealed.body().sequence.0)
    })
    .await;
    let request = ingest.client.put(format!("{}/live/demo/seals", node.data)).body(other.sealed.raw().clone());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(response.text().await.unwrap(), "refused: equivocation\n");
    zone.alerted(node, AlertReason::Equivocation).await;
    ingest.play(&[node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bus_swaps_drops_and_repeats_seals() {
    let (zone, nodes) = zone_with(&["b1", "b2"]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&all, &mut studio).await;
    // The bus delivers backwards and each seal twice, and loses one: b1 alone gets that one, over the data plane.
    let rows = studio.segment(zone.now());
    for row in &rows {
        ingest.put_objects(&all, row).await;
    }
    let (dropped, others) = rows.split_first().unwrap();
    for row in others.iter().rev() {
        ingest.publish_seal(row).await;
        ingest.publish_seal(row).await;
    }
    let request = ingest.client.put(format!("{}/live/demo/seals", nodes[0].data)).body(dropped.sealed.raw().clone());
    assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    listed(&all, &studio, &rows).await;
    for node in &all {
        assert_eq!(node.refused(&studio.stream).await, Default::default(), "nobody is accused");
    }
    ingest.play(&all, &mut studio).await;
    assert_alike(&all, &studio).await;
}

/// Somebody with an ingest's password announces a session that no other could follow, if the highest epoch counted.
#[tokio::test(flavor = "multi_thread")]
async fn invented_session_keeps_no_owner_from_the_real_one() {
    let (zone, nodes) = zone_with(&["b1", "b2"]).await;
    let [b1, b2] = &nodes[..] else { unreachable!("two nodes") };
    let mut studio = Studio::new("demo", zone.now());
    let evil = zone.ingest("i2", &Studio::new("other", zone.now())).await;
    let session = serde_json::json!({
        "stream": "demo", "epoch": u64::MAX, "session": "00".repeat(16), "ingest": "i2", "state": "live",
        "started_at": 0, "ladder": [], "owners": ["b9"], "replicas": 2,
    });
    let invented = Bytes::from(session.to_string());
    evil.publish_raw(&Topic::Session(studio.stream.clone()), invented.clone(), true).await;
    let ingest = zone.ingest_owned("i1", &studio, &[b1, b2]).await;
    let play = async |studio: &mut Studio| {
        // Only what is announced tells b1 that the stream is its own: bytes are pushed to b2, and seals come by the bus.
        let rows = studio.segment(zone.now());
        for row in &rows {
            ingest.put_objects(&[b2], row).await;
            ingest.publish_seal(row).await;
        }
        listed(&[b1, b2], studio, &rows).await;
    };
    play(&mut studio).await;
    evil.publish_raw(&Topic::Session(studio.stream.clone()), invented, true).await;
    play(&mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seals_without_bytes() {
    let (zone, nodes) = zone_with(&["b1"]).await;
    let node = &nodes[0];
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[node], &mut studio).await;
    let before = node.playlist(&studio.stream, "360p").await;
    for row in studio.segment(zone.now()) {
        ingest.publish_seal(&row).await;
    }
    zone.alerted(node, AlertReason::Deadline).await;
    assert_eq!(node.playlist(&studio.stream, "360p").await, before, "what has no bytes is not listed");
    ingest.play(&[node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_topic_and_everything_twice() {
    let (zone, nodes) = zone_with(&["b1", "b2"]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&all, &mut studio).await;
    let name = stream("demo");
    let garbage = [
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"<html>not here</html>"),
        Bytes::from_static(b"{}"),
        Bytes::from_static(b"{\"stream\":\"other\",\"epoch\":18446744073709551615}"),
        Bytes::from_static(b"\xd2\x84\x43\xa1\x01\x26\xa0\x40\x40"),
        Bytes::from(vec![0xff; 100_000]),
        Bytes::from("[".repeat(100_000)),
    ];
    for bytes in &garbage {
        for topic in [Topic::Seals(name.clone()), Topic::Head(name.clone()), Topic::Session(name.clone())] {
            ingest.publish_raw(&topic, bytes.clone(), true).await;
        }
        for topic in [Topic::MetadataLog, Topic::MetadataHead, Topic::Policy] {
            zone.publish(&zone.control, &topic, bytes.clone(), true).await;
        }
        let presence = Topic::Node(zone.control.id.clone());
        zone.publish(&zone.control, &presence, bytes.clone(), true).await;
        zone.publish(&zone.control, &Topic::CatalogueUpdate, bytes.clone(), false).await;
    }
    for node in &all {
        zone.alerted(node, AlertReason::Malformed).await;
    }
    // Everything that was valid, once more, in reverse order.
    let rows = studio.segment(zone.now());
    for row in &rows {
        ingest.push(&all, row).await;
    }
    for row in rows.iter().rev() {
        ingest.publish_seal(row).await;
    }
    listed(&all, &studio, &rows).await;
    ingest.play(&all, &mut studio).await;
    assert_alike(&all, &studio).await;
}
