//! Publishers without the right to publish, and peers that are no publishers.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use media::Epoch;
use messages::SessionState;
use node::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{SilentPublisher, handshake};
use crate::cluster::{Cluster, KEY, text};
use crate::log;

/// Default of `takeover_silence_s`.
const TAKEOVER_SILENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_publish_is_told_why() {
    let cluster = Cluster::start(|_| {}).await;
    for (application, key, words) in
        [("live", "wrong", "Wrong stream key"), ("live", "", "Wrong stream key"), ("other", KEY, "No application")]
    {
        let output = cluster.publish(&cluster.url(application, key), 5).end().await;
        assert!(!output.status.success(), "{application}/{key} was let in");
        assert!(text(&output).contains(words), "{application}/{key}: {}", text(&output));
    }
    let live = cluster.publish(&cluster.url("live", KEY), 8);
    cluster.session(SessionState::Live).await;
    let second = cluster.publish(&cluster.url("live", KEY), 5).end().await;
    assert!(!second.status.success() && text(&second).contains("published already"), "{}", text(&second));
    assert!(live.end().await.status.success(), "the first publisher goes on");
    cluster.session(SessionState::Reconnecting).await;
    assert!(log::check(&cluster.receiver).iter().all(|sealed| sealed.body().epoch == Epoch(1)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_publishes_before_there_is_a_grant() {
    let mut cluster = Cluster::start(|_| {}).await;
    cluster.stop_ingest().await;
    // It makes another key.
    std::fs::remove_file(cluster.file("i1/sealing.key")).unwrap();
    cluster.control.grants.store(false, Ordering::SeqCst);
    cluster.start_ingest().await;
    let output = cluster.publish(&cluster.url("live", KEY), 5).end().await;
    assert!(!output.status.success() && text(&output).contains("no grant"), "{}", text(&output));
    cluster.control.grants.store(true, Ordering::SeqCst);
    cluster.ready().await;
    assert!(cluster.publish(&cluster.url("live", KEY), 4).end().await.status.success());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_epoch_or_head_refuses_the_publisher_and_seals_nothing() {
    let cluster = Cluster::start(|_| {}).await;
    for name in ["i1/streams/demo.epoch", "i1/streams/demo.head"] {
        std::fs::write(cluster.file(name), "\0").unwrap();
        let output = cluster.publish(&cluster.url("live", KEY), 8).end().await;
        assert!(!output.status.success() && text(&output).contains("cannot tell"), "{name}: {}", text(&output));
        std::fs::remove_file(cluster.file(name)).unwrap();
    }
    assert!(cluster.receiver.seals().is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codec_that_is_not_supported_is_refused_by_name() {
    let cluster = Cluster::start(|_| {}).await;
    let output = cluster.publish_with(&cluster.url("live", KEY), 10, &["-c:v", "flv1"]).end().await;
    assert!(!output.status.success(), "{}", text(&output));
    let mut silent = SilentPublisher::connect(&cluster).await;
    silent.video(b"\x1C\x00\0\0\0").await;
    assert!(silent.read_to_end().await.contains("HEVC"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_publisher_is_taken_over() {
    let cluster = Cluster::start(|_| {}).await;
    let silent = SilentPublisher::connect(&cluster).await;
    let clock = Clock::new();
    // Like OBS, the second publisher tries again, and is refused until the first has been silent for long enough.
    let mut refused = 0;
    loop {
        let output = cluster.publish(&cluster.url("live", KEY), 4).end().await;
        if output.status.success() {
            break;
        }
        assert!(text(&output).contains("published already"), "{}", text(&output));
        refused += 1;
    }
    assert!(refused > 0 || clock.elapsed() >= TAKEOVER_SILENCE, "taken over at once");
    assert!(silent.read_to_end().await.contains("taken over"));
    cluster.eventually_refused("taken_over", 1).await;
    cluster.receiver.wait_for("seals", |r| !r.seals().is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_is_let_go_when_its_key_is_not_valid_any_more_and_not_while_control_is_away() {
    for (table, ending, words) in [
        (vec!["another".to_owned()], "key_changed", "The stream key was changed."),
        (vec![], "stream_deleted", "The stream was deleted."),
    ] {
        let cluster = Cluster::start(|config| config.idle_s = 120).await;
        let publisher = SilentPublisher::connect(&cluster).await;
        let control = &cluster.control;
        *control.table.lock().unwrap() = None;
        cluster.eventually("questions to control", || control.unanswered.load(Ordering::SeqCst) >= 3).await;
        assert_eq!(cluster.refused(ending).await, 0);
        *control.table.lock().unwrap() = Some(table);
        let said = publisher.read_to_end().await;
        assert!(said.contains(words), "{said:?}");
        assert_eq!(cluster.refused(ending).await, 1);
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_connections_leave_the_server_serving() {
    let cluster = Cluster::start(|config| {
        config.handshake_s = 2;
        config.connections_per_address_max = 12;
    })
    .await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 8);
    cluster.session(SessionState::Live).await;

    let slow = slow_connections(cluster.rtmp, 4).await;
    send_noise_and_broken_messages(cluster.rtmp).await;
    for socket in slow {
        is_closed(socket, "a connection whose handshake is late").await;
    }
    let closed = closed_at_once(cluster.rtmp, 20).await;
    assert!(closed >= 8, "{closed} of 20 were closed at once");

    assert!(publisher.end().await.status.success(), "the publisher noticed");
    cluster.session(SessionState::Reconnecting).await;
    cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    let seals = log::check(&cluster.receiver);
    let seconds = log::decode(&cluster, &seals, &"audio".parse().unwrap());
    assert!((7.8..8.2).contains(&seconds), "{seconds}");
    cluster.stop().await;
}

/// Connections that send the first byte of their handshake, and nothing more.
async fn slow_connections(rtmp: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut slow = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(rtmp).await.unwrap();
        socket.write_all(&[3]).await.unwrap();
        slow.push(socket);
    }
    slow
}

/// Sends noise in place of a handshake; and after a handshake, noise and messages that break the protocol.
async fn send_noise_and_broken_messages(rtmp: SocketAddr) {
    let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [noise.clone()].into_iter().chain(broken_messages()) {
        let mut socket = TcpStream::connect(rtmp).await.unwrap();
        socket.write_all(&noise).await.ok();
        drop(socket);
        let Ok((mut socket, _)) = handshake(rtmp).await else { continue };
        socket.write_all(&bytes).await.ok();
        socket.shutdown().await.ok();
        is_closed(socket, "a connection after a broken message").await;
    }
}

/// What a server must not trip over after the handshake.
fn broken_messages() -> Vec<Vec<u8>> {
    let messages: [&[u8]; 7] = [
        // Set chunk size 0x7FFFFFFF, then a message of 16 MB that never comes.
        b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\x7F\xFF\xFF\xFF\x03\0\0\0\xFF\xFF\xFF\x14\0\0\0\0aaaa",
        // A message that is shortened halfway, which makes other readers underflow.
        &[b"\x03\0\0\0\0\x01\x2C\x14\0\0\0\0".as_slice(), &[0; 128], b"\x43\0\0\0\0\0\x01\x14\0"].concat(),
        // A command with one value, then one with none.
        b"\x03\0\0\0\0\0\x04\x14\0\0\0\0\x02\0\x01x",
        b"\x03\0\0\0\0\0\0\x14\0\0\0\0",
        // @setDataFrame alone.
        b"\x03\0\0\0\0\0\x10\x12\0\0\0\0\x02\0\x0D@setDataFrame",
        // Objects nested 16,000 deep.
        &[
            b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\x01\0\0\x03\0\0\0\0\xFA\0\x14\0\0\0\0".as_slice(),
            &b"\x03\0\x01a".repeat(16_000),
        ]
        .concat(),
        // A compressed chunk header as the first one.
        b"\xC3",
    ];
    messages.map(<[u8]>::to_vec).to_vec()
}

/// Waits until the server closes the connection: the deadline of the handshake passes meanwhile.
async fn is_closed(mut socket: TcpStream, what: &str) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "{what} is left open");
}

/// How many of `count` connections of one address the server closes at once.
async fn closed_at_once(rtmp: SocketAddr, count: usize) -> usize {
    let mut many = Vec::new();
    for _ in 0..count {
        many.push(TcpStream::connect(rtmp).await.unwrap());
    }
    let mut closed = 0;
    for socket in &mut many {
        let mut byte = [0];
        if tokio::time::timeout(Duration::from_millis(50), socket.read(&mut byte)).await.is_ok() {
            closed += 1;
        }
    }
    closed
}
