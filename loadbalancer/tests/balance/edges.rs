//! Objects that an edge does not have, and an owner may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use media::StreamId;
use node::http::ELSEWHERE;
use node::presence::PresenceParts;

use crate::cluster::{Cluster, NODES, first_answer, within};

const OLD: &str = "/live/demo/v/1/2.m4s";

fn demo() -> Vec<StreamId> {
    vec![StreamId::new("demo").unwrap()]
}

/// An edge that has the window only.
fn edge() -> Router {
    let absent = || async { (StatusCode::NOT_FOUND, [(ELSEWHERE, "")], "beyond the window") };
    Router::new().route(OLD, axum::routing::get(absent)).fallback(|| async { "edge" })
}

fn says(streams: Vec<StreamId>, edges: Vec<StreamId>) -> PresenceParts {
    PresenceParts { streams, edges, ..PresenceParts::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edge_does_not_have_is_asked_of_an_owner_and_the_viewer_stays() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let has_it = Arc::new(AtomicBool::new(true));
    let answer = has_it.clone();
    let owner = Router::new().fallback(move || async move {
        match answer.load(Ordering::Relaxed) {
            true => "owner".into_response(),
            false => (StatusCode::NOT_FOUND, "gone").into_response(),
        }
    });
    let _edge = cluster.node_saying("b1", edge(), says(vec![], demo())).await;
    let owner = cluster.node_saying("b2", owner, says(demo(), vec![])).await;
    cluster.knows_both("lb").await;
    let viewer = cluster.viewer();
    let cookie = within("a viewer of the edge", async {
        loop {
            let answer = viewer.get(&url).send().await.unwrap();
            let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
            if answer.text().await.unwrap() == "edge" {
                return cookie;
            }
        }
    })
    .await;
    let ask = async || viewer.get(format!("{url}{OLD}")).header("cookie", &cookie).send().await.unwrap();
    let old = ask().await;
    assert!(old.headers().get("set-cookie").is_none());
    assert_eq!(old.text().await.unwrap(), "owner");
    has_it.store(false, Ordering::Relaxed);
    let gone = ask().await;
    assert_eq!((gone.status().as_u16(), gone.text().await.unwrap().as_str()), (404, "gone"));
    owner.kill();
    assert_eq!(ask().await.status().as_u16(), 404, "nobody who can be reached has it");
    assert_eq!(cluster.health("b1").await.as_deref(), Some("online"), "the edge did nothing wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_owner_the_answer_of_the_edge_stands() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let _edges = [
        cluster.node_saying("b1", edge(), says(vec![], demo())).await,
        cluster.node_saying("b2", edge(), says(vec![], demo())).await,
    ];
    let viewer = cluster.viewer();
    first_answer(&viewer, &url).await;
    let answer = viewer.get(format!("{url}{OLD}")).send().await.unwrap();
    assert!(answer.headers().get(ELSEWHERE.as_str()).is_none(), "that is between us and the node");
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (404, "beyond the window"));
}
