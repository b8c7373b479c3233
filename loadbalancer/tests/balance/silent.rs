//! Nodes that take requests and answer none: frozen, stuck, or behind a cable that was cut.

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use node::http::Limits;
use reqwest::StatusCode;
use tokio::sync::watch;

use crate::cluster::{Cluster, NODES, first_answer, within};

/// A node that can be made to answer nothing. Its connections stay open, and it still answers HTTP/2's pings.
struct Stuck {
    name: &'static str,
    is_stuck: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Stuck {
    fn new(name: &'static str) -> Self {
        Self { name, is_stuck: watch::Sender::new(false), waiting: watch::Sender::new(0) }
    }

    /// It always holds back the playlists of `b1`.
    fn router(&self) -> Router {
        let (name, is_stuck, held) = (self.name, self.is_stuck.clone(), self.waiting.clone());
        let blocked = move || async move {
            held.send_modify(|waiting| *waiting += 1);
            std::future::pending::<&str>().await
        };
        let stuck = axum::middleware::from_fn(move |request: Request, next: Next| {
            let mut stuck = is_stuck.subscribe();
            async move {
                // The sender lives as long as the test.
                let _ = stuck.wait_for(|stuck| !*stuck).await;
                next.run(request).await
            }
        });
        let router = Router::new().fallback(move || async move { name });
        if name == "b1" { router.route("/live/demo/v/index.m3u8", axum::routing::get(blocked)) } else { router }
            .layer(stuck)
    }

    async fn has_one_waiting(&self) {
        let mut waiting = self.waiting.subscribe();
        within("a request that waits", waiting.wait_for(|waiting| *waiting > 0)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_blocked_on_a_node_that_is_stuck_goes_to_another() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/v/index.m3u8", cluster.balancer().await);
    let nodes = [Stuck::new("b1"), Stuck::new("b2")];
    let _first = cluster.node("b1", nodes[0].router(), Limits::default()).await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &url.replace("/live/demo/v/index.m3u8", "/")).await;
    let answer = tokio::spawn(viewer.get(&url).send());
    nodes[0].has_one_waiting().await;
    let _second = cluster.node("b2", nodes[1].router(), Limits::default()).await;
    cluster.knows_both("lb").await;
    // Only the probes can notice it: the node answers pings, and a request may wait for minutes.
    nodes[0].is_stuck.send_replace(true);
    let answer = within("an answer", answer).await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "b2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_is_stuck_is_passed_over_until_it_answers() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let node = Stuck::new("b2");
    let (_backend, _other) = (cluster.node("b2", node.router(), Limits::default()).await, cluster.backend("b1").await);
    cluster.knows_both("lb").await;
    node.is_stuck.send_replace(true);
    cluster.becomes("b2", "suspect").await;
    let viewer = cluster.viewer();
    for _ in 0..20 {
        let answer = viewer.get(format!("https://{address}/")).send().await.unwrap();
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "b1"));
    }
    node.is_stuck.send_replace(false);
    cluster.becomes("b2", "online").await;
}
