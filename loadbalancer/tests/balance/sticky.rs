//! Which node a viewer is sent to, and what the balancer does to requests.

use std::collections::BTreeSet;

use axum::Router;
use media::NodeId;
use messages::Role;
use node::http::Limits;
use reqwest::StatusCode;

use crate::cluster::{Cluster, NODES, PATIENCE, first_answer, within};

fn cookie(answer: &reqwest::Response) -> Option<String> {
    let value = answer.headers().get("set-cookie")?.to_str().unwrap();
    Some(value.split(';').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_is_503_with_retry_after() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/index.m3u8", cluster.balancer().await);
    let answer = cluster.viewer().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "2");
    assert!(answer.text().await.unwrap().contains("broadcast node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_stays_on_its_node_and_moves_without_an_error_when_it_dies() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/index.m3u8", cluster.balancer().await);
    let mut backends = vec![cluster.backend("b1").await, cluster.backend("b2").await];
    let viewer = cluster.viewer();

    let answer = first_answer(&viewer, &url).await;
    let cookie_before = cookie(&answer).expect("a new viewer is given a cookie");
    let node = answer.text().await.unwrap();
    let ask = async || viewer.get(&url).header("cookie", &cookie_before).send().await.unwrap();
    for _ in 0..20 {
        let answer = ask().await;
        assert_eq!(cookie(&answer), None, "a viewer that stays is not given another cookie");
        assert_eq!(answer.text().await.unwrap(), node);
    }

    let index = backends.iter().position(|backend| backend.id.as_str() == node).unwrap();
    let dying = backends.swap_remove(index);
    dying.kill();
    let other = backends[0].id.to_string();
    // Its presence still says that it is there: only the failed requests tell the balancer. On a busy machine a connection of the
    // dying node may answer once more before it is closed.
    let moved = async {
        loop {
            let answer = ask().await;
            assert_eq!(answer.status(), StatusCode::OK, "the viewer sees no error");
            if answer.text().await.unwrap() == other {
                return;
            }
        }
    };
    within("the viewer is moved", moved).await;
    for _ in 0..20 {
        let answer = ask().await;
        assert_eq!(answer.status(), StatusCode::OK, "the viewer sees no error");
        assert!(cookie(&answer).is_some(), "the viewer is told its new node");
        assert_eq!(answer.text().await.unwrap(), other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_does_not_hold_the_stream_yet_is_not_asked_for_it() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let _backends = [cluster.backend("b1").await, cluster.backend_holding("b2", "demo").await];
    let viewer = cluster.viewer();
    let cookie_of_b1 = within("a viewer of b1", async {
        loop {
            let answer = first_answer(&viewer, &url).await;
            let cookie = cookie(&answer);
            if answer.text().await.unwrap() == "b1" {
                return cookie.unwrap();
            }
        }
    })
    .await;
    within("b2 to be known", async { while cluster.health("b2").await.is_none() {} }).await;
    let ask = async |path: &str, cookie: &str| {
        let answer = viewer.get(format!("{url}{path}")).header("cookie", cookie).send().await.unwrap();
        answer.text().await.unwrap()
    };
    for _ in 0..20 {
        assert_eq!(ask("/live/demo/index.m3u8", "").await, "b2");
        assert_eq!(ask("/live/demo/index.m3u8", &cookie_of_b1).await, "b2");
        assert_eq!(ask("/live/other/index.m3u8", &cookie_of_b1).await, "b1", "nobody holds it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_spread_over_the_nodes() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/", cluster.balancer().await);
    let _backends = [cluster.backend("b1").await, cluster.backend("b2").await];
    let viewer = cluster.viewer();
    let spread = async {
        let mut seen = BTreeSet::new();
        while seen.len() < 2 {
            seen.insert(first_answer(&viewer, &url).await.text().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, spread).await.expect("both nodes get viewers");
}

#[tokio::test(flavor = "multi_thread")]
async fn address_of_the_viewer_is_forwarded_and_its_own_claim_is_not() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/forwarded", cluster.balancer().await);
    let _backend = cluster.backend("b1").await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &url).await;
    let claim = viewer.get(&url).header("x-forwarded-for", "203.0.113.9").header("x-forwarded-proto", "gopher");
    let claim = claim.header("priority", "u=0");
    let answer = claim.send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, r#"Some("127.0.0.1") Some("https") None"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_cookie_and_odd_methods_are_harmless() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/x", cluster.balancer().await);
    let _backend = cluster.backend("b1").await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &url).await;
    for forged in ["sealcast_node=", "sealcast_node=AAAA", "sealcast_node=%00; sealcast_node=..", "a=b; ;;; =x"] {
        let answer = viewer.get(&url).header("cookie", forged).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{forged:?}");
        assert!(cookie(&answer).is_some(), "{forged:?}");
    }
    let answer = viewer.request(reqwest::Method::TRACE, &url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_host_is_the_viewers_fault() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let context = cluster.context(&NodeId::new("b1").unwrap(), Role::Broadcast).await;
    let mut tls = context.identity.client(node::tls::Server::Any(Role::LoadBalancer));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, socket).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_shared_caches_keep_has_no_cookie_and_its_viewer_stays_all_the_same() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/v/index.m3u8", cluster.balancer().await);
    let said = |name: &'static str| {
        Router::new().fallback(move || async move { ([("cache-control", "public, max-age=24")], name) })
    };
    let _backends = [
        cluster.node("b1", said("b1"), Limits::default()).await,
        cluster.node("b2", said("b2"), Limits::default()).await,
    ];
    let viewer = cluster.viewer();
    let mut nodes = BTreeSet::new();
    within("both nodes to be known", async {
        // A page may go to any node, so it shows which nodes are there.
        while nodes.len() < 2 {
            let answer = first_answer(&viewer, &url.replace("/live/", "/")).await;
            assert_eq!(cookie(&answer), None);
            nodes.insert(answer.text().await.unwrap());
        }
    })
    .await;
    let node = first_answer(&viewer, &url).await.text().await.unwrap();
    for _ in 0..20 {
        assert_eq!(first_answer(&viewer, &url).await.text().await.unwrap(), node);
    }
}
