//! The balancer in front of real TLS servers, with a real bus between them.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use loadbalancer::{Config, LoadBalancer};
use media::{ClusterId, NodeId};
use messages::Role;
use node::CancellationToken;
use node::broker::{Access, EmbeddedBroker, User};
use node::ops::Ops;
use node::tls::Authority;
use reqwest::StatusCode;
use tokio::task::JoinHandle;

const PASSWORD: &str = "only for this test";
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, an authority, and whoever joins.
struct Cluster {
    directory: tempfile::TempDir,
    authority: Authority,
    broker: SocketAddr,
    all: CancellationToken,
}

/// A broadcast node reduced to what the balancer sees of one.
struct Backend {
    id: NodeId,
    serving: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _context: node::Context,
}

impl Cluster {
    async fn start(nodes: &[(&str, Access)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new()).unwrap();
        std::fs::write(directory.path().join("password"), PASSWORD).unwrap();
        let user = |(name, access): &(&str, Access)| User {
            name: (*name).to_owned(),
            password: PASSWORD.to_owned(),
            access: *access,
        };
        let config = node::broker::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            users: nodes.iter().map(user).collect(),
            ..node::broker::Config::default()
        };
        let broker = EmbeddedBroker::load(config).await.unwrap();
        let address = broker.address();
        let all = CancellationToken::new();
        tokio::spawn(broker.run(all.clone()));
        Self { directory, authority, broker: address, all }
    }

    async fn context(&self, id: &NodeId, role: Role) -> node::Context {
        let bus = node::bus::Config {
            urls: vec![format!("mqtt://{}", self.broker)],
            username: Some(id.to_string()),
            password_file: Some(self.directory.path().join("password")),
            ..node::bus::Config::default()
        };
        let setup = node::Setup {
            id: id.clone(),
            role,
            cluster: ClusterId::new("test").unwrap(),
            data: self.directory.path().join(id.as_str()),
            bus,
            identity: self.authority.issue(id, role, &[]).unwrap(),
            ops: Ops::new(),
        };
        setup.start(self.all.clone()).await.unwrap()
    }

    async fn balancer(&self) -> SocketAddr {
        let context = self.context(&NodeId::new("lb").unwrap(), Role::LoadBalancer).await;
        let config = Config { https_listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
        let balancer = LoadBalancer::load(config, context).await.unwrap();
        let address = balancer.https_address();
        tokio::spawn(balancer.run(self.all.clone()));
        address
    }

    /// Serves its own name on every path, and under `/forwarded` the headers that tell where the viewer is.
    async fn backend(&self, name: &str) -> Backend {
        let id = NodeId::new(name).unwrap();
        let context = self.context(&id, Role::Broadcast).await;
        let listener = node::http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let https = format!("https://{}", listener.local_addr().unwrap());
        let said = name.to_owned();
        let router = Router::new()
            .route(
                "/forwarded",
                get(|request: Request| async move {
                    let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
                    format!("{:?} {:?}", header("x-forwarded-for"), header("x-forwarded-proto"))
                }),
            )
            .fallback(move || async move { said });
        let serving = CancellationToken::new();
        let tls = context.identity.server_public();
        let task =
            tokio::spawn(node::http::serve_tls(listener, tls, router, node::http::Limits::default(), serving.clone()));
        let parts = move || node::presence::PresenceParts { https: Some(https.clone()), ..Default::default() };
        node::presence::spawn(&context, parts, self.all.clone());
        Backend { id, serving, task, _context: context }
    }

    fn viewer(&self) -> reqwest::Client {
        let ca = std::fs::read(self.authority.ca_path()).unwrap();
        reqwest::Client::builder()
            .use_rustls_tls()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(&ca).unwrap())
            .build()
            .unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

/// Asks until a broadcast node answers.
async fn first_answer(viewer: &reqwest::Client, url: &str) -> reqwest::Response {
    let asking = async {
        loop {
            let answer = viewer.get(url).send().await.unwrap();
            if answer.status() == StatusCode::OK {
                return answer;
            }
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("a node is found")
}

fn cookie(answer: &reqwest::Response) -> Option<String> {
    let value = answer.headers().get("set-cookie")?.to_str().unwrap();
    Some(value.split(';').next().unwrap().to_owned())
}

const NODES: [(&str, Access); 3] = [("lb", Access::LoadBalancer), ("b1", Access::Broadcast), ("b2", Access::Broadcast)];

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
    dying.serving.cancel();
    dying.task.abort();
    let other = backends[0].id.to_string();
    // It still says that it is there: only the failed requests tell the balancer.
    for _ in 0..20 {
        let answer = ask().await;
        assert_eq!(answer.status(), StatusCode::OK, "the viewer sees no error");
        assert!(cookie(&answer).is_some(), "the viewer is told its new node");
        assert_eq!(answer.text().await.unwrap(), other);
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
    let answer = claim.send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, r#"Some("127.0.0.1") Some("https")"#);
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
    let mut tls = context.identity.client();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, socket).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
}
