//! Another authority takes over while the balancer runs.

use node::tls::Authority;

use crate::cluster::{Cluster, NODES, first_answer, within};

#[tokio::test(flavor = "multi_thread")]
async fn node_certified_by_the_next_authority_serves_viewers_without_a_restart() {
    let mut cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/index.m3u8", cluster.balancer().await);
    let viewer = cluster.viewer();
    let old = cluster.backend("b1").await;
    assert_eq!(first_answer(&viewer, &url).await.text().await.unwrap(), "b1");

    let directory = cluster.authority.ca_path().parent().unwrap().to_owned();
    cluster.authority.trust_next().unwrap();
    let authority = Authority::existing(&directory, &node::clock::Clock::new()).unwrap();
    cluster.authority = authority.issue_by_next().unwrap();
    let _new = cluster.backend("b2").await;
    old.kill();
    within("the new node to serve", async {
        loop {
            let answer = viewer.get(&url).send().await.unwrap();
            if answer.status().is_success() && answer.text().await.unwrap() == "b2" {
                return;
            }
        }
    })
    .await;
}
