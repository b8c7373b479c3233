//! Over which protocol requests go to nodes, and connections that nodes end while they are idle.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::http::Version;
use axum::routing::get;
use axum::{Extension, Router};
use bus::broker::Access;
use node::http::{Limits, Peer};
use reqwest::StatusCode;
use testkit::viewer::{Viewer, length};
use tokio::sync::watch;

use crate::cluster::{Cluster, NODES, first_answer, within};

const SEGMENT: &str = "/live/demo/v/1/0.m4s";
/// Requests that go to one node over HTTP/1.1 at once.
const HTTP1_REQUESTS_MAX: usize = 128;
const WINDOW_BYTES: u32 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_answers_at_once_is_asked_over_http1_and_what_it_holds_back_over_http2() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let router = Router::new().fallback(|version: Version| async move { format!("{version:?}") });
    let _backend = cluster.node("b1", router, Limits::default()).await;
    let viewer = cluster.viewer();
    for (path, protocol) in [
        (SEGMENT, "HTTP/1.1"),
        ("/live/demo/v/index.m3u8", "HTTP/1.1"),
        ("/live/demo/v/index.m3u8?_HLS_msn=7&_HLS_part=1", "HTTP/2.0"),
        ("/watch/demo", "HTTP/2.0"),
    ] {
        let answer = first_answer(&viewer, &format!("https://{address}{path}")).await;
        assert_eq!(answer.text().await.unwrap(), protocol, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_the_node_ends_before_it_is_asked_again_is_no_fault() {
    // Counters belong to the process, so no other test has a node of this name.
    let cluster = Cluster::start(&[("lb", Access::LoadBalancer), ("ends", Access::Broadcast)]).await;
    let url = format!("https://{}{SEGMENT}", cluster.balancer().await);
    let asked = Arc::new(Mutex::new(BTreeSet::<SocketAddr>::new()));
    let ended = watch::Sender::new(0);
    let counts = ended.clone();
    let once = |Extension(peer): Extension<Peer>, version: Version| async move {
        let is_first = asked.lock().unwrap().insert(*peer.address.expose());
        if version == Version::HTTP_11 && !is_first {
            counts.send_modify(|ended| *ended += 1);
            // Ends the task that serves the connection, without an answer to the peer.
            std::panic::resume_unwind(Box::new("the node ends the connection"));
        }
        "an answer"
    };
    let router = Router::new().route(SEGMENT, get(once));
    let _backend = cluster.node("ends", router, Limits::default()).await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &url).await;
    let answers = async {
        while *ended.borrow() < 5 {
            let answer = viewer.get(&url).send().await.unwrap();
            assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "an answer"));
            assert_eq!(cluster.health("ends").await.as_deref(), Some("online"));
        }
    };
    within("the node to end connections that are asked again", answers).await;
    assert_eq!(cluster.counted("loadbalancer_upstream_failures_total{node=\"ends\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_over_http1_goes_over_http2() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let (waiting, released) = (watch::Sender::new((0, 0)), watch::Sender::new(false));
    let (waits, released_here) = (waiting.clone(), released.clone());
    let hold = |version: Version| async move {
        waits.send_modify(|(http1, http2)| *(if version == Version::HTTP_11 { http1 } else { http2 }) += 1);
        released_here.subscribe().wait_for(|released| *released).await.unwrap();
        "b1"
    };
    let router = Router::new().route(SEGMENT, get(hold)).fallback(|| async { "b1" });
    let _backend = cluster.node("b1", router, Limits::default()).await;
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    let more = 20;
    let mut viewers = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut viewer = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
        for _ in 0..(HTTP1_REQUESTS_MAX + more) / 2 {
            answers.push(tokio::spawn(viewer.get(SEGMENT, None).await.1));
        }
        viewers.push(viewer);
    }
    let mut seen = waiting.subscribe();
    within("all to wait on the node", seen.wait_for(|seen| *seen == (HTTP1_REQUESTS_MAX, more))).await.unwrap();
    released.send_replace(true);
    for answer in answers {
        let answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(length(answer).await, "b1".len());
    }
}
