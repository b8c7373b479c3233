//! Requests that a node holds back until there is something to say: blocking playlist reloads and hinted parts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::StreamExt as _;
use node::http::{Limits, Peer};
use reqwest::StatusCode;
use testkit::viewer::{Viewer, length};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use crate::cluster::{Cluster, NODES, first_answer, within};

/// More than the windows of a connection to a node, and all buffers on the way, hold.
const LARGE_BYTES: usize = 8 << 20;
pub(crate) const WINDOW_BYTES: u32 = 1 << 20;

/// Requests that a node holds back until they are released.
#[derive(Clone)]
pub(crate) struct Hold {
    name: &'static str,
    waiting: watch::Sender<usize>,
    pub(crate) released: watch::Sender<bool>,
    connections: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

/// Counts a waiting request, until it is dropped.
struct Waits(watch::Sender<usize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Hold {
    pub(crate) fn new(name: &'static str) -> Self {
        let (waiting, released) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { name, waiting, released, connections: Arc::default() }
    }

    pub(crate) fn router(&self) -> Router {
        let name = self.name;
        Router::new()
            .route("/live/demo/v/index.m3u8", get(Self::blocked))
            .route("/live/demo/v/1/0.0.m4s", get(Self::in_pieces))
            .route("/large", get(|| async { Bytes::from(vec![0x5a; LARGE_BYTES]) }))
            .fallback(move || async move { name })
            .with_state(self.clone())
    }

    fn waits(&self) -> Waits {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Waits(self.waiting.clone())
    }

    async fn blocked(State(hold): State<Self>, Extension(peer): Extension<Peer>) -> &'static str {
        let _waits = hold.waits();
        hold.connections.lock().unwrap().insert(*peer.address.expose());
        hold.released.subscribe().wait_for(|released| *released).await.unwrap();
        hold.name
    }

    /// Sends the beginning at once, and the rest when it is released.
    async fn in_pieces(State(hold): State<Self>) -> Body {
        let rest = async move {
            hold.released.subscribe().wait_for(|released| *released).await.unwrap();
            "rest"
        };
        let pieces = futures_util::stream::once(async { "first " }).chain(futures_util::stream::once(rest));
        Body::from_stream(pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))))
    }

    pub(crate) async fn waiting(&self, wanted: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting == wanted);
        within(&format!("{wanted} requests wait on {}", self.name), reached).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_requests_of_many_viewers_share_few_connections_to_the_node() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let hold = Hold::new("b1");
    let _backend = cluster.node("b1", hold.router(), Limits::default()).await;
    let (viewers, each) = (30, 40);
    let mut all = Vec::new();
    for _ in 0..viewers {
        all.push(Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await);
    }
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    let mut answers = Vec::new();
    // What viewers want alike they would share.
    for (index, viewer) in all.iter_mut().enumerate() {
        for number in 0..each {
            let path = format!("/live/demo/v/index.m3u8?_HLS_msn={}", index * each + number);
            answers.push(tokio::spawn(viewer.get(&path, None).await.1));
        }
    }
    hold.waiting(viewers * each).await;
    let connections = hold.connections.lock().unwrap().len();
    // A hundred on each connection, and some connections that were made at the same moment.
    let expected = viewers * each / 100..=viewers * each / 100 + 4;
    assert!(expected.contains(&connections), "{} requests on {connections} connections", viewers * each);
    hold.released.send_replace(true);
    for answer in answers {
        let answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(length(answer).await, "b1".len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_said_passes_before_it_has_said_all() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/v/1/0.0.m4s", cluster.balancer().await);
    let hold = Hold::new("b1");
    let _backend = cluster.node("b1", hold.router(), Limits::default()).await;
    let mut answer = within("the head", first_answer(&cluster.viewer(), &url)).await;
    assert_eq!(within("the first piece", answer.chunk()).await.unwrap().unwrap(), "first ");
    hold.released.send_replace(true);
    assert_eq!(within("the rest", answer.text()).await.unwrap(), "rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_that_goes_away_takes_its_request_back_from_the_node() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let hold = Hold::new("b1");
    let _backend = cluster.node("b1", hold.router(), Limits::default()).await;
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    let path = "/live/demo/v/index.m3u8";

    let mut viewer = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
    let (_, given_up) = viewer.get(&format!("{path}?_HLS_msn=1"), None).await;
    let (_, kept) = viewer.get(&format!("{path}?_HLS_msn=2"), None).await;
    hold.waiting(2).await;
    drop(given_up);
    hold.waiting(1).await;
    viewer.vanish();
    hold.waiting(0).await;
    drop(kept);

    let mut tls = cluster.trust();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut viewer = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap();
    viewer.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    hold.waiting(1).await;
    drop(viewer);
    hold.waiting(0).await;

    // None of it counts as a fault of the node.
    assert_eq!(cluster.health("b1").await.as_deref(), Some("online"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_blocked_on_a_node_that_dies_go_to_another_at_once() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let holds = [Hold::new("b1"), Hold::new("b2")];
    let backends = [
        cluster.node("b1", holds[0].router(), Limits::default()).await,
        cluster.node("b2", holds[1].router(), Limits::default()).await,
    ];
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    // All requests come from one address, so all go to one node.
    let mut viewer = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
    let requests = 100;
    let mut answers = Vec::new();
    for number in 0..requests {
        answers.push(tokio::spawn(viewer.get(&format!("/live/demo/v/index.m3u8?_HLS_msn={number}"), None).await.1));
    }
    let [first, second] = &holds;
    let (here, there) = tokio::select! {
        () = first.waiting(requests) => (0, second),
        () = second.waiting(requests) => (1, first),
    };
    backends[here].kill();
    there.waiting(requests).await;
    there.released.send_replace(true);
    for answer in answers {
        let answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(length(answer).await, there.name.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_blocked_on_a_node_that_stops_go_to_another() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/v/index.m3u8", cluster.balancer().await);
    let stopping = || async { (StatusCode::SERVICE_UNAVAILABLE, [(node::http::STOPPING, "")], "stopping") };
    let hold = Hold::new("b2");
    hold.released.send_replace(true);
    let _backends = [
        cluster.node("b1", Router::new().fallback(stopping), Limits::default()).await,
        cluster.node("b2", hold.router(), Limits::default()).await,
    ];
    let viewer = cluster.viewer();
    within("both nodes to be known", async {
        while cluster.health("b1").await.is_none() || cluster.health("b2").await.is_none() {}
    })
    .await;
    // Without a cookie, a request for a page may go to any node.
    for _ in 0..20 {
        let answer = viewer.get(url.replace("/live/", "/")).send().await.unwrap();
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "b2"));
    }
    assert_eq!(cluster.health("b1").await.as_deref(), Some("online"), "it said so itself: no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_blocked_on_a_node_that_falls_silent_goes_to_another() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}/live/demo/v/index.m3u8", cluster.balancer().await);
    let holds = [Hold::new("b1"), Hold::new("b2")];
    let (_first, first_cable) = cluster.node_on_a_cable("b1", holds[0].router()).await;
    let (_second, second_cable) = cluster.node_on_a_cable("b2", holds[1].router()).await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &url.replace("/live/demo/v/index.m3u8", "/")).await;
    let answer = tokio::spawn(viewer.get(&url).send());
    let [first, second] = &holds;
    let (there, cable) = tokio::select! {
        () = first.waiting(1) => (second, first_cable),
        () = second.waiting(1) => (first, second_cable),
    };
    cable.cancel();
    // HTTP/2's pings notice it, long before the longest silence that a blocked request may have.
    there.waiting(1).await;
    there.released.send_replace(true);
    assert_eq!(within("an answer", answer).await.unwrap().unwrap().text().await.unwrap(), there.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_a_node_has_no_room_for_is_asked_again_and_not_its_fault() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let hold = Hold::new("b1");
    hold.released.send_replace(true);
    // Fewer streams than the balancer uses before it learns the node's limit.
    let _backend = cluster.node("b1", hold.router(), Limits { streams_max: 4, ..Limits::default() }).await;
    within("the node to be known", async {
        while cluster.health("b1").await.as_deref() != Some("online") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut viewer = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
    let mut answers = Vec::new();
    for number in 0..50 {
        answers.push(tokio::spawn(viewer.get(&format!("/live/demo/v/index.m3u8?_HLS_msn={number}"), None).await.1));
    }
    for answer in answers {
        assert_eq!(within("an answer", answer).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(cluster.health("b1").await.as_deref(), Some("online"));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_that_does_not_read_holds_up_no_other() {
    let cluster = Cluster::start(&NODES).await;
    let address = cluster.balancer().await;
    let hold = Hold::new("b1");
    let _backend = cluster.node("b1", hold.router(), Limits::default()).await;
    first_answer(&cluster.viewer(), &format!("https://{address}/")).await;
    let mut stalled = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
    let mut heads = Vec::new();
    for _ in 0..50 {
        let (_, answer) = stalled.get("/large", None).await;
        heads.push(within("the head of a response", answer).await);
    }
    stalled.read(false);
    let mut other = Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await;
    let (_, answer) = other.get("/large", None).await;
    let read = async { length(answer.await).await };
    assert_eq!(within("a response beside stalled ones", read).await, LARGE_BYTES);
}
