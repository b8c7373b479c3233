//! Servers with a certificate of the cluster that are not the broadcast node that the balancer means.

use bus::broker::Access;
use messages::Role;
use reqwest::StatusCode;

use crate::cluster::{Cluster, first_answer, within};

const WITH_AN_INGEST: [(&str, Access); 5] = [
    ("lb", Access::LoadBalancer),
    ("b1", Access::Broadcast),
    ("b2", Access::Broadcast),
    ("b3", Access::Broadcast),
    ("i1", Access::Ingest),
];

/// A viewer asks while only the impostor is there, and again when a node is.
async fn viewer_sees_nothing_of(name: &str, owner: (&str, Role)) {
    let cluster = Cluster::start(&WITH_AN_INGEST).await;
    let url = format!("https://{}/live/demo/index.m3u8", cluster.balancer().await);
    let _impostor = cluster.impostor(name, owner, "forged").await;
    let viewer = cluster.viewer();
    let refused = format!("loadbalancer_wrong_servers_total{{node=\"{name}\"}}");
    let before = cluster.counted(&refused).await;
    within("the impostor to be met", async {
        while cluster.counted(&refused).await == before {
            let answer = viewer.get(&url).send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert!(status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::BAD_GATEWAY, "{status}: {text}");
        }
    })
    .await;
    let _node = cluster.backend("b2").await;
    for _ in 0..20 {
        assert_eq!(first_answer(&viewer, &url).await.text().await.unwrap(), "b2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_another_broadcast_node_is_shown_to_nobody() {
    viewer_sees_nothing_of("b1", ("b3", Role::Broadcast)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_no_broadcast_node_is_shown_to_nobody() {
    viewer_sees_nothing_of("b1", ("i1", Role::Ingest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_that_says_it_is_a_broadcast_node_is_shown_to_nobody() {
    viewer_sees_nothing_of("i1", ("i1", Role::Ingest)).await;
}
