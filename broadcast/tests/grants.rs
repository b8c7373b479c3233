//! What an ingest may do at the data plane: everything with the streams of its grant, and nothing with any other.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use bytes::Bytes;
use http::StatusCode;
use metadata::{Body, Delegation, Grant, Revoked, Scope, StreamSettings};
use seal::{SealingKey, Signer as _};
use support::{Ingest, Node, Zone, eventually};
use testkit::studio::{Row, Studio, cluster, node, stream};

fn row(name: &str, pool: &str) -> Body {
    let (name, pool) = (stream(name), pool.to_owned());
    Body::Stream(StreamSettings {
        name,
        pool,
        key_macs: Vec::new(),
        visibility: metadata::Visibility::Public,
        title: String::new(),
        pages: metadata::PageSettings::default(),
        tenant: None,
    })
}

/// A stolen ingest whose grant names another stream, or another pool, tries all that the data plane has.
#[tokio::test(flavor = "multi_thread")]
async fn ingest_of_another_stream_pushes_nothing_and_fences_nothing() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    zone.granter.write(row("demo", "default")).await.unwrap();
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1], &mut studio).await;

    let by_name = zone.ingest("i2", &Studio::new("other", zone.now())).await;
    let by_pool = zone.ingest("i3", &Studio::new("another", zone.now())).await;
    let music = Grant {
        scope: Scope::Pools(vec!["music".to_owned()]),
        ..zone.statement("i3", &SealingKey::generate().unwrap(), &studio)
    };
    zone.granter.grant(music).await.unwrap();
    for thief in [&by_name, &by_pool] {
        let next = studio.fork().row(zone.now());
        for (name, bytes) in &next.objects {
            assert_eq!(thief.put(&b1, name, bytes).await, StatusCode::FORBIDDEN, "{name}");
        }
        let seals = format!("/live/{}/seals", studio.stream);
        assert_eq!(thief.put_at(&b1, &seals, next.sealed.raw()).await, StatusCode::FORBIDDEN);
        let fence = thief.client.post(format!("{}/live/{}/fence", b1.data, studio.stream)).send().await.unwrap();
        assert_eq!(fence.status(), StatusCode::FORBIDDEN);
        for path in ["head", "seals"] {
            let asked = thief.client.get(format!("{}/live/{}/{path}", b1.data, studio.stream)).send().await.unwrap();
            assert_eq!(asked.status(), StatusCode::FORBIDDEN, "{path}");
        }
    }
    let metrics = zone.metrics().await;
    let refused = "broadcast_pushes_refused_total{reason=\"not_granted\"}";
    assert!(metrics.lines().any(|line| line.starts_with(refused)), "not counted");

    // The stream goes on at once: no fence holds it.
    ingest.play(&[&b1], &mut studio).await;
    // Its own stream is another matter.
    let own = by_name.put_at(&b1, "/live/other/1080p/1/0.0.m4s", &Bytes::from_static(b"x")).await;
    assert_eq!(own, StatusCode::CREATED);
}

/// The row of a stream says who may seal it; it is moved to another pool, and back.
#[tokio::test(flavor = "multi_thread")]
async fn stream_that_moves_to_another_pool_is_sealed_by_that_pools_ingests_alone() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &Studio::new("other", zone.now())).await;
    let pool = Grant { scope: Scope::Pools(vec!["default".to_owned()]), ..zone.statement("i1", &studio.key, &studio) };
    zone.granter.grant(pool).await.unwrap();
    let answers = async |status: StatusCode, part: u32| {
        let path = format!("/live/demo/1080p/1/0.{part}.m4s");
        eventually(&format!("{path}: {status}"), async || {
            ingest.put_at(&b1, &path, &Bytes::from_static(b"x")).await == status
        })
        .await;
    };
    answers(StatusCode::FORBIDDEN, 0).await;
    zone.granter.write(row("demo", "default")).await.unwrap();
    answers(StatusCode::CREATED, 1).await;
    zone.granter.write(row("demo", "streamer/anna")).await.unwrap();
    answers(StatusCode::FORBIDDEN, 2).await;
    let head = ingest.client.get(format!("{}/live/demo/head", b1.data)).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::FORBIDDEN);
}

