//! Requests of the API that control answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Extension, Request};
use axum::response::IntoResponse as _;
use bus::broker::Access;
use media::NodeId;
use messages::Role;
use node::CancellationToken;
use node::http::{LEADER, Limits, Peer};
use node::presence::PresenceParts;
use node::wait::{METADATA, WAIT};
use reqwest::{Method, StatusCode};

use crate::cluster::{Cluster, PATIENCE, within};

const NODES: [(&str, Access); 4] =
    [("lb", Access::LoadBalancer), ("b1", Access::Broadcast), ("c1", Access::Control), ("c2", Access::Control)];

/// A control node reduced to what the balancer sees of it: it says who asks it, for whom, and what.
async fn control(cluster: &Cluster) -> (CancellationToken, node::Context) {
    let said = async |Extension(peer): Extension<Peer>, request: Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1_000).await.unwrap();
        let (node, role) = peer.node.unwrap();
        let address = parts.headers.get("x-forwarded-for").unwrap().to_str().unwrap().to_owned();
        format!("{node} {role} {address} {} {} {}", parts.method, parts.uri.path(), String::from_utf8_lossy(&body))
    };
    control_saying(cluster, "c1", Router::new().fallback(said)).await
}

async fn control_saying(cluster: &Cluster, name: &str, router: Router) -> (CancellationToken, node::Context) {
    let context = cluster.context(&NodeId::new(name).unwrap(), Role::Control).await;
    let listener = acceptor::bind("127.0.0.1:0".parse().unwrap(), "a_listen").await.unwrap();
    let data = format!("https://{}", listener.local_addr().unwrap());
    let serving = CancellationToken::new();
    let tls = context.identity.server_mutual();
    tokio::spawn(node::http::serve_tls(listener, tls, router, Limits::default(), serving.clone()));
    let parts = move || PresenceParts { data: Some(data.clone()), ..Default::default() };
    node::presence::spawn(&context, parts, CancellationToken::new());
    (serving, context)
}

