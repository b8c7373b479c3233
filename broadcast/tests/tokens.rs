//! Rights that the metadata log gives and takes, on real nodes: over a real broker, and without control.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use access::token::Claims;
use http::StatusCode;
use media::UnixMillis;
use metadata::{Body, RevokedTokens, StreamSettings, TokenId, TokenRevocation, ViewerDigest, Visibility};
use support::{Node, Zone, eventually};
use testkit::studio::{Studio, cluster, stream};
use testkit::viewer_tokens;

const HOUR_MS: i64 = 3_600_000;

fn row(name: &str, visibility: Visibility) -> Body {
    let (name, pool) = (stream(name), "default".to_owned());
    Body::Stream(StreamSettings {
        name,
        pool,
        key_macs: Vec::new(),
        visibility,
        title: String::new(),
        tenant: None,
        pages: metadata::PageSettings::default(),
    })
}

fn token(zone: &Zone, sub: &str, jti: u8) -> String {
    let nbf = u64::try_from(zone.now().0 / 1_000).unwrap();
    let (sub, jti) = (Some(sub.to_owned()), TokenId([jti; 8]));
    let claims = Claims { sub, jti, ..viewer_tokens::claims(&cluster(), &stream("demo"), nbf) };
    claims.sign(&viewer_tokens::key()).unwrap()
}

/// Control's part: the stream needs a token, and nodes know the key.
async fn protect(zone: &Zone) {
    let (from, until) = (zone.now(), UnixMillis(zone.now().0 + HOUR_MS));
    zone.granter.write(Body::Verifier(viewer_tokens::verifier(from, until))).await.unwrap();
    zone.granter.write(row("demo", Visibility::Token)).await.unwrap();
}

/// Name of the row of the key that verifies tokens.
fn viewer_tokens_name() -> String {
    Body::Verifier(viewer_tokens::verifier(UnixMillis(0), UnixMillis(1))).name().unwrap()
}

async fn answers(node: &Node, path: &str, status: StatusCode) {
    eventually(&format!("{path} of {}: {status}", node.id), async || node.get(path).await.0 == status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn right_that_the_log_takes_is_gone_on_all_nodes_and_others_watch_on() {
    let zone = Zone::start().await;
    let (b1, b2) = (zone.node("b1").await, zone.node("b2").await);
    let mut studio = Studio::new("demo", zone.now());
    zone.granter.write(row("demo", Visibility::Public)).await.unwrap();
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1, &b2], &mut studio).await;
    let public = b1.get("/live/demo/1080p/index.m3u8").await;
    protect(&zone).await;
    let [lost, kept] =
        [token(&zone, "u81", 1), token(&zone, "u82", 2)].map(|text| format!("/t/{text}/live/demo/1080p/index.m3u8"));
    for node in [&b1, &b2] {
        answers(node, "/live/demo/1080p/index.m3u8", StatusCode::NOT_FOUND).await;
        answers(node, "/api/v1/streams/demo", StatusCode::NOT_FOUND).await;
        assert_eq!(&node.get("/api/v1/streams").await.1[..], br#"{"streams":[]}"#);
        assert_eq!(node.get(&kept).await, public, "the bytes are those that everybody got");
        assert_eq!(node.get(&lost).await, public);
    }
    let began = zone.clock.elapsed();
    let tokens = RevokedTokens::Viewer { viewer: ViewerDigest::of("u81"), up_to_ver: 0 };
    let until = UnixMillis(zone.now().0 + 25 * HOUR_MS);
    zone.granter.write(Body::TokenRevocation(TokenRevocation { tokens, until })).await.unwrap();
    for node in [&b1, &b2] {
        answers(node, &lost, StatusCode::FORBIDDEN).await;
    }
    eprintln!("taken back on both nodes within {} ms", (zone.clock.elapsed() - began).as_millis());
    for node in [&b1, &b2] {
        assert_eq!(node.get(&kept).await.0, StatusCode::OK);
    }
    zone.granter.write(row("demo", Visibility::Public)).await.unwrap();
    answers(&b1, "/live/demo/1080p/index.m3u8", StatusCode::OK).await;
}

/// Nodes hold the last seconds of a deleted stream in memory, and hours on disk: neither is for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn stream_that_was_deleted_is_for_nobody_whoever_could_watch_it_before() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    zone.granter.write(row("demo", Visibility::Public)).await.unwrap();
    zone.granter.write(row("other", Visibility::Public)).await.unwrap();
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1], &mut studio).await;
    protect(&zone).await;
    let open = format!("/t/{}/live/demo/1080p/index.m3u8", token(&zone, "u82", 2));
    answers(&b1, &open, StatusCode::OK).await;
    answers(&b1, "/live/demo/1080p/index.m3u8", StatusCode::NOT_FOUND).await;
    zone.granter.remove(metadata::kind::STREAM, "demo").await.unwrap();
    zone.granter.remove(metadata::kind::VERIFIER, &viewer_tokens_name()).await.unwrap();
    answers(&b1, &open, StatusCode::FORBIDDEN).await;
    for path in ["/live/demo/index.m3u8", "/live/demo/1080p/index.m3u8", "/live/demo/seals?from=0"] {
        assert_eq!(b1.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(&b1.get("/api/v1/streams").await.1[..], br#"{"streams":[]}"#);
}

/// A node needs nobody to verify a token, and remembers what the log has said across a restart.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_made_count_while_control_is_dead_and_after_a_restart() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    zone.granter.write(row("demo", Visibility::Public)).await.unwrap();
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1], &mut studio).await;
    protect(&zone).await;
    let tokens = RevokedTokens::Token(TokenId([1; 8]));
    let until = UnixMillis(zone.now().0 + 25 * HOUR_MS);
    zone.granter.write(Body::TokenRevocation(TokenRevocation { tokens, until })).await.unwrap();
    let [lost, kept] = [token(&zone, "u81", 1), token(&zone, "u82", 2)].map(|text| format!("/t/{text}/live/demo"));
    answers(&b1, &format!("{lost}/index.m3u8"), StatusCode::FORBIDDEN).await;
    answers(&b1, &format!("{kept}/index.m3u8"), StatusCode::OK).await;
    zone.granter.close().await;
    // A viewer who comes now, with a token that the node has not seen.
    let newcomer = token(&zone, "u83", 3);
    answers(&b1, &format!("/t/{newcomer}/live/demo/index.m3u8"), StatusCode::OK).await;
    b1.stop().await;
    let b1 = zone.node("b1").await;
    answers(&b1, &format!("{lost}/index.m3u8"), StatusCode::FORBIDDEN).await;
    answers(&b1, "/live/demo/index.m3u8", StatusCode::NOT_FOUND).await;
    // The node is back before the stream is: never 401 or 403 for a right token.
    let early = b1.get(&format!("{kept}/index.m3u8")).await.0;
    assert!([StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&early), "{early}");
}
