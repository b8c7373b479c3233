//! A small cluster: a broker, an authority, a balancer, and nodes reduced to what the balancer sees of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use bus::broker::{Access, EmbeddedBroker, User};
use loadbalancer::{Config, LoadBalancer};
use media::{ClusterId, NodeId, StreamId};
use messages::Role;
use node::CancellationToken;
use node::http::Limits;
use node::ops::Ops;
use node::presence::PresenceParts;
use node::tls::Authority;
use reqwest::StatusCode;
use tokio::task::{AbortHandle, JoinHandle};
use tower::ServiceExt as _;

const PASSWORD: &str = "only for this test";
/// Longest that a test waits for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, an authority, and all that joins them.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    pub(crate) authority: Authority,
    broker: SocketAddr,
    balancer_ops: Arc<Ops>,
    all: CancellationToken,
}

/// Nodes of these tests have no metadata log.
#[derive(Debug)]
struct AllAreMembers;

impl node::http::Members for AllAreMembers {
    fn is_member(&self, _peer: &node::http::Peer) -> bool {
        true
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        tokio::sync::watch::channel(()).1
    }
}

/// A broadcast node reduced to what the balancer sees of one.
pub(crate) struct Backend {
    pub(crate) id: NodeId,
    task: JoinHandle<anyhow::Result<()>>,
    _context: node::Context,
}

