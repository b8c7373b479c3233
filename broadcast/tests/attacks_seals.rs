//! Attacks with seals and grants. Each is refused, counted under its reason and published on `alerts`, and the stream plays on.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use bytes::Bytes;
use http::StatusCode;
use media::{LogSequence, MediaSequence, PartIndex, Slot, StreamId, UnixMillis};
use messages::{AlertReason, Topic};
use metadata::Revoked;
use seal::{Grant, Scope, SealBody, SealingKey, Signer as _};
use support::{Ingest, Node, Zone, eventually, listed};
use testkit::studio::{Studio, stream};

async fn start() -> (Zone, Node, Studio, Ingest) {
    let zone = Zone::start().await;
    let node = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&node], &mut studio).await;
    (zone, node, studio, ingest)
}

fn seals(name: &str) -> Topic {
    Topic::Seals(stream(name))
}

/// The node's answer when the seal is pushed to it: the same rules as for the bus.
async fn push(ingest: &Ingest, node: &Node, stream: &StreamId, raw: &Bytes) -> (StatusCode, String) {
    let request = ingest.client.put(format!("{}/live/{stream}/seals", node.data)).body(raw.clone());
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bit_anywhere() {
    let (zone, node, mut studio, ingest) = start().await;
    let row = studio.row(zone.now());
    let good = row.sealed.raw().clone();
    // Change every byte of the envelope's head and header, then the payload and the signature in steps.
    let places = (0..40).chain((40..good.len()).step_by(97)).chain([good.len() - 1]);
    for (n, at) in places.enumerate() {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (n % 8);
        let (status, text) = push(&ingest, &node, &studio.stream, &bad.into()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "byte {at}");
        let reasons = ["refused: signature\n", "refused: malformed\n", "refused: key\n"];
        assert!(reasons.contains(&text.as_str()), "byte {at}: {text}");
    }
    for (name, bad) in [
        ("trailing byte", [&good, &b"\0"[..]].concat()),
        ("cut", good[..good.len() - 1].to_vec()),
        ("nothing", vec![]),
        ("huge claimed length", b"\xd2\x84\x5b\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("deep nesting", vec![0x81; 60_000]),
        ("untagged", good[1..].to_vec()),
        // The same length, encoded in more bytes than it needs: not canonical.
        ("long form of a length", [b"\xd2\x84\x58\x16", &good[3..]].concat()),
        ("unprotected header", {
            let mut bad = good.to_vec();
            bad[25] = 0xa1;
            bad
        }),
    ] {
        let (status, text) = push(&ingest, &node, &studio.stream, &bad.into()).await;
        assert_eq!((status, text.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "refused: malformed\n"), "{name}");
    }
    let ten_megabytes = Bytes::from(vec![0xd2; 10 * 1024 * 1024]);
    assert!(ingest.put_at(&node, "/live/demo/seals", &ten_megabytes).await.is_client_error());
    // The largest message that the bus takes.
    ingest.publish_raw(&seals("demo"), Bytes::from(vec![0xd2; 200 * 1024]), false).await;
    zone.alerted(&node, AlertReason::Malformed).await;
    zone.alerted(&node, AlertReason::Signature).await;
    ingest.push(&[&node], &row).await;
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_a_right_to_it() {
    let (zone, node, mut studio, ingest) = start().await;
    let now = zone.now();
    type Change = fn(&mut Grant, UnixMillis);
    let changes: [(&str, Change); 3] = [
        ("another stream", |grant, _| grant.scope = Scope::Streams(vec![stream("other")])),
        ("expired", |grant, now| grant.until = UnixMillis(now.0 - 1)),
        ("not yet valid", |grant, now| grant.from = UnixMillis(now.0 + 3_600_000)),
    ];
    for (name, change) in changes {
        let mut thief = studio.fork();
        thief.key = SealingKey::generate().unwrap();
        let mut grant = zone.statement("i1", &thief.key, &thief);
        change(&mut grant, now);
        zone.granter.grant(grant).await.unwrap();
        let row = thief.row(zone.now());
        refused(&ingest, &node, &row, "key", name).await;
    }
    let mut thief = studio.fork();
    thief.key = SealingKey::generate().unwrap();
    refused(&ingest, &node, &thief.row(zone.now()), "key", "no grant").await;
    zone.alerted(&node, AlertReason::Key).await;
    ingest.play(&[&node], &mut studio).await;
}

async fn refused(ingest: &Ingest, node: &Node, row: &testkit::studio::Row, reason: &str, what: &str) {
    let (status, text) = push(ingest, node, &row.sealed.body().stream, row.sealed.raw()).await;
    assert!(status.is_client_error(), "{what}: {status}");
    assert_eq!(text, format!("refused: {reason}\n"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_stays_revoked() {
    let (zone, node, mut studio, ingest) = start().await;
    let mut thief = Studio::new("stolen", zone.now());
    let evil = zone.ingest("i2", &thief).await;
    let rows = thief.segment(zone.now());
    for row in &rows {
        evil.push(&[&node], row).await;
    }
    listed(&[&node], &thief, &rows).await;
    // It has another key, with which it may push.
    let other = zone.statement("i2", &SealingKey::generate().unwrap(), &thief);
    zone.granter.grant(other).await.unwrap();
    zone.granter.revoke(Revoked::Key(thief.key.key_id())).await.unwrap();
    // Not the newest seal: the gate knows that one by its bytes, and does not verify it again.
    let row = &rows[0];
    eventually("the key is revoked", async || {
        push(&evil, &node, &thief.stream, row.sealed.raw()).await.1 == "refused: key\n"
    })
    .await;
    // A new grant of the key changes nothing.
    zone.grant("i2", &thief).await;
    zone.alerted(&node, AlertReason::Key).await;
    refused(&evil, &node, row, "key", "revoked").await;
    // Nor does it after a restart.
    node.stop().await;
    let node = zone.node("b1").await;
    refused(&evil, &node, row, "key", "revoked, after a restart").await;
    for row in studio.segment(zone.now()) {
        ingest.push(&[&node], &row).await;
    }
    ingest.play(&[&node], &mut studio).await;
}

/// A seal was verified, and its bytes come after its key was revoked.
#[tokio::test(flavor = "multi_thread")]
async fn seal_that_waits_while_its_key_is_revoked_is_never_admitted() {
    let (zone, node, mut studio, ingest) = start().await;
    let mut thief = Studio::new("stolen", zone.now());
    let evil = zone.ingest("i2", &thief).await;
    let rows = thief.segment(zone.now());
    for row in &rows {
        evil.push(&[&node], row).await;
    }
    listed(&[&node], &thief, &rows).await;
    let shown = node.sequence(&thief.stream).await;
    let waits = thief.row(zone.now());
    evil.publish_seal(&waits).await;
    let (name, _) = &waits.objects[0];
    eventually("the seal waits", async || {
        evil.put(&node, name, &Bytes::from_static(b"other bytes")).await == StatusCode::UNPROCESSABLE_ENTITY
    })
    .await;
    // It has another key, with which it may push.
    let other = zone.statement("i2", &SealingKey::generate().unwrap(), &thief);
    zone.granter.grant(other).await.unwrap();
    zone.granter.revoke(Revoked::Key(thief.key.key_id())).await.unwrap();
    eventually("the key is revoked", async || {
        push(&evil, &node, &thief.stream, rows[0].sealed.raw()).await.1 == "refused: key\n"
    })
    .await;
    evil.put_objects(&[&node], &waits).await;
    // The gate takes this after the bytes.
    ingest.play(&[&node], &mut studio).await;
    assert_eq!(node.sequence(&thief.stream).await, shown);
    let pulled = evil.client.get(format!("{}{name}", node.data)).send().await.unwrap();
    assert_eq!(pulled.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_node_pushes_nothing_and_holds_up_no_log() {
    let (zone, node, mut studio, ingest) = start().await;
    let evil = zone.ingest("i2", &studio).await;
    zone.granter.revoke(Revoked::Node(evil.context.id.clone())).await.unwrap();
    // Bytes that another node could push before their seal.
    let path = "/live/demo/1080p/1/9.0.m4s";
    eventually("its pushes are refused", async || {
        evil.put_at(&node, path, &Bytes::from_static(b"x")).await == StatusCode::FORBIDDEN
    })
    .await;
    let fence = evil.client.post(format!("{}/live/{}/fence", node.data, studio.stream));
    assert_eq!(fence.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    // A seal signed with another node's key is refused when the revoked node pushes it, and taken from the other.
    let row = studio.row(zone.now());
    assert_eq!(push(&evil, &node, &studio.stream, row.sealed.raw()).await.0, StatusCode::FORBIDDEN);
    ingest.push(&[&node], &row).await;
    node.admitted(&row).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seal_of_another_stream_cluster_or_session() {
    let (zone, node, mut studio, ingest) = start().await;
    let mut other = Studio::new("other", zone.now());
    zone.grant("i1", &other).await;
    let row = other.row(zone.now());
    eventually("refused as another stream's", async || {
        push(&ingest, &node, &studio.stream, row.sealed.raw()).await.1 == "refused: identity\n"
    })
    .await;
    ingest.publish_raw(&seals("demo"), row.sealed.raw().clone(), false).await;
    zone.alerted(&node, AlertReason::Identity).await;
    let foreign = studio.spoiled(zone.now(), |body| body.cluster = media::ClusterId::new("elsewhere").unwrap());
    refused(&ingest, &node, &foreign, "identity", "another cluster").await;
    let foreign = studio.spoiled(zone.now(), |body| body.session = media::SessionId([9; 16]));
    refused(&ingest, &node, &foreign, "identity", "another session in the same epoch").await;
    ingest.play(&[&node], &mut studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_numbers_that_cannot_be() {
    let (zone, node, mut studio, ingest) = start().await;
    let hour = 3_600_000;
    for (name, issued_at) in [("future", zone.now().0 + hour), ("past", zone.now().0 - hour)] {
        let row = studio.spoiled(zone.now(), |body| body.issued_at = UnixMillis(issued_at));
        refused(&ingest, &node, &row, "implausible", name).await;
    }
    // An honest ingest refuses to sign these; a thief's tool would not.
    type Spoil = (&'static str, fn(&mut SealBody));
    let spoil: [Spoil; 5] = [
        ("duration 0", |body| body.objects[0].duration.ticks = 0),
        ("negative duration", |body| body.objects[0].duration.ticks = -45_000),
        ("duration of 10^12", |body| body.objects[0].duration.ticks = 1_000_000_000_000),
        ("huge object", |body| body.objects[0].length = u64::MAX),
        ("sequence of 2^60", |body| body.sequence = LogSequence(1 << 60)),
    ];
    for (name, spoil) in spoil {
        let (mut body, _) = studio.fork().body(zone.now());
        spoil(&mut body);
        let raw = forge(&body, &studio.key);
        let (_, text) = push(&ingest, &node, &studio.stream, &raw).await;
        assert_eq!(text, "refused: implausible\n", "{name}");
    }
    let jump = |body: &mut SealBody| {
        for object in &mut body.objects {
            object.slot = Slot::Part { msn: MediaSequence(1_000_000_000), part: PartIndex(0) };
        }
        body.next_msn = MediaSequence(1_000_000_000);
    };
    let (mut body, _) = studio.fork().body(zone.now());
    jump(&mut body);
    let (_, text) = push(&ingest, &node, &studio.stream, &forge(&body, &studio.key)).await;
    assert_eq!(text, "refused: implausible\n", "MSN jumps by 10^9");
    zone.alerted(&node, AlertReason::Implausible).await;
    ingest.play(&[&node], &mut studio).await;
}

/// Signs what `seal::sign_seal` would refuse to sign.
fn forge(body: &SealBody, key: &SealingKey) -> Bytes {
    let payload = seal::encode_body(body);
    let id = key.key_id();
    let protected = [&b"\xa2\x01\x38\x2f\x04\x50"[..], &id.0].concat();
    let string = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap();
        let head = match length {
            0..=23 => vec![0x40 | u8::try_from(length).unwrap()],
            24..=255 => vec![0x58, u8::try_from(length).unwrap()],
            _ => [&[0x59][..], &length.to_be_bytes()].concat(),
        };
        [head, bytes.to_vec()].concat()
    };
    let signed = [&b"\x84\x6aSignature1"[..], &string(&protected), b"\x40", &string(&payload)].concat();
    let signature = key.sign(&signed).unwrap();
    [&b"\xd2\x84"[..], &string(&protected), b"\xa0", &string(&payload), &string(&signature)].concat().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_envelope_is_right_in_itself() {
    // Shows that the test above fails for the reason that it names.
    let zone = Zone::start().await;
    let mut studio = Studio::new("demo", zone.now());
    let (body, _) = studio.body(zone.now());
    let keyring = zone.authority.grant(&studio, zone.now());
    let raw = forge(&body, &studio.key);
    keyring.verify(&raw, &studio.stream, zone.now(), seal::Freshness::Live).unwrap();
}
