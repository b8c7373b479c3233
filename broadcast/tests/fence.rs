//! The fence of an ingest that is about to open an epoch, over the wire: who may ask for it, and what it holds back.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use messages::Role;
use node::tls::Server;
use support::{Ingest, Node, Zone, listed};
use testkit::studio::{Row, Studio};

/// Shorter than a fence holds if nothing lifts it: 4 s.
const HOLDS: Duration = Duration::from_secs(3);

/// Asks a node for the fence; returns its answer, and the head that it names.
async fn fence(client: &reqwest::Client, node: &Node, studio: &Studio) -> (StatusCode, Bytes) {
    let asked = client.post(format!("{}/live/{}/fence", node.data, studio.stream)).send().await.unwrap();
    (asked.status(), asked.bytes().await.unwrap())
}

/// Pushes a row's bytes and seal: once this is answered, the gate has them.
async fn put(ingest: &Ingest, node: &Node, row: &Row) {
    ingest.put_objects(&[node], row).await;
    let path = format!("/live/{}/seals", row.sealed.body().stream);
    let status = ingest.put_at(node, &path, row.sealed.raw()).await;
    assert!(status.is_success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fenced_log_does_not_grow_until_an_epoch_opens_or_its_asker_is_gone() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1], &mut studio).await;

    // A broadcast node may not ask: nothing is held back.
    let stranger = zone.identity("b2").await.http_client(Server::Any(Role::Broadcast)).unwrap();
    assert_eq!(fence(&stranger, &b1, &studio).await.0, StatusCode::FORBIDDEN);
    let mut head = studio.row(zone.now());
    put(&ingest, &b1, &head).await;
    b1.admitted(&head).await;

    // An ingest may. What comes now waits, however complete, and is admitted after some seconds without a new epoch.
    loop {
        let began = zone.clock.elapsed();
        let (status, told) = fence(&ingest.client, &b1, &studio).await;
        assert_eq!((status, &told), (StatusCode::OK, head.sealed.raw()));
        let late = studio.row(zone.now());
        put(&ingest, &b1, &late).await;
        let shown = b1.sequence(&studio.stream).await;
        // If the machine slept meanwhile, the fence may be over: ask again.
        let held = zone.clock.elapsed().saturating_sub(began) < HOLDS;
        assert!(!held || shown == Some(head.sealed.body().sequence.0), "{shown:?} while fenced");
        b1.admitted(&late).await;
        head = late;
        if held {
            break;
        }
    }

    // The epoch that the fence was asked for builds on the head that was told, and is shown at once; what came late is void.
    let mut taker = studio.fork();
    let (status, told) = fence(&ingest.client, &b1, &studio).await;
    assert_eq!((status, &told), (StatusCode::OK, head.sealed.raw()));
    put(&ingest, &b1, &studio.row(zone.now())).await;
    taker.reconnect(zone.now());
    let rows = taker.segment(zone.now());
    for row in &rows {
        put(&ingest, &b1, row).await;
    }
    listed(&[&b1], &taker, &rows).await;
    let (status, told) = fence(&ingest.client, &b1, &studio).await;
    assert_eq!((status, &told), (StatusCode::OK, rows.last().unwrap().sealed.raw()));
}