impl Cluster {
    pub(crate) async fn start(nodes: &[(&str, Access)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new()).unwrap();
        std::fs::write(directory.path().join("password"), PASSWORD).unwrap();
        let user = |(name, access): &(&str, Access)| User {
            name: (*name).to_owned(),
            password: PASSWORD.to_owned(),
            access: *access,
        };
        let config = bus::broker::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            users: nodes.iter().map(user).collect(),
            ..bus::broker::Config::default()
        };
        let broker = EmbeddedBroker::load(config).await.unwrap();
        let address = broker.address();
        let all = CancellationToken::new();
        tokio::spawn(broker.run(all.clone()));
        Self { directory, authority, broker: address, balancer_ops: Ops::new(), all }
    }

    pub(crate) async fn context(&self, id: &NodeId, role: Role) -> node::Context {
        let bus = bus::Config {
            urls: vec![format!("mqtt://{}", self.broker)],
            username: Some(id.to_string()),
            password_file: Some(self.directory.path().join("password")),
            ..bus::Config::default()
        };
        let setup = node::Setup {
            id: id.clone(),
            role,
            cluster: ClusterId::new("test").unwrap(),
            data: self.directory.path().join(id.as_str()),
            bus,
            identity: self.authority.issue(id, role, &[]).unwrap(),
            ops: if role == Role::LoadBalancer { self.balancer_ops.clone() } else { Ops::new() },
        };
        setup.start(self.all.clone()).await.unwrap()
    }

    pub(crate) async fn balancer(&self) -> SocketAddr {
        self.balancer_called("lb").await.0
    }

    /// A balancer, and the handle that kills it. All balancers share a sticky key.
    pub(crate) async fn balancer_called(&self, name: &str) -> (SocketAddr, AbortHandle) {
        self.balancer_with(name, Config::default()).await
    }

    /// The same, with other limits.
    pub(crate) async fn balancer_with(&self, name: &str, limits: Config) -> (SocketAddr, AbortHandle) {
        let context = self.context(&NodeId::new(name).unwrap(), Role::LoadBalancer).await;
        let config = Config {
            https_listen: "127.0.0.1:0".parse().unwrap(),
            sticky_key: Some(self.directory.path().join("sticky.key")),
            ..limits
        };
        let balancer = LoadBalancer::load(config, context).await.unwrap();
        let address = balancer.https_address();
        (address, tokio::spawn(balancer.run(self.all.clone())).abort_handle())
    }

    /// Decides where addresses are placed, by balancers that start after this.
    pub(crate) fn set_sticky_key(&self, key: [u8; 32]) {
        std::fs::write(self.directory.path().join("sticky.key"), key).unwrap();
    }

    /// The health of a node as the balancer sees it; `None` before it knows the node.
    pub(crate) async fn health(&self, node: &str) -> Option<String> {
        self.health_by("lb", node).await
    }

    /// Waits until the balancer knows both of the usual nodes.
    pub(crate) async fn knows_both(&self, balancer: &str) {
        let known = async {
            while self.health_by(balancer, "b1").await.is_none() || self.health_by(balancer, "b2").await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        within("both nodes to be known", known).await;
    }

    /// Waits until the balancer sees a node so.
    pub(crate) async fn becomes(&self, node: &str, health: &str) {
        let becomes = async {
            while self.health(node).await.as_deref() != Some(health) {
                tokio::task::yield_now().await;
            }
        };
        within(&format!("{node} to be {health}"), becomes).await;
    }

    /// Waits until this many requests wait at the balancer for answers that they share.
    pub(crate) async fn has_waiting(&self, requests: usize) {
        let waits = async {
            while self.status().await["nodes"]["lb"]["waiting"] != requests {
                tokio::task::yield_now().await;
            }
        };
        within(&format!("{requests} requests to wait at the balancer"), waits).await;
    }

    async fn status(&self) -> serde_json::Value {
        let request = Request::get("/status").body(axum::body::Body::empty()).unwrap();
        let answer = self.balancer_ops.router().oneshot(request).await.unwrap();
        let status = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&status).unwrap()
    }

    async fn health_by(&self, balancer: &str, node: &str) -> Option<String> {
        let status = self.status().await;
        let nodes = status["nodes"][balancer]["broadcast"].as_array()?;
        let found = nodes.iter().find(|found| found["node"] == node)?;
        Some(found["health"].as_str().unwrap().to_owned())
    }

    /// Serves its own name on every path, and under `/forwarded` the headers that give the viewer's address.
    pub(crate) async fn backend(&self, name: &str) -> Backend {
        let said = name.to_owned();
        let router = Router::new()
            .route(
                "/forwarded",
                get(|request: Request| async move {
                    let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
                    format!(
                        "{:?} {:?} {:?}",
                        header("x-forwarded-for"),
                        header("x-forwarded-proto"),
                        header("priority")
                    )
                }),
            )
            .fallback(move || async move { said });
        self.node(name, router, Limits::default()).await
    }

    /// A server with a certificate of another node, `owner`, that also has the name `name`; the presence of `name` gives its address.
    pub(crate) async fn impostor(&self, name: &str, (owner, role): (&str, Role), said: &'static str) -> node::Context {
        let names = [name.to_owned()];
        let paths = self.authority.issue(&NodeId::new(owner).unwrap(), role, &names).unwrap();
        let identity = node::tls::Identity::load(&paths).unwrap();
        let listener = acceptor::bind("127.0.0.1:0".parse().unwrap(), "a_listen").await.unwrap();
        let https = format!("https://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(move || async move { said });
        let serving = self.all.child_token();
        let tls = (identity.server_visitors(), Arc::new(AllAreMembers));
        tokio::spawn(node::http::serve_tls(listener, tls, router, Limits::default(), serving));
        let own = if owner == name { role } else { Role::Broadcast };
        let context = self.context(&NodeId::new(name).unwrap(), own).await;
        // Whatever its role is, it claims to be a broadcast node.
        let said = node::Context { role: Role::Broadcast, ..context.clone() };
        let parts = move || PresenceParts { https: Some(https.clone()), ..Default::default() };
        node::presence::spawn(&said, parts, self.all.clone());
        context
    }

    /// A counter of the balancer with its labels.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let request = Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let answer = self.balancer_ops.router().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0)
    }

    /// A node that serves `router`.
    pub(crate) async fn node(&self, name: &str, router: Router, limits: Limits) -> Backend {
        self.node_behind(name, router, limits, |address| address, PresenceParts::default).await
    }

    /// A node that serves `router` and publishes `parts` as its presence.
    pub(crate) async fn node_saying(&self, name: &str, router: Router, parts: PresenceParts) -> Backend {
        self.node_that_says(name, router, move || parts.clone()).await
    }

    /// A node that serves `router` and publishes what `parts` returns each time.
    pub(crate) async fn node_that_says(
        &self,
        name: &str,
        router: Router,
        parts: impl Fn() -> PresenceParts + Send + 'static,
    ) -> Backend {
        self.node_behind(name, router, Limits::default(), |address| address, parts).await
    }

    /// Serves its own name on every path, and claims to hold a stream.
    pub(crate) async fn backend_holding(&self, name: &str, stream: &str) -> Backend {
        let (said, stream) = (name.to_owned(), StreamId::new(stream).unwrap());
        let router = Router::new().fallback(move || async move { said });
        self.node_saying(name, router, PresenceParts { streams: vec![stream], ..Default::default() }).await
    }

    /// A node whose cable can be cut: then no byte comes through, and no connection closes.
    pub(crate) async fn node_on_a_cable(&self, name: &str, router: Router) -> (Backend, CancellationToken) {
        let cut = CancellationToken::new();
        let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = relay.local_addr().unwrap();
        let cable = cut.clone();
        let behind = |node| {
            tokio::spawn(carry(relay, node, cable));
            address
        };
        (self.node_behind(name, router, Limits::default(), behind, PresenceParts::default).await, cut)
    }

    async fn node_behind(
        &self,
        name: &str,
        router: Router,
        limits: Limits,
        seen_at: impl FnOnce(SocketAddr) -> SocketAddr,
        parts: impl Fn() -> PresenceParts + Send + 'static,
    ) -> Backend {
        let id = NodeId::new(name).unwrap();
        let context = self.context(&id, Role::Broadcast).await;
        let listener = acceptor::bind("127.0.0.1:0".parse().unwrap(), "a_listen").await.unwrap();
        let https = format!("https://{}", seen_at(listener.local_addr().unwrap()));
        let serving = CancellationToken::new();
        let tls = (context.identity.server_visitors(), Arc::new(AllAreMembers));
        let task = tokio::spawn(node::http::serve_tls(listener, tls, router, limits, serving));
        let parts = move || PresenceParts { https: Some(https.clone()), ..parts() };
        node::presence::spawn(&context, parts, self.all.clone());
        Backend { id, task, _context: context }
    }

    /// TLS of a viewer that trusts the authority, for connections made by hand.
    pub(crate) fn trust(&self) -> rustls::ClientConfig {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(self.authority.ca_path()).unwrap()).unwrap();
        rustls::ClientConfig::builder_with_provider(node::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub(crate) fn viewer(&self) -> reqwest::Client {
        self.viewer_at(std::net::Ipv4Addr::LOCALHOST.into())
    }

    /// A viewer that comes from this address.
    pub(crate) fn viewer_at(&self, address: IpAddr) -> reqwest::Client {
        self.viewer_with(address, false)
    }

    /// The same, with HTTP/1.1 if `is_http1`.
    pub(crate) fn viewer_with(&self, address: IpAddr, is_http1: bool) -> reqwest::Client {
        let ca = std::fs::read(self.authority.ca_path()).unwrap();
        let builder = reqwest::Client::builder();
        let builder = if is_http1 { builder.http1_only() } else { builder };
        builder
            .use_rustls_tls()
            .local_address(address)
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(&ca).unwrap())
            .build()
            .unwrap()
    }
}

impl Backend {
    /// Closes its connections and its listener at once, as when a process is killed. It still publishes its presence.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

/// Carries bytes both ways until the cable is cut.
async fn carry(relay: tokio::net::TcpListener, node: SocketAddr, cut: CancellationToken) {
    loop {
        let (mut here, _) = relay.accept().await.unwrap();
        let cut = cut.clone();
        tokio::spawn(async move {
            let mut there = tokio::net::TcpStream::connect(node).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                () = cut.cancelled() => std::future::pending().await,
            }
        });
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

/// Repeats a request until a broadcast node answers.
pub(crate) async fn first_answer(viewer: &reqwest::Client, url: &str) -> reqwest::Response {
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
    within("an answer of a node", asking).await
}

pub(crate) const NODES: [(&str, Access); 4] =
    [("lb", Access::LoadBalancer), ("lb2", Access::LoadBalancer), ("b1", Access::Broadcast), ("b2", Access::Broadcast)];
