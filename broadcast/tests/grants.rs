//! What an ingest may do at the data plane: everything with the streams of its grant, and nothing with any other.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use bytes::Bytes;
use http::StatusCode;
use metadata::{Body, Grant, Scope, StreamSettings};
use seal::SealingKey;
use support::{Zone, eventually};
use testkit::studio::{Studio, stream};

fn row(name: &str, pool: &str) -> Body {
    let (name, pool) = (stream(name), pool.to_owned());
    Body::Stream(StreamSettings {
        name,
        pool,
        key_macs: Vec::new(),
        visibility: metadata::Visibility::Public,
        title: String::new(),
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
