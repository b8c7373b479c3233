//! Two balancers with one sticky key.

use std::collections::BTreeSet;

use axum::Router;
use node::http::Limits;

use crate::cluster::{Backend, Cluster, NODES, within};

async fn nodes(cluster: &Cluster) -> [Backend; 2] {
    // Only its address keeps a viewer of the playlists on its node: shared caches may keep these.
    let said = |name: &'static str| {
        let playlist = move || async move { ([("cache-control", "public, max-age=2")], name) };
        Router::new()
            .route("/live/{stream}/v/index.m3u8", axum::routing::get(playlist))
            .fallback(move || async move { name })
    };
    [cluster.node("b1", said("b1"), Limits::default()).await, cluster.node("b2", said("b2"), Limits::default()).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_stays_on_its_node_behind_either_balancer_and_when_one_dies() {
    let cluster = Cluster::start(&NODES).await;
    let ((first, kill), (second, _)) = (cluster.balancer_called("lb").await, cluster.balancer_called("lb2").await);
    let _nodes = nodes(&cluster).await;
    cluster.knows_both("lb").await;
    cluster.knows_both("lb2").await;
    let viewer = cluster.viewer();
    let page = |at| format!("https://{at}/watch/demo");
    // Viewers of both nodes: with one node only, a viewer that is not kept could pass the test.
    let mut placed = BTreeSet::new();
    within("viewers of both nodes", async {
        while placed.len() < 2 {
            let answer = viewer.get(page(first)).send().await.unwrap();
            let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
            let node = answer.text().await.unwrap();
            if !placed.iter().any(|(_, placed)| *placed == node) {
                placed.insert((cookie, node));
            }
        }
    })
    .await;
    let stays = async |at| {
        for (cookie, node) in &placed {
            for _ in 0..10 {
                let answer = viewer.get(page(at)).header("cookie", cookie).send().await.unwrap();
                assert!(answer.headers().get("set-cookie").is_none(), "the token is honoured");
                assert_eq!(answer.text().await.unwrap(), *node);
            }
        }
    };
    stays(first).await;
    stays(second).await;
    kill.abort();
    within("the first balancer to be gone", async { while viewer.get(page(first)).send().await.is_ok() {} }).await;
    stays(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_without_cookies_are_placed_alike_by_both_balancers() {
    let cluster = Cluster::start(&NODES).await;
    let ((first, _), (second, _)) = (cluster.balancer_called("lb").await, cluster.balancer_called("lb2").await);
    let _nodes = nodes(&cluster).await;
    cluster.knows_both("lb").await;
    cluster.knows_both("lb2").await;
    // Each address of the loopback network is a viewer of its own.
    let mut seen = BTreeSet::new();
    for host in 1..=16 {
        let viewer = cluster.viewer_at(format!("127.0.0.{host}").parse().unwrap());
        let ask = async |at| {
            let answer = viewer.get(format!("https://{at}/live/demo/v/index.m3u8")).send().await.unwrap();
            assert!(answer.headers().get("set-cookie").is_none());
            answer.text().await.unwrap()
        };
        let node = ask(first).await;
        assert_eq!(ask(second).await, node, "127.0.0.{host}");
        seen.insert(node);
    }
    assert_eq!(seen.len(), 2, "or alike would say nothing");
}
