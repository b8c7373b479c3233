//! A cluster that sends as much as it can.

use axum::Router;
use media::BitsPerSecond;
use node::presence::PresenceParts;
use reqwest::StatusCode;

use crate::cluster::{Backend, Cluster, NODES, first_answer};

async fn node(cluster: &Cluster, name: &'static str, egress: u64) -> Backend {
    let parts = PresenceParts {
        egress: BitsPerSecond(egress),
        egress_capacity: BitsPerSecond(1_000_000_000),
        ..PresenceParts::default()
    };
    cluster.node_saying(name, Router::new().fallback(move || async move { name }), parts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_viewers_of_a_full_cluster_are_told_to_come_back_and_the_others_stay() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let _backends = [node(&cluster, "b1", 950_000_000).await, node(&cluster, "b2", 999_000_000).await];
    cluster.knows_both("lb").await;
    let viewer = cluster.viewer();
    // Only watching is refused: the home page is there.
    let home = first_answer(&viewer, &format!("{url}/")).await;
    let cookie = home.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for entry in ["/watch/demo", "/live/demo/index.m3u8"] {
        let refused = viewer.get(format!("{url}{entry}")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{entry}");
        assert_eq!(refused.headers()["retry-after"], "10");
        assert!(refused.headers().get("set-cookie").is_none(), "nobody becomes an old viewer by asking again");
        let known = viewer.get(format!("{url}{entry}")).header("cookie", &cookie).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::OK, "{entry}");
    }
    for path in ["/live/demo/v/index.m3u8", "/live/demo/v/1/2.m4s", "/api/v1/streams"] {
        assert_eq!(viewer.get(format!("{url}{path}")).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_with_room_is_enough() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/watch/demo", cluster.balancer().await);
    let _backends = [node(&cluster, "b1", 990_000_000).await, node(&cluster, "b2", 100_000_000).await];
    cluster.knows_both("lb").await;
    let viewer = cluster.viewer();
    for _ in 0..20 {
        assert_eq!(viewer.get(&url).send().await.unwrap().status(), StatusCode::OK);
    }
}
