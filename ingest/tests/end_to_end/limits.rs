//! Peers that go beyond a limit are closed, and counted under its name.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{SilentPublisher, handshake};
use crate::cluster::{Cluster, KEY, text};

/// Waits for the peer to close.
async fn closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "connection left open");
}

/// Chunk header of a message on chunk stream `id`; its payload has to follow.
fn header(id: u8, length: u32, kind: u8) -> Vec<u8> {
    [&[id, 0, 0, 0], &length.to_be_bytes()[1..], &[kind, 0, 0, 0, 0]].concat()
}

fn chunk_size(size: u32) -> Vec<u8> {
    [header(2, 4, 1), size.to_be_bytes().to_vec()].concat()
}

/// The name of a limit, and bytes that go beyond it right after the handshake.
fn beyond() -> Vec<(&'static str, Vec<u8>)> {
    let connect = b"\x02\0\x07connect\0\x3F\xF0\0\0\0\0\0\0\x03\0\0\x09";
    let create = b"\x02\0\x0CcreateStream\0\x40\0\0\0\0\0\0\0\x05";
    let command = |body: &[u8]| [header(3, body.len() as u32, 20), body.to_vec()].concat();
    let (nested, wide) = (b"\x03\0\x01a".repeat(10), [&[10, 0, 0, 0xFF, 0xFF][..], &[5; 2_000]].concat());
    let unfinished = |id| [header(id, 65_536, 20), vec![0; 65_535]].concat();
    vec![
        ("message_bytes", header(3, 65_537, 20)),
        ("assembly_bytes", [chunk_size(65_535), unfinished(3), unfinished(4), unfinished(5)].concat()),
        (
            "chunk_streams",
            (3..=63)
                .chain(3..=63)
                .zip(0..)
                .flat_map(|(id, n)| match n {
                    0..=60 => header(id, 0, 3),
                    _ => [&[0, id][..], &header(0, 0, 3)[1..]].concat(),
                })
                .collect(),
        ),
        ("chunk_bytes", chunk_size(0x8000_0000)),
        ("chunk_bytes", chunk_size(0)),
        ("amf_depth", command(&nested)),
        ("amf_values", [chunk_size(65_535), command(&wide)].concat()),
        ("message_streams", [command(connect), command(create).repeat(17)].concat()),
        ("invalid", command(create)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_goes_beyond_a_limit_is_closed_and_counted_under_its_name() {
    let cluster = Cluster::start(|_| {}).await;
    for (reason, bytes) in beyond() {
        let before = cluster.refused(reason).await;
        let (mut socket, _) = handshake(cluster.rtmp).await.unwrap();
        // The connection may be reset if it is closed while bytes are on their way.
        let _ = socket.write_all(&bytes).await;
        closed(&mut socket).await;
        cluster.eventually_refused(reason, before + 1).await;
    }
    assert!(cluster.publish(&cluster.url("live", KEY), 3).end().await.status.success());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peer_is_closed_and_counted_by_what_it_was_slow_at() {
    let cluster = Cluster::start(|config| {
        config.handshake_s = 2;
        config.idle_s = 2;
    })
    .await;
    let reasons = ["handshake_time", "publish_time", "idle_time", "write_time"];
    let mut before = Vec::new();
    for reason in reasons {
        before.push(cluster.refused(reason).await);
    }

    let mut slow = TcpStream::connect(cluster.rtmp).await.unwrap();
    slow.write_all(&[3; 100]).await.unwrap();
    let (mut mute, _) = handshake(cluster.rtmp).await.unwrap();
    let silent = SilentPublisher::connect(&cluster).await;
    closed(&mut slow).await;
    closed(&mut mute).await;
    silent.read_to_end().await;

    // This peer asks, and does not read the answers.
    let mut deaf = SilentPublisher::connect(&cluster).await;
    let ask = b"\x02\0\x09FCPublish\0\x40\0\0\0\0\0\0\0\x05\x02\0\x01a";
    let asks = [header(3, ask.len() as u32, 20), ask.to_vec()].concat().repeat(1_000);
    let flood = async { while deaf.socket.write_all(&asks).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(30), flood).await.is_ok(), "answers pile up");

    for (reason, before) in reasons.into_iter().zip(before) {
        cluster.eventually_refused(reason, before + 1).await;
    }
    let output = cluster.publish(&cluster.url("live", KEY), 3).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_beyond_those_of_its_address_is_closed_at_once_and_counted() {
    for (reason, all, each) in [("connections_per_address", 10, 3), ("connections", 3, 10)] {
        let cluster = Cluster::start(|config| {
            config.connections_max = all;
            config.connections_per_address_max = each;
        })
        .await;
        let before = cluster.refused(reason).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(handshake(cluster.rtmp).await.unwrap());
        }
        let mut one_more = TcpStream::connect(cluster.rtmp).await.unwrap();
        closed(&mut one_more).await;
        assert_eq!(cluster.refused(reason).await, before + 1);
        drop(held);
        // Connections that went no longer count, once the server has noticed.
        let again = async { while handshake(cluster.rtmp).await.is_err() {} };
        assert!(tokio::time::timeout(Duration::from_secs(5), again).await.is_ok(), "nobody is let in any more");
        cluster.stop().await;
    }
}
