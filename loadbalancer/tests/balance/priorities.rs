//! The order of the responses on a viewer's connection to the balancer (RFC 9218).
//!
//! All of it runs on one thread, so that everything comes to rest when the test lets it. The viewer reads in steps, slower than the rest.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use node::http::Limits;
use testkit::viewer::{Viewer, length};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, NODES, first_answer, within};

const SEGMENT_BYTES: usize = 2 << 20;
const SOUND_BYTES: usize = 1 << 19;
const PLAYLIST_BYTES: usize = 10_000;
/// Bytes that nothing can overtake any more: the buffers of both operating systems and of TLS, and what is ahead in HTTP/2.
const BUFFERED_BYTES_MAX: usize = 512 * 1024;
/// Bytes that a slow viewer reads while everything else comes to rest.
const STEP_BYTES: usize = 64 * 1024;
const WINDOW_BYTES: u32 = 64 << 20;
const SMALL_WINDOW_BYTES: u32 = 64 * 1024;

fn site() -> Router {
    let said = |priority: &'static str, bytes: usize| {
        move || async move { ([("priority", priority)], Bytes::from(vec![0x5a; bytes])) }
    };
    Router::new()
        .route("/playlist", get(said("u=1", PLAYLIST_BYTES)))
        .route("/sound", get(said("u=2", SOUND_BYTES)))
        .route("/segment", get(said("u=3", SEGMENT_BYTES)))
        .route("/urgent", get(said("u=0", SOUND_BYTES)))
        .fallback(|| async {})
}

/// Lets all tasks go on until they wait.
async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

/// Reads slowly until all answers are there.
async fn read_all(viewer: &Viewer, answers: Vec<JoinHandle<usize>>) -> Vec<usize> {
    while !answers.iter().all(JoinHandle::is_finished) {
        viewer.read_bytes(STEP_BYTES);
        settle().await;
    }
    let mut lengths = Vec::new();
    for answer in answers {
        lengths.push(answer.await.unwrap());
    }
    lengths
}

/// A balancer in front of a node.
async fn balancer(cluster: &Cluster) -> SocketAddr {
    let address = cluster.balancer().await;
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    address
}

#[tokio::test]
async fn playlist_and_sound_overtake_segments_on_a_slow_connection() {
    let cluster = Cluster::start(&NODES).await;
    let _backend = cluster.node("b1", site(), Limits::default()).await;
    let mut viewer = Viewer::connect(balancer(&cluster).await, cluster.trust(), WINDOW_BYTES).await;
    viewer.read(false);
    let mut answers = Vec::new();
    let mut streams = Vec::new();
    for path in ["/segment", "/segment", "/segment", "/sound", "/playlist"] {
        let (stream, answer) = viewer.get(path, None).await;
        streams.push(stream);
        answers.push(tokio::spawn(async { length(answer.await).await }));
        settle().await;
    }
    let lengths = within("whole responses", read_all(&viewer, answers)).await;
    assert_eq!(lengths, [SEGMENT_BYTES, SEGMENT_BYTES, SEGMENT_BYTES, SOUND_BYTES, PLAYLIST_BYTES]);
    let [segments @ .., sound, playlist] = &streams[..] else { panic!("{streams:?}") };
    let before = viewer.bytes_before_the_end_of(*playlist, &streams[..4]);
    assert!(before < BUFFERED_BYTES_MAX, "{before} bytes of media came before the playlist");
    let before = viewer.bytes_before_the_end_of(*sound, segments);
    assert!(before < BUFFERED_BYTES_MAX, "{before} bytes of pictures came before the sound");
}

#[tokio::test]
async fn equals_go_one_after_the_other_and_incremental_ones_share() {
    let cluster = Cluster::start(&NODES).await;
    let _backend = cluster.node("b1", site(), Limits::default()).await;
    let address = balancer(&cluster).await;
    for (priority, expected) in [("u=3", 0..=BUFFERED_BYTES_MAX), ("i", SEGMENT_BYTES / 2..=SEGMENT_BYTES)] {
        let mut viewer = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
        viewer.read(false);
        let mut answers = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..2 {
            let (stream, answer) = viewer.get("/segment", Some(priority)).await;
            streams.push(stream);
            answers.push(tokio::spawn(async { length(answer.await).await }));
            settle().await;
        }
        let lengths = within("whole responses", read_all(&viewer, answers)).await;
        assert_eq!(lengths, [SEGMENT_BYTES; 2]);
        let before = viewer.bytes_before_the_end_of(streams[0], &streams[1..]);
        assert!(expected.contains(&before), "{priority}: {before} bytes of the second came before the first ended");
    }
}

#[tokio::test]
async fn urgent_responses_that_are_not_read_hold_nobody_up() {
    let cluster = Cluster::start(&NODES).await;
    let _backend = cluster.node("b1", site(), Limits::default()).await;
    let mut viewer = Viewer::connect(balancer(&cluster).await, cluster.trust(), SMALL_WINDOW_BYTES).await;
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let (_, answer) = viewer.get("/urgent", None).await;
        stalled.push(within("the head of a response", answer).await);
    }
    for _ in 0..2 {
        let (_, answer) = viewer.get("/segment", None).await;
        let read = async { length(answer.await).await };
        assert_eq!(within("a response beside stalled ones", read).await, SEGMENT_BYTES);
    }
    // The client gives one of them up, and reads the others after all.
    stalled.pop();
    for answer in stalled {
        assert_eq!(within("a response that had stalled", length(answer)).await, SOUND_BYTES);
    }
}
