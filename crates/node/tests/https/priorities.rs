//! The order of the responses on one HTTP/2 connection (RFC 9218), with a viewer that reads slowly or not at all.
//!
//! All of it runs on one thread: when a handler has reported that it answers, and the test goes on, the response has begun.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::get;
use testkit::viewer::{Viewer, length};
use tokio::sync::mpsc;

use super::{Limits, Plane, Server, within};

const SEGMENT_BYTES: usize = 8 << 20;
const SOUND_BYTES: usize = 1 << 20;
const PLAYLIST_BYTES: usize = 10_000;
/// Bytes that nothing can overtake any more: the buffers of both operating systems and of TLS, and what is ahead in HTTP/2.
const BUFFERED_BYTES_MAX: usize = 512 * 1024;
/// Window for a response that is not read.
const WINDOW_BYTES: u32 = 64 << 20;
const SMALL_WINDOW_BYTES: u32 = 64 * 1024;

/// Serves what viewers ask for, with the priorities of a broadcast node, and reports which request it answers.
fn site(answering: mpsc::UnboundedSender<&'static str>) -> Router {
    let said = move |what: &'static str, priority: &'static str, bytes: usize| {
        let answering = answering.clone();
        move || async move {
            answering.send(what).unwrap();
            ([("priority", priority)], Bytes::from(vec![0x5a; bytes]))
        }
    };
    Router::new()
        .route("/playlist", get(said("playlist", "u=1", PLAYLIST_BYTES)))
        .route("/sound", get(said("sound", "u=2", SOUND_BYTES)))
        .route("/segment", get(said("segment", "u=3", SEGMENT_BYTES)))
        .route(
            "/urgent/{bytes}",
            get(|Path(bytes): Path<usize>| async move { ([("priority", "u=0")], vec![0; bytes]) }),
        )
        .route(
            "/silent",
            get(|| async {
                (
                    [("priority", "u=0")],
                    Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()),
                )
            }),
        )
        .route("/blocked", get(std::future::pending::<()>))
}

struct Scene {
    server: Server,
    viewer: Viewer,
    answering: mpsc::UnboundedReceiver<&'static str>,
}

impl Scene {
    async fn start(window_bytes: u32) -> Self {
        let (said, answering) = mpsc::unbounded_channel();
        let server = Server::serve(Plane::Public, Limits::default(), site(said)).await;
        let viewer = Viewer::connect(server.address, server.stranger(&["h2"]), window_bytes).await;
        Self { server, viewer, answering }
    }

    async fn answers(&mut self, what: &str) {
        assert_eq!(within("an answer", self.answering.recv()).await, Some(what));
    }
}

#[tokio::test]
async fn playlist_and_sound_overtake_segments_on_a_slow_connection() {
    let mut scene = Scene::start(WINDOW_BYTES).await;
    scene.viewer.read(false);
    let mut answers = Vec::new();
    let mut segments = Vec::new();
    for _ in 0..3 {
        let (stream, answer) = scene.viewer.get("/segment", None).await;
        segments.push(stream);
        answers.push(tokio::spawn(async { length(answer.await).await }));
        scene.answers("segment").await;
    }
    let (sound, answer) = scene.viewer.get("/sound", None).await;
    answers.push(tokio::spawn(async { length(answer.await).await }));
    scene.answers("sound").await;
    let (playlist, answer) = scene.viewer.get("/playlist", None).await;
    answers.push(tokio::spawn(async { length(answer.await).await }));
    scene.answers("playlist").await;
    scene.viewer.read(true);
    let mut lengths = Vec::new();
    for answer in answers {
        lengths.push(within("a whole response", answer).await.unwrap());
    }
    assert_eq!(lengths, [SEGMENT_BYTES, SEGMENT_BYTES, SEGMENT_BYTES, SOUND_BYTES, PLAYLIST_BYTES]);
    let before = scene.viewer.bytes_before_the_end_of(playlist, &[segments.clone(), vec![sound]].concat());
    assert!(before < BUFFERED_BYTES_MAX, "{before} bytes of media came before the playlist");
    let before = scene.viewer.bytes_before_the_end_of(sound, &segments);
    assert!(before < BUFFERED_BYTES_MAX, "{before} bytes of pictures came before the sound");
    scene.server.stop().await;
}

#[tokio::test]
async fn equals_go_one_after_the_other_and_incremental_ones_share() {
    for (priority, expected) in [("u=3", 0..=BUFFERED_BYTES_MAX), ("i", SEGMENT_BYTES / 2..=SEGMENT_BYTES)] {
        let mut scene = Scene::start(WINDOW_BYTES).await;
        scene.viewer.read(false);
        let mut answers = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..2 {
            let (stream, answer) = scene.viewer.get("/segment", Some(priority)).await;
            streams.push(stream);
            answers.push(tokio::spawn(async { length(answer.await).await }));
            scene.answers("segment").await;
        }
        scene.viewer.read(true);
        for answer in answers {
            assert_eq!(within("a whole response", answer).await.unwrap(), SEGMENT_BYTES);
        }
        let before = scene.viewer.bytes_before_the_end_of(streams[0], &streams[1..]);
        assert!(expected.contains(&before), "{priority}: {before} bytes of the second came before the first ended");
        scene.server.stop().await;
    }
}

#[tokio::test]
async fn urgent_responses_that_cannot_go_on_hold_nobody_up() {
    let mut scene = Scene::start(SMALL_WINDOW_BYTES).await;
    // The client does not read five of these, one has no body yet, and one gets no answer.
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let (_, answer) = scene.viewer.get(&format!("/urgent/{SOUND_BYTES}"), None).await;
        stalled.push(within("the head of a response", answer).await);
    }
    let (_, silent) = scene.viewer.get("/silent", None).await;
    let _silent = within("the head of a response", silent).await;
    let (_, _blocked) = scene.viewer.get("/blocked", None).await;
    for _ in 0..2 {
        let (_, answer) = scene.viewer.get("/segment", None).await;
        let read = async { length(answer.await).await };
        assert_eq!(within("a response beside stalled ones", read).await, SEGMENT_BYTES);
    }
    // The client gives one of them up, and reads the others after all.
    stalled.pop();
    for answer in stalled {
        assert_eq!(within("a response that had stalled", length(answer)).await, SOUND_BYTES);
    }
    scene.server.stop().await;
}

#[tokio::test]
async fn responses_of_a_viewer_that_vanished_are_given_up() {
    let bodies = Arc::new(());
    let alive = Arc::downgrade(&bodies);
    let body = move || async move {
        // Only a body holds a lasting reference.
        let held = alive.upgrade().unwrap();
        let pieces = std::iter::repeat_with(move || {
            let _held = &held;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 100_000]))
        });
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    let server = Server::serve(Plane::Public, Limits::default(), Router::new().route("/endless", get(body))).await;
    let mut viewer = Viewer::connect(server.address, server.stranger(&["h2"]), WINDOW_BYTES).await;
    for expected in 2..=4 {
        let (_, answer) = viewer.get("/endless", Some("i")).await;
        // It is not read: it goes on until its window is full or the viewer stops reading.
        std::mem::forget(within("the head of a response", answer).await);
        assert_eq!(Arc::strong_count(&bodies), expected);
    }
    viewer.read(false);
    viewer.vanish();
    within("the end of the bodies", async {
        while Arc::strong_count(&bodies) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}