#[tokio::test(flavor = "multi_thread")]
async fn control_gets_changes_and_credentials_over_mutual_tls_and_nodes_the_rest() {
    let cluster = Cluster::start(&NODES).await;
    let base = format!("https://{}/api/v1", cluster.balancer().await);
    let viewer = cluster.viewer();
    let ask = async |method: Method, path: &str, key: Option<&str>, body: &'static str| {
        let request = viewer.request(method, format!("{base}/{path}")).body(body);
        let request = if let Some(key) = key { request.header("x-api-key", key) } else { request };
        let answer = request.send().await.unwrap();
        let has_cookie = answer.headers().contains_key("set-cookie");
        (answer.status(), has_cookie, answer.text().await.unwrap())
    };
    // Without control, the answer says so in the form of the API.
    let (status, _, text) = ask(Method::POST, "streams", None, "{}").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains(r#""type":"/api/v1/problems/control-away""#), "{text}");

    let _b1 = cluster.backend("b1").await;
    let (serving, _context) = control(&cluster).await;
    let first = async {
        loop {
            let (status, _, text) = ask(Method::GET, "tenants", None, "").await;
            if status == StatusCode::OK {
                return text;
            }
        }
    };
    let first = tokio::time::timeout(PATIENCE, first).await.expect("control is found");
    assert_eq!(first, "lb loadbalancer 127.0.0.1 GET /api/v1/tenants ");
    let known = async { while ask(Method::GET, "streams", None, "").await.0 != StatusCode::OK {} };
    within("b1 is found", known).await;

    let (_, has_cookie, text) = ask(Method::POST, "streams", None, r#"{"name":"hall"}"#).await;
    assert_eq!((has_cookie, &*text), (false, r#"lb loadbalancer 127.0.0.1 POST /api/v1/streams {"name":"hall"}"#));
    assert!(ask(Method::GET, "streams", Some("sc_x"), "").await.2.contains("GET /api/v1/streams"));
    for path in ["streams", "streams/hall", "grants", "openapi.json"] {
        assert_eq!(ask(Method::GET, path, None, "").await.2, "b1", "{path}");
    }
    // A viewer's health is that of broadcast nodes: control's end changes nothing for them.
    serving.cancel();
    let away = async { while ask(Method::GET, "tenants", None, "").await.0 != StatusCode::SERVICE_UNAVAILABLE {} };
    within("control is away", away).await;
    assert_eq!(ask(Method::GET, "streams", None, "").await.2, "b1");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_written_reads_it_on_any_node_and_nobody_else_waits() {
    let cluster = Cluster::start(&NODES).await;
    let base = format!("https://{}", cluster.balancer().await);
    let viewer = cluster.viewer();
    let wait = async |request: Request| {
        request.headers().get(WAIT).map_or("nothing", |value| value.to_str().unwrap()).to_owned()
    };
    let _b1 = cluster.node("b1", Router::new().fallback(wait), Limits::default()).await;
    let writes = Router::new().fallback(|method: Method| async move {
        let status = if method == Method::DELETE { StatusCode::CONFLICT } else { StatusCode::CREATED };
        (status, [(METADATA, if method == Method::PUT { "9" } else { "7" })], "done")
    });
    let (_serving, _context) = control_saying(&cluster, "c1", writes).await;
    let ask = async |method: Method, path: &str, key: Option<&str>, wait: Option<&str>| {
        let request = viewer.request(method, format!("{base}{path}"));
        let request = if let Some(key) = key { request.header("x-api-key", key) } else { request };
        let request = if let Some(wait) = wait { request.header(WAIT, wait) } else { request };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let public = "/api/v1/streams?view=public";
    let read = async |key, wait| ask(Method::GET, public, key, wait).await.1;
    let write = async |method| ask(method, "/api/v1/streams/hall", Some("sc_a"), None).await.0;
    within("b1 is found", async { while read(None, None).await != "nothing" {} }).await;
    within("control is found", async { while write(Method::DELETE).await != StatusCode::CONFLICT {} }).await;
    assert_eq!(read(Some("sc_a"), None).await, "nothing", "what was refused changed nothing");

    assert_eq!(write(Method::PATCH).await, StatusCode::CREATED);
    assert_eq!(read(Some("sc_a"), None).await, "7");
    assert_eq!(read(Some("sc_a"), Some("4")).await, "4", "the client says what it has seen");
    assert_eq!((read(Some("sc_b"), None).await, read(None, None).await), ("nothing".to_owned(), "nothing".to_owned()));
    assert_eq!(write(Method::PUT).await, StatusCode::CREATED);
    assert_eq!(read(Some("sc_a"), None).await, "9");
    assert_eq!(ask(Method::GET, "/live/hall/index.m3u8", Some("sc_a"), None).await.1, "nothing", "media do not wait");
}

/// A POST, too: a control node that does not lead has done nothing.
#[tokio::test(flavor = "multi_thread")]
async fn change_goes_on_to_the_control_node_that_leads_and_the_next_one_there_at_once() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/api/v1/tenants", cluster.balancer().await);
    let viewer = cluster.viewer();
    let refused = Arc::new(AtomicUsize::new(0));
    let (count, leads) = (Arc::clone(&refused), Arc::new(AtomicBool::new(true)));
    let names_it = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&names_it);
    let follows = Router::new().fallback(move || async move {
        count.fetch_add(1, Ordering::Relaxed);
        let leader = if knows.load(Ordering::Relaxed) { "c2" } else { "" };
        (StatusCode::SERVICE_UNAVAILABLE, [(LEADER, leader)], "another leads")
    });
    let is_leader = Arc::clone(&leads);
    let answers = Router::new().fallback(move |body: String| async move {
        if is_leader.load(Ordering::Relaxed) {
            body.into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, [(LEADER, "")], "nobody leads").into_response()
        }
    });
    let _c1 = control_saying(&cluster, "c1", follows).await;
    let _c2 = control_saying(&cluster, "c2", answers).await;
    let ask = async || viewer.post(&url).body("a change").send().await.unwrap();
    let made = async { while ask().await.status() != StatusCode::OK || refused.load(Ordering::Relaxed) == 0 {} };
    within("both control nodes are known", made).await;
    let before = refused.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(ask().await.text().await.unwrap(), "a change", "the request that c1 has refused");
    }
    assert_eq!(refused.load(Ordering::Relaxed), before + 3, "nobody says who leads");
    names_it.store(true, Ordering::Relaxed);
    assert_eq!(ask().await.status(), StatusCode::OK);
    let before = refused.load(Ordering::Relaxed);
    for _ in 0..5 {
        let answer = ask().await;
        assert!(answer.headers().get(LEADER.as_str()).is_none());
        assert_eq!(answer.text().await.unwrap(), "a change");
    }
    assert_eq!(refused.load(Ordering::Relaxed), before, "the balancer knows who leads");
    leads.store(false, Ordering::Relaxed);
    let answer = ask().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().get(LEADER.as_str()).is_none(), "that is between us and control");
}
