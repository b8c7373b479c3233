//! One host that takes all it can, and viewers elsewhere.

use std::net::{IpAddr, Ipv4Addr};

use axum::routing::get;
use axum::{Extension, Router};
use loadbalancer::Config;
use node::http::{Limits, Peer};
use reqwest::StatusCode;
use testkit::viewer::Viewer;

use crate::blocked::{Hold, WINDOW_BYTES};
use crate::cluster::{Cluster, NODES, first_answer, within};

/// Where the greedy host is not.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Together with a number; requests for the same number would share an answer.
const WAITS: &str = "/live/demo/v/index.m3u8?_HLS_msn=";

#[tokio::test(flavor = "multi_thread")]
async fn host_that_holds_all_connections_gives_way_to_viewers_elsewhere() {
    let cluster = Cluster::start(&NODES).await;
    let limits = Config { connections_max: 12, connections_share: 4, ..Config::default() };
    let (address, _balancer) = cluster.balancer_with("lb", limits).await;
    let _backend = cluster.backend("b1").await;
    let url = format!("https://{address}/");
    let first = cluster.viewer();
    first_answer(&first, &url).await;
    // The viewer above has one; each of these is a whole HTTP/2 connection that asks for nothing.
    let mut held = Vec::new();
    for _ in 0..11 {
        held.push(Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await);
    }
    let mut viewers = Vec::new();
    for number in 0..6 {
        viewers.push(cluster.viewer_at(ELSEWHERE));
        let answer = within(&format!("viewer {number}"), first_answer(viewers.last().unwrap(), &url)).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let displaced = async {
        while cluster.counted("loadbalancer_connections_displaced_total").await < 6 {
            tokio::task::yield_now().await;
        }
    };
    within("six connections to be displaced", displaced).await;
    drop((first, held));
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_asks_for_more_than_its_share_is_told_to_wait_and_others_are_not() {
    let cluster = Cluster::start(&NODES).await;
    let limits = Config { requests_per_address_max: 10, ..Config::default() };
    let (address, _balancer) = cluster.balancer_with("lb", limits).await;
    let hold = Hold::new("b1");
    let _backend = cluster.node("b1", hold.router(), Limits::default()).await;
    let (greedy, viewer) = (cluster.viewer(), cluster.viewer_at(ELSEWHERE));
    // Of the greedy host, this one could still count when it begins.
    first_answer(&viewer, &format!("https://{address}/")).await;
    let url = |number: u64| format!("https://{address}{WAITS}{number}");
    let waiting: Vec<_> = (0..10).map(|number| tokio::spawn(greedy.get(url(number)).send())).collect();
    hold.waiting(10).await;
    let refused = within("a refusal", greedy.get(url(10)).send()).await.unwrap();
    assert_eq!(
        (refused.status(), refused.headers()["retry-after"].as_bytes()),
        (StatusCode::TOO_MANY_REQUESTS, &b"1"[..])
    );
    let other = tokio::spawn(viewer.get(url(11)).send());
    hold.waiting(11).await;
    hold.released.send_replace(true);
    for answer in waiting.into_iter().chain([other]) {
        assert_eq!(within("an answer", answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    let again = within("an answer", greedy.get(url(12)).send()).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK, "its share is free again");
}

/// Both for what it asks for over HTTP/1.1 and for what over HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn node_knows_the_balancer_by_its_certificate_and_takes_it_for_no_viewer() {
    let cluster = Cluster::start(&NODES).await;
    let (address, _balancer) = cluster.balancer_with("lb", Config::default()).await;
    let who = async |Extension(peer): Extension<Peer>| {
        format!("{:?} {:?}", peer.node.as_ref().map(|(node, _)| node.to_string()), peer.counted_as())
    };
    let router = Router::new().route("/", get(async || "page")).route("/live/demo/v/index.m3u8", get(who));
    let _backend = cluster.node("b1", router, Limits::default()).await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &format!("https://{address}/")).await;
    for path in ["/live/demo/v/index.m3u8", WAITS] {
        let answer = within("an answer", viewer.get(format!("https://{address}{path}")).send()).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "Some(\"lb\") None", "{path}");
    }
}