/// Pushes a seal; what the node answers.
async fn seal(ingest: &Ingest, node: &Node, row: &Row) -> (StatusCode, String) {
    let url = format!("{}/live/{}/seals", node.data, row.sealed.body().stream);
    let answer = ingest.client.put(url).body(row.sealed.raw().clone()).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// A streamer's stream, and a shared ingest whose grant does not name it.
#[tokio::test(flavor = "multi_thread")]
async fn shared_ingest_seals_the_session_that_a_streamer_has_delegated_and_no_other() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let (mut studio, anna) = (Studio::new("demo", zone.now()), SealingKey::generate().unwrap());
    zone.granter.write(row("demo", "streamer/anna")).await.unwrap();
    let ingest = zone.ingest("i1", &Studio::new("other", zone.now())).await;
    let another = zone.ingest("i2", &Studio::new("another", zone.now())).await;
    let shared = |name: &str, key: &SealingKey| Grant {
        scope: Scope::Pools(vec!["default".to_owned()]),
        ..zone.statement(name, key, &studio)
    };
    let (of_i1, of_i2) = (shared("i1", &studio.key), shared("i2", &SealingKey::generate().unwrap()));
    zone.granter.grant(of_i1).await.unwrap();
    zone.granter.grant(of_i2).await.unwrap();
    zone.granter.grant(Grant { may_delegate: true, ..zone.statement("anna", &anna, &studio) }).await.unwrap();
    let (path, bytes) = ("/live/demo/1080p/1/0.0.m4s", Bytes::from_static(b"x"));
    assert_eq!(ingest.put_at(&b1, path, &bytes).await, StatusCode::FORBIDDEN);

    let delegation = Delegation {
        cluster: cluster(),
        stream: stream("demo"),
        session: studio.session(),
        key: studio.key.key_id(),
        from: zone.now(),
        until: zone.now().plus(std::time::Duration::from_secs(3_600)),
    };
    zone.granter.write(Body::Delegation(delegation.sign(&anna).unwrap())).await.unwrap();
    ingest.announce(&studio, &[]).await;
    ingest.play(&[&b1], &mut studio).await;
    assert_eq!(another.put_at(&b1, path, &bytes).await, StatusCode::FORBIDDEN, "another ingest of the same pool");
    let fence = another.client.post(format!("{}/live/demo/fence", b1.data)).send().await.unwrap();
    assert_eq!(fence.status(), StatusCode::FORBIDDEN);
    // The encoder reconnects: another epoch, and the same session.
    studio.reopen(zone.now());
    ingest.play(&[&b1], &mut studio).await;
    let mut second = studio.fork();
    second.reconnect(zone.now());
    let refused = (StatusCode::UNPROCESSABLE_ENTITY, "refused: key\n".to_owned());
    assert_eq!(seal(&ingest, &b1, &second.row(zone.now())).await, refused, "another session");
    ingest.play(&[&b1], &mut studio).await;
    let end = studio.end(zone.now());
    ingest.push(&[&b1], &end).await;
    b1.admitted(&end).await;
    let mut again = studio.fork();
    again.reopen(zone.now());
    let (status, why) = seal(&ingest, &b1, &again.row(zone.now())).await;
    assert!(status.is_client_error() && why == "refused: chain\n", "the session that has ended: {status} {why}");

    zone.granter.revoke(Revoked::Node(node("anna"))).await.unwrap();
    eventually("what a revoked streamer has delegated is over", async || {
        ingest.put_at(&b1, path, &bytes).await == StatusCode::FORBIDDEN
    })
    .await;
}
