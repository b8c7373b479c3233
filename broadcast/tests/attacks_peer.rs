//! A hostile broadcast peer: certified, announced on the bus, and lying. Its answers are refused, and the next peer is asked.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use messages::AlertReason;
use node::CancellationToken;
use support::{Zone, assert_alike, listed};
use testkit::studio::Studio;

/// Segments that are played at least, for a peer whose lie raises no alert.
const SEGMENTS_MIN: u32 = 3;
/// Segments after which the peer must have been asked: it announces itself every second.
const SEGMENTS_MAX: u32 = 300;

/// What the peer answers to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    OtherBytes,
    Page,
    Endless,
    Slow,
    Nothing,
}

impl Lie {
    fn answer(self) -> Response {
        let endless = || stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[7; 64 * 1024])));
        match self {
            Self::OtherBytes => Response::new(Body::from(vec![7; 2000])),
            Self::Page => Response::new(Body::from("<!doctype html><title>Welcome</title>")),
            Self::Endless => Response::new(Body::from_stream(endless())),
            Self::Slow => {
                let drip = stream::unfold(tokio::time::interval(Duration::from_secs(1)), |mut ticks| async move {
                    ticks.tick().await;
                    Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ticks))
                });
                Response::new(Body::from_stream(drip))
            }
            Self::Nothing => Response::builder().status(500).body(Body::empty()).unwrap(),
        }
    }

    /// The alert that the honest node gives about it.
    fn reason(self) -> Option<AlertReason> {
        match self {
            Self::OtherBytes | Self::Page | Self::Endless => Some(AlertReason::Digest),
            Self::Slow => Some(AlertReason::Deadline),
            Self::Nothing => None,
        }
    }
}

async fn play_with(lie: Lie) {
    let zone = Zone::start().await;
    let identity = zone.identity("evil").await;
    let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "a_listen").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(move || async move { lie.answer() });
    let shutdown = CancellationToken::new();
    let server = node::http::serve_tls(
        listener,
        Arc::clone(&identity).server_mutual(),
        router,
        node::http::Limits::default(),
        shutdown.clone(),
    );
    let server = tokio::spawn(server);
    let _stranger = zone.stranger("evil", url).await;

    let (b1, b2) = (zone.node("b1").await, zone.node("b2").await);
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1, &b2], &mut studio).await;
    // b2 gets seals, but no bytes, so it has to pull. Once it knows of the liar, it asks the liar first for about half of them.
    let found_out = || lie.reason().is_none_or(|reason| zone.has_alerted(&b2, reason));
    let mut segments = 0;
    while segments < SEGMENTS_MIN || !found_out() {
        assert!(segments < SEGMENTS_MAX, "{lie:?} was never found out");
        segments += 1;
        let rows = studio.segment(zone.now());
        for row in &rows {
            ingest.push(&[&b1], row).await;
        }
        listed(&[&b1, &b2], &studio, &rows).await;
    }
    if let Some(reason) = lie.reason() {
        zone.alerted(&b2, reason).await;
    }
    assert_alike(&[&b1, &b2], &studio).await;
    // A late joiner asks the liar for the log, too.
    let b3 = zone.node("b3").await;
    ingest.play(&[&b1, &b2, &b3], &mut studio).await;
    assert_alike(&[&b1, &b2, &b3], &studio).await;
    shutdown.cancel();
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes() {
    play_with(Lie::OtherBytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_status_200() {
    play_with(Lie::Page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_bytes() {
    play_with(Lie::Endless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_a_second() {
    play_with(Lie::Slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_only() {
    play_with(Lie::Nothing).await;
}
