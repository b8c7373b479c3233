//! How long a connection is kept, in virtual time: the clock stands still, and moves when the test moves it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use testkit::viewer::{Viewer, length};
use tokio::sync::Notify;

use super::{Limits, Plane, Server};

/// Less than any timeout of a listener, so that pings are answered in between.
const STEP: Duration = Duration::from_secs(5);
/// Longest time that a node blocks a request: 3 target durations of 30 s.
const BLOCKED_MAX: Duration = Duration::from_secs(90);
const SEGMENT_BYTES: usize = 4 << 20;
const WINDOW_BYTES: u32 = 64 << 20;

/// Holds the clock: while this exists, time does not advance by itself.
struct Clock {
    _stopped: std::sync::mpsc::Sender<()>,
}

impl Clock {
    fn stop() -> Self {
        tokio::time::pause();
        let (go_on, stopped) = std::sync::mpsc::channel();
        // Tokio advances paused time whenever all tasks wait, except while a blocking task runs.
        tokio::task::spawn_blocking(move || stopped.recv());
        Self { _stopped: go_on }
    }

    async fn advance(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            tokio::time::advance(step).await;
            settle().await;
            left -= step;
        }
    }
}

async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

/// Waits without a timer.
async fn came<T>(what: &str, answer: tokio::task::JoinHandle<T>) -> T {
    for _ in 0..100 {
        if answer.is_finished() {
            return answer.await.unwrap();
        }
        settle().await;
    }
    panic!("did not happen: {what}");
}

async fn scene(router: Router) -> (Server, Viewer, Clock) {
    let server = Server::serve(Plane::Public, Limits::default(), router).await;
    let viewer = Viewer::connect(server.address, server.stranger(&["h2"]), WINDOW_BYTES).await;
    (server, viewer, Clock::stop())
}

#[tokio::test]
async fn viewer_who_keeps_reloading_keeps_its_connection() {
    let (_server, mut viewer, clock) = scene(Router::new().route("/playlist", get(|| async { "playlist" }))).await;
    // Ten minutes on one connection: this viewer has no other, so a request would fail if it were closed.
    for _ in 0..15 {
        let (_, answer) = viewer.get("/playlist", None).await;
        assert_eq!(came("an answer", tokio::spawn(async { length(answer.await).await })).await, "playlist".len());
        clock.advance(Duration::from_secs(40)).await;
    }
    clock.advance(Duration::from_secs(180)).await;
    assert!(viewer.is_closed(), "one that asks for nothing any more gives its place back");
}

#[tokio::test]
async fn blocked_request_is_answered_however_long_it_may_block() {
    let release = Arc::new(Notify::new());
    let blocked = {
        let release = release.clone();
        move || async move {
            release.notified().await;
            "part"
        }
    };
    let (server, mut viewer, clock) = scene(Router::new().route("/blocked", get(blocked))).await;
    for _ in 0..2 {
        let (_, answer) = viewer.get("/blocked", None).await;
        let answer = tokio::spawn(async { length(answer.await).await });
        settle().await;
        clock.advance(BLOCKED_MAX).await;
        assert!(!answer.is_finished());
        release.notify_one();
        assert_eq!(came("an answer", answer).await, "part".len());
        // The connection was asked to end for lack of new requests, and has ended by now; a player makes another.
        viewer = Viewer::connect(server.address, server.stranger(&["h2"]), WINDOW_BYTES).await;
    }
}

#[tokio::test]
async fn viewer_who_asks_on_and_on_and_reads_nothing_is_cut() {
    let segment = || async { Bytes::from(vec![0x5a; SEGMENT_BYTES]) };
    let server = Server::serve(Plane::Public, Limits::default(), Router::new().route("/segment", get(segment))).await;
    // It reads its connection and answers pings, but its windows of HTTP/2 never open.
    let mut viewer = Viewer::connect(server.address, server.stranger(&["h2"]), 0).await;
    let clock = Clock::stop();
    let mut held = Vec::new();
    for asked in 0.. {
        assert!(asked < 6, "a connection that pins its segments for minutes");
        held.push(tokio::spawn(viewer.get("/segment", None).await.1));
        clock.advance(Duration::from_secs(55)).await;
        if viewer.is_closed() {
            break;
        }
    }
}

#[tokio::test]
async fn slow_download_goes_on_and_one_that_stands_still_is_cut() {
    let segment = || async { Bytes::from(vec![0x5a; SEGMENT_BYTES]) };
    let (server, mut viewer, clock) = scene(Router::new().route("/segment", get(segment))).await;
    viewer.read(false);
    let (_, answer) = viewer.get("/segment", None).await;
    let answer = tokio::spawn(async { length(answer.await).await });
    // 100 kbit/s: more than five minutes for the segment.
    for _ in 0..SEGMENT_BYTES / (128 * 1024) + 2 {
        viewer.read_bytes(128 * 1024);
        settle().await;
        clock.advance(Duration::from_secs(10)).await;
    }
    assert_eq!(came("the whole segment", answer).await, SEGMENT_BYTES);

    let mut viewer = Viewer::connect(server.address, server.stranger(&["h2"]), WINDOW_BYTES).await;
    let (_, answer) = viewer.get("/segment", None).await;
    let head = came("a head", tokio::spawn(answer)).await;
    viewer.read(false);
    // The viewer does not answer pings either.
    clock.advance(Duration::from_secs(60)).await;
    viewer.read(true);
    settle().await;
    assert!(viewer.is_closed());
    drop(head);
}
