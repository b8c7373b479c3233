//! Viewers who do not read, and the memory of the node.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::net::SocketAddr;

use http::StatusCode;
use media::Slot;
use messages::Role;
use node::tls::Server;
use support::{Ingest, Node, Zone, eventually, listed};
use testkit::studio::{Row, Studio};
use testkit::viewer::{Viewer, length};

/// The least that a node can be given.
const MEDIA_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PART_BYTES: usize = 512 * 1024;
/// Segments of 4 MiB: two and a half times what may be in memory.
const SEGMENTS: usize = 40;
/// A window of HTTP/2 in which a playlist fits, and of a segment next to nothing.
const WINDOW_BYTES: u32 = 16 * 1024;

struct Scene {
    zone: Zone,
    node: Node,
    ingest: Ingest,
    studio: Studio,
}

impl Scene {
    async fn start() -> Self {
        let zone = Zone::start().await;
        let configure = |config: &mut broadcast::Config| {
            (config.media_bytes_max, config.window_segments) = (MEDIA_BYTES_MAX, 6);
        };
        let node = zone.node_with("b1", configure).await;
        let mut studio = Studio::new("demo", zone.now());
        (studio.renditions, studio.part_bytes) = (vec!["1080p".into()], PART_BYTES);
        let ingest = zone.ingest("i1", &studio).await;
        Self { zone, node, ingest, studio }
    }

    fn address(&self) -> SocketAddr {
        self.node.https.trim_start_matches("https://").parse().unwrap()
    }

    /// Pushes a segment, waits until viewers get it, and returns its path.
    async fn play(&mut self) -> String {
        let rows = self.studio.segment(self.zone.now());
        for row in &rows {
            self.ingest.push(&[&self.node], row).await;
        }
        listed(&[&self.node], &self.studio, &rows).await;
        segment(&rows)
    }

    /// Waits until media take no more memory than they may; playlists, and what is being assembled, are small.
    async fn is_within(&self) {
        let most = MEDIA_BYTES_MAX + u64::try_from(PART_BYTES).unwrap();
        let taken = async || self.node.status().await["media_bytes"].as_u64().unwrap();
        eventually("media take no more than they may", async || taken().await <= most).await;
    }
}

fn segment(rows: &[Row]) -> String {
    let last = rows.last().unwrap().sealed.body();
    let whole = last.objects.iter().find(|object| matches!(object.slot, Slot::Segment { .. })).unwrap();
    format!("/live/{}/{}/{}/{}", last.stream, whole.rendition, last.epoch, whole.slot)
}

/// A viewer whose windows stay shut asks for each segment, on many streams of one connection.
#[tokio::test(flavor = "multi_thread")]
async fn media_that_a_viewer_does_not_read_are_given_up_before_others_miss_any() {
    let mut scene = Scene::start().await;
    let tls = || scene.zone.control.identity.client(Server::Any(Role::Broadcast));
    let mut slow = Viewer::connect(scene.address(), tls(), WINDOW_BYTES).await;
    let (mut cut, mut asked) = (0, Vec::new());
    for _ in 0..SEGMENTS {
        let path = scene.play().await;
        scene.is_within().await;
        if slow.is_closed() {
            cut += 1;
            slow = Viewer::connect(
                scene.address(),
                scene.zone.control.identity.client(Server::Any(Role::Broadcast)),
                WINDOW_BYTES,
            )
            .await;
        }
        for _ in 0..3 {
            let (_, answer) = slow.get(&path, None).await;
            // Kept, so that the stream stays open; nobody reads it.
            asked.push(tokio::spawn(answer));
        }
    }
    assert!(cut > 0, "its connection was ended");
    assert!(scene.zone.metrics().await.contains("viewers_responses_cut_total"));
}

/// The same behind a balancer: the connection is that of many viewers.
#[tokio::test(flavor = "multi_thread")]
async fn slow_viewer_behind_a_balancer_loses_its_response_and_the_others_nothing() {
    let mut scene = Scene::start().await;
    let tls = scene.zone.balancer_identity().client(Server::Any(Role::Broadcast));
    let mut balancer = Viewer::connect_to("b1", scene.address(), tls, WINDOW_BYTES).await;
    let (mut answers, mut playlists) = (Vec::new(), Vec::new());
    for _ in 0..SEGMENTS {
        let path = scene.play().await;
        scene.is_within().await;
        let (_, answer) = balancer.get(&path, None).await;
        answers.push(tokio::spawn(answer));
        let (_, playlist) = balancer.get("/live/demo/1080p/index.m3u8", None).await;
        playlists.push(playlist.await);
    }
    assert!(!balancer.is_closed());
    for playlist in playlists {
        assert_eq!(playlist.status(), StatusCode::OK);
        assert!(length(playlist).await > 0);
    }
    let mut ended = 0;
    for answer in answers {
        let body = answer.await.unwrap().into_body();
        // What was cut ends with an error; the rest still waits for a reader, and is read now.
        ended += usize::from(axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await.is_err());
    }
    assert!((1..SEGMENTS).contains(&ended), "{ended} of {SEGMENTS} were cut");
}
