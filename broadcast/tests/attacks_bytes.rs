//! Attacks with media bytes. Each is refused, counted under its reason, published on `alerts` and never served, and the stream plays on.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use bytes::Bytes;
use http::StatusCode;
use media::{ObjectName, Slot};
use messages::{AlertReason, Role};
use node::tls::Server;
use support::{Ingest, Node, Zone, eventually};
use testkit::studio::{Row, Studio};

async fn start() -> (Zone, Node, Studio, Ingest) {
    let zone = Zone::start().await;
    let node = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&node], &mut studio).await;
    (zone, node, studio, ingest)
}

fn part<'r>(row: &'r Row, rendition: &str) -> &'r (ObjectName, Bytes) {
    let is_it = |(name, _): &&(ObjectName, Bytes)| name.rendition.as_str() == rendition && name.slot != Slot::Init;
    row.objects.iter().find(is_it).unwrap()
}

/// Changes that keep the length, and changes that do not.
fn spoiled(good: &Bytes) -> Vec<Bytes> {
    let flip = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x40;
        Bytes::from(bytes)
    };
    vec![
        flip(0),
        flip(good.len() / 2),
        flip(good.len() - 1),
        [good, &b"x"[..]].concat().into(),
        good.slice(..good.len() - 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytes() {
    let (zone, node, mut studio, ingest) = start().await;
    let evil = zone.ingest("i2", &studio).await;
    let row = studio.row(zone.now());
    let (name, good) = part(&row, "1080p");
    // Before their seal is known, the bytes wait, because they might be right; then the seal tells.
    let bad = spoiled(good);
    assert_eq!(evil.put(&node, name, &bad[1]).await, StatusCode::CREATED);
    ingest.publish_seal(&row).await;
    zone.alerted(&node, AlertReason::Digest).await;
    for bad in &bad {
        assert_eq!(evil.put(&node, name, bad).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(evil.put(&node, name, &Bytes::new()).await, StatusCode::UNPROCESSABLE_ENTITY);
    let pulled = ingest.client.get(format!("{}{name}", node.data)).send().await.unwrap();
    assert_eq!(pulled.status(), StatusCode::NOT_FOUND, "nothing is served before it is admitted");
    // A viewer who asks for the hinted object now waits for the right bytes.
    let (client, url) = (node.client.clone(), format!("{}{name}", node.https));
    let waits = tokio::spawn(async move { client.get(url).send().await.unwrap().bytes().await.unwrap() });
    node.waiting(1).await;
    ingest.put_objects(&[&node], &row).await;
    assert_eq!(waits.await.unwrap(), good);
    assert_eq!(evil.put(&node, name, &bad[0]).await, StatusCode::UNPROCESSABLE_ENTITY, "nor replaced afterwards");
    assert_eq!(node.refused(&studio.stream).await["digest"], 8);
    ingest.play(&[&node], &mut studio).await;
    assert_eq!(node.get(&name.to_string()).await, (StatusCode::OK, good.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_one_rendition_in_the_slot_of_another() {
    let (zone, node, mut studio, ingest) = start().await;
    let row = studio.row(zone.now());
    ingest.publish_seal(&row).await;
    let ((low, low_bytes), (high, _)) = (part(&row, "360p"), part(&row, "1080p"));
    assert_eq!(ingest.put(&node, low, low_bytes).await, StatusCode::CREATED);
    eventually("seal is known", async || ingest.put(&node, high, low_bytes).await == StatusCode::UNPROCESSABLE_ENTITY)
        .await;
    zone.alerted(&node, AlertReason::Digest).await;
    ingest.put_objects(&[&node], &row).await;
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_bytes_without_a_seal() {
    let (zone, node, mut studio, ingest) = start().await;
    let evil = zone.ingest("i2", &studio).await;
    let megabytes = Bytes::from(vec![7; 4 * 1024 * 1024]);
    let mut full = 0;
    for n in 0..40_u32 {
        // A different slot each time, a million segments ahead.
        let path = format!("/live/demo/1080p/1/{}.0.m4s", 1_000_000 + n);
        full += usize::from(evil.put_at(&node, &path, &megabytes).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(full >= 24, "at most 64 MiB of 160 are held, {full} were refused");
    zone.alerted(&node, AlertReason::Quarantine).await;
    assert_eq!(node.get("/live/demo/1080p/1/1000000.0.m4s").await.0, StatusCode::NOT_FOUND);
    // The other ingest's stream has room for its own.
    let mut other = Studio::new("other", zone.now());
    let honest = zone.ingest("i1", &other).await;
    honest.play(&[&node], &mut other).await;
    // Bytes that nobody sealed are dropped in time, and the flooded stream plays on.
    zone.alerted(&node, AlertReason::Deadline).await;
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_slots() {
    let (zone, node, mut studio, ingest) = start().await;
    let evil = zone.ingest("i2", &Studio::new("flood", zone.now())).await;
    let mut full = 0;
    for n in 0..2_200_u32 {
        let path = format!("/live/flood/1080p/1/{n}.0.m4s");
        full +=
            usize::from(evil.put_at(&node, &path, &Bytes::from_static(b"x")).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(full >= 100, "{full}");
    zone.alerted(&node, AlertReason::Quarantine).await;
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_are_none_of_an_ingests_business() {
    let (zone, node, mut studio, ingest) = start().await;
    let one = Bytes::from_static(b"x");
    for path in [
        "/live/demo/1080p/1/0.m4s",
        "/live/demo/1080p/1/init.mp4x",
        "/live/demo/1080p/01/0.0.m4s",
        "/live/demo/1080p/1/00.0.m4s",
        "/live/de%2Fmo/1080p/1/0.0.m4s",
        "/live/demo/..%2F/1/0.0.m4s",
        "/live/demo/1080p/1/99999999999999999999.0.m4s",
    ] {
        let status = ingest.put_at(&node, path, &one).await;
        assert!(status == StatusCode::NOT_FOUND || status == StatusCode::UNPROCESSABLE_ENTITY, "{path}: {status}");
    }
    let huge = Bytes::from(vec![0; 17 * 1024 * 1024]);
    let status = ingest.put_at(&node, "/live/demo/1080p/1/9.0.m4s", &huge).await;
    assert!([StatusCode::PAYLOAD_TOO_LARGE, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
    // Another broadcast node may pull, but not push; without a certificate, nobody may connect.
    let stranger = zone.stranger("evil", "https://127.0.0.1:9".to_owned()).await;
    let client = stranger.identity.http_client(Server::Any(Role::Broadcast)).unwrap();
    let request = client.put(format!("{}/live/demo/1080p/1/9.0.m4s", node.data)).body("x");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let request = client.put(format!("{}/live/demo/seals", node.data)).body("x");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let request = client.post(format!("{}/live/demo/fence", node.data));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let nobody = reqwest::Client::builder().use_preconfigured_tls(without_certificate(&zone)).build().unwrap();
    assert!(nobody.get(format!("{}/live/demo/head", node.data)).send().await.is_err());
    ingest.play(&[&node], &mut studio).await;
}

/// A client that trusts the zone's authority and has no certificate.
fn without_certificate(zone: &Zone) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let path = zone.control.identity.ca_path();
    for certificate in rustls::pki_types::CertificateDer::pem_file_iter(path).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder = rustls::ClientConfig::builder_with_provider(node::tls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Minutes of seals whose bytes were pushed to nobody: as long as the network between ingest and nodes was down and the bus was not.
/// The stream is back seconds after the bytes are, and not a deadline a segment later.
#[tokio::test(flavor = "multi_thread")]
async fn long_outage_of_the_data_plane_ends_soon_after_it_heals() {
    let (zone, node, mut studio, ingest) = start().await;
    // A hundred seconds of media; nothing here depends on the pace at which seals come.
    for _ in 0..200 {
        ingest.publish_seal(&studio.row(zone.now())).await;
    }
    zone.alerted(&node, AlertReason::Deadline).await;
    ingest.play(&[&node], &mut studio).await;
}
