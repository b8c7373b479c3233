//! A small cluster around one ingest: a real broker, real certificates, a control node that grants, and one receiver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bus::broker::{Access, EmbeddedBroker, User};
use ingest::{Config, Ingest};
use media::{NodeId, StreamId, UnixMillis};
use messages::{
    MacForm, NodeState, Pepper, Presence, Role, SessionInfo, SessionState, StreamEntry, StreamTable, Topic,
};
use node::ops::Ops;
use node::tls::{Authority, BrokerCertificate, Identity};
use node::{CancellationToken, Context, Setup, http};
use seal::{Grant, Keyring, RootKey, Scope};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt as _;

use crate::receiver::Receiver;
use granter::Granter;

pub(crate) const KEY: &str = "correct-horse";

pub(crate) struct Cluster {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) control: Arc<Control>,
    pub(crate) rtmp: SocketAddr,
    /// Where RTMP over TLS is served, if it is.
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) ops: Arc<Ops>,
    sessions: watch::Receiver<Vec<SessionInfo>>,
    config: Config,
    authority: Authority,
    /// Context of the control node, for its messages on the bus.
    pub(crate) c1: Option<Context>,
    broker: SocketAddr,
    broker_task: Option<(CancellationToken, JoinHandle<()>)>,
    shutdown: CancellationToken,
    ingest: Option<(CancellationToken, JoinHandle<()>)>,
    tasks: Vec<JoinHandle<()>>,
    nodes: BTreeMap<String, Served>,
}

/// A node that is served.
struct Served {
    url: String,
    shutdown: CancellationToken,
}

/// Control, as far as an ingest sees it.
pub(crate) struct Control {
    root: RootKey,
    granter: OnceLock<Granter>,
    clock: node::clock::Clock,
    receiver: Arc<Receiver>,
    pub(crate) grants: AtomicBool,
    /// Keys of the stream `demo`: one, or none when it was deleted. `None` while control answers with an error.
    pub(crate) table: Mutex<Option<Vec<String>>>,
    /// Requests for the table.
    pub(crate) asked: AtomicUsize,
    /// Those of them that were answered with an error.
    pub(crate) unanswered: AtomicUsize,
    granted: Mutex<usize>,
}

impl Control {
    /// Grants, and knows the stream `demo` with the key [`KEY`].
    fn new(root: RootKey, clock: node::clock::Clock, receiver: Arc<Receiver>) -> Arc<Self> {
        Arc::new(Self {
            root,
            granter: OnceLock::new(),
            clock,
            receiver,
            grants: AtomicBool::new(true),
            table: Mutex::new(Some(vec![KEY.to_owned()])),
            asked: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            granted: Mutex::default(),
        })
    }

    fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/cluster/v1/grants", post(grant))
            .route("/cluster/v1/streams", get(streams))
            .with_state(Arc::clone(self))
    }

    /// Writes a row of the metadata log.
    pub(crate) async fn write(&self, body: metadata::Body) {
        self.granter.get().unwrap().write(body).await.unwrap();
    }

    /// Begins the metadata log.
    async fn begin(&self, context: &Context, shutdown: &CancellationToken) {
        let granter = Granter::open(context, &self.root, shutdown).await.unwrap();
        assert!(self.granter.set(granter).is_ok());
    }
}

async fn grant(State(control): State<Arc<Control>>, public_key: Bytes) -> Result<String, StatusCode> {
    if !control.grants.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let now = control.clock.wall();
    let grant = Grant {
        public_key: public_key.to_vec(),
        node: "i1".parse().unwrap(),
        scope: Scope::Streams(vec!["demo".parse().unwrap()]),
        may_delegate: false,
        from: UnixMillis(now.0 - 1_000),
        until: UnixMillis(now.0 + 3_600_000),
    };
    let granter = control.granter.get().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    granter.grant(grant).await.unwrap();
    control.receiver.take_keys(granter.log().look(|view| view.rights()));
    *control.granted.lock().unwrap() += 1;
    Ok(r#"{"sequence": 1}"#.to_owned())
}

async fn streams(State(control): State<Arc<Control>>) -> Result<String, StatusCode> {
    control.asked.fetch_add(1, Ordering::SeqCst);
    let Some(keys) = control.table.lock().unwrap().clone() else {
        control.unanswered.fetch_add(1, Ordering::SeqCst);
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    };
    Ok(table_of(&keys))
}

/// Control's answer with these keys, each of stream `demo`.
pub(crate) fn table_of(keys: &[String]) -> String {
    let pepper = Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap();
    let name: StreamId = "demo".parse().unwrap();
    let mac_key = pepper.mac_key(MacForm::OfStream, &name);
    let entry = |key: &String| StreamEntry {
        name: name.clone(),
        key_mac: mac_key.mac(key),
        mac_key: mac_key.clone(),
        hint: String::new(),
    };
    serde_json::to_string(&StreamTable { streams: keys.iter().map(entry).collect() }).unwrap()
}

impl Cluster {
    /// A cluster whose ingest is ready: control `c1`, the receiver as `b1`, and the ingest `i1`, with a configuration that `change` may
    /// alter.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let mut cluster = Self::without_nodes().await;
        let context = cluster.context("c1", Role::Control).await;
        cluster.control.begin(&context, &cluster.shutdown.clone()).await;
        let log = Arc::clone(cluster.control.granter.get().unwrap().log());
        let router = cluster.control.router().merge(replica::router(log));
        let here = cluster.shutdown.child_token();
        let c1 = cluster.serve_as("c1", context, router, here).await;
        // A host name, so that it sorts behind all addresses.
        cluster.config.control = vec![cluster.nodes["c1"].url.replace("127.0.0.1", "localhost")];
        change(&mut cluster.config);
        cluster.c1 = Some(c1);
        let router = cluster.receiver.router();
        let b1 = cluster.serve("b1", Role::Broadcast, router).await;
        cluster.listen(&b1).await;
        cluster.start_ingest().await;
        cluster
    }

    /// A broker that runs, and the keys and certificates of a cluster.
    async fn without_nodes() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = node::clock::Clock::new();
        let authority = Authority::ensure(&directory.path().join("certs"), &clock).unwrap();
        let root = RootKey::generate().unwrap();
        let anchor = root.public_key().unwrap();
        let root_key = directory.path().join("root.pub");
        std::fs::write(&root_key, anchor.as_bytes()).unwrap();
        std::fs::write(directory.path().join("password"), "secret").unwrap();
        let receiver = Receiver::new(Keyring::new("test".parse().unwrap()));
        let (broker, broker_task) = broker(loopback()).await;
        let (_, seen) = watch::channel(Vec::new());
        Self {
            directory,
            control: Control::new(root, clock, Arc::clone(&receiver)),
            receiver,
            rtmp: loopback(),
            rtmps: None,
            ops: Ops::new(),
            sessions: seen,
            config: Config {
                rtmp_listen: loopback(),
                root_key,
                reconnect_grace_s: 3,
                takeover_silence_s: 1,
                ..Config::default()
            },
            authority,
            c1: None,
            broker,
            broker_task: Some(broker_task),
            shutdown: CancellationToken::new(),
            ingest: None,
            tasks: Vec::new(),
            nodes: BTreeMap::new(),
        }
    }

    async fn context(&self, name: &str, role: Role) -> Context {
        let id: NodeId = name.parse().unwrap();
        let setup = Setup {
            identity: self.authority.issue(&id, role, &[]).unwrap(),
            data: self.directory.path().join(name),
            id,
            role,
            cluster: "test".parse().unwrap(),
            bus: bus::Config {
                urls: vec![format!("mqtt://{}", self.broker)],
                username: Some(name.to_owned()),
                password_file: Some(self.directory.path().join("password")),
                ..Default::default()
            },
            ops: Arc::clone(&self.ops),
        };
        setup.start(self.shutdown.clone()).await.unwrap()
    }

    async fn serve(&mut self, name: &str, role: Role, router: Router) -> Context {
        let here = self.shutdown.child_token();
        self.serve_until(name, role, router, here).await
    }

    /// Has a node say that it is gone.
    pub(crate) fn leave(&self, name: &str) {
        self.nodes[name].shutdown.cancel();
    }

    pub(crate) async fn serve_until(
        &mut self,
        name: &str,
        role: Role,
        router: Router,
        here: CancellationToken,
    ) -> Context {
        let context = self.context(name, role).await;
        self.serve_as(name, context, router, here).await
    }

    async fn serve_as(&mut self, name: &str, context: Context, router: Router, here: CancellationToken) -> Context {
        let data = self.serve_here(context.identity.server_mutual(), router, here.clone()).await;
        self.nodes.insert(name.to_owned(), Served { url: data.clone(), shutdown: here.clone() });
        let parts = move || node::presence::PresenceParts { data: Some(data.clone()), ..Default::default() };
        self.tasks.push(node::presence::spawn(&context, parts, here.clone()));
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            here.cancel();
        });
        context
    }

    /// Serves with the identity of another node than the one that is expected there; returns the URL.
    pub(crate) async fn impersonate(&mut self, stolen: &Identity, router: Router) -> String {
        self.serve_over(stolen.server_mutual(), router).await
    }

    /// Serves as long as the cluster is there; returns the URL.
    pub(crate) async fn serve_over(&mut self, tls: Arc<ServerConfig>, router: Router) -> String {
        let here = self.shutdown.child_token();
        self.serve_here(tls, router, here).await
    }

    /// A broker's certificate, with its authority in a file of its own.
    pub(crate) fn broker_certificate(&self) -> Arc<BrokerCertificate> {
        let directory = self.file("certs");
        let brokers = Authority::ensure_for_brokers(&directory, &node::clock::Clock::new()).unwrap();
        BrokerCertificate::load(&brokers.issue_in(&directory, &"broker".parse().unwrap(), None, &[]).unwrap()).unwrap()
    }

    /// From now on, certificates of the brokers' authority have a chain to what nodes trust.
    pub(crate) fn trust_brokers_as_nodes(&self) {
        let read = |name: &str| std::fs::read_to_string(self.file(name)).unwrap();
        let both = format!("{}{}", read("certs/ca.pem"), read("certs/broker-ca.pem"));
        std::fs::write(self.file("certs/ca.pem"), both).unwrap();
    }

    async fn serve_here(&mut self, tls: Arc<ServerConfig>, router: Router, here: CancellationToken) -> String {
        let listener = acceptor::bind(loopback(), "a_listen").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        self.tasks.push(tokio::spawn(async move {
            http::serve_tls(listener, tls, router, http::Limits::default(), here).await.unwrap();
        }));
        url
    }

    /// Publishes a presence for a node, with the node's own login. The broker retains it.
    pub(crate) async fn say_presence(&self, name: &str, own: Role, claimed: Role, data: String) -> Context {
        let context = self.context(name, own).await;
        let presence = Presence {
            node: context.id.clone(),
            role: claimed,
            state: NodeState::Online,
            at: context.clock.wall(),
            started_at: context.started_at,
            https: None,
            data: Some(data),
            public: None,
            load: messages::Load::default(),
            streams: vec![],
            edges: vec![],
            tenants: vec![],
        };
        let topic = context.prefix.name(&Topic::Node(context.id.clone()));
        let payload = serde_json::to_vec(&presence).unwrap().into();
        context.bus.publish(bus::Message { topic, payload, retain: true }).await.unwrap();
        context
    }

    /// Has control say that streams have changed, until the ingest has asked for them `times` more times.
    pub(crate) async fn streams_are_asked_for(&self, times: usize) {
        let context = self.c1.as_ref().unwrap();
        let topic = context.prefix.name(&Topic::CatalogueUpdate);
        let wanted = self.control.asked.load(Ordering::SeqCst) + times;
        let asked = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
            while self.control.asked.load(Ordering::SeqCst) < wanted {
                ticks.tick().await;
                let message = bus::Message { topic: topic.clone(), payload: "{}".into(), retain: false };
                context.bus.publish(message).await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.expect("control is not asked");
    }

    /// Collects seals and sessions from the bus.
    async fn listen(&mut self, context: &Context) {
        let mut seals = context.bus.subscribe(&context.prefix.filter("streams/+/seals")).await.unwrap();
        let mut sessions = context.bus.subscribe(&context.prefix.filter("streams/+/session")).await.unwrap();
        let (sender, seen) = watch::channel(Vec::new());
        self.sessions = seen;
        let (receiver, context) = (Arc::clone(&self.receiver), context.clone());
        self.tasks.push(tokio::spawn(async move {
            // This keeps the bus client alive, even when the node itself has left.
            let _bus = context;
            loop {
                tokio::select! {
                    Some(seal) = seals.recv() => receiver.take_bus_seal(&seal.payload),
                    Some(session) = sessions.recv() => {
                        let session = serde_json::from_slice(&session.payload).unwrap();
                        sender.send_modify(|seen: &mut Vec<SessionInfo>| seen.push(session));
                    }
                    else => return,
                }
            }
        }));
    }

    pub(crate) async fn start_ingest(&mut self) {
        self.launch_ingest().await;
        if self.control.grants.load(Ordering::SeqCst) {
            self.ready().await;
        }
    }

    async fn launch_ingest(&mut self) {
        let context = self.context("i1", Role::Ingest).await;
        let ingest = Ingest::load(self.config.clone(), context).await.unwrap();
        self.rtmp = ingest.rtmp_address();
        self.rtmps = ingest.rtmps_address();
        let token = CancellationToken::new();
        let running = token.clone();
        let task = tokio::spawn(async move { ingest.run(running).await.unwrap() });
        self.ingest = Some((token, task));
    }

    pub(crate) async fn ready(&self) {
        let ready = async {
            while !self.ops.is_ready() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("ingest never became ready");
    }

    /// Starts the ingest with `control` as its control nodes, and does not wait until it has a grant.
    pub(crate) async fn start_ingest_under(&mut self, control: String) {
        self.config.control = vec![control];
        self.launch_ingest().await;
    }

    /// Shuts only the ingest down, cleanly; returns how long it took.
    pub(crate) async fn stop_ingest(&mut self) -> std::time::Duration {
        let clock = node::clock::Clock::new();
        let (token, task) = self.ingest.take().unwrap();
        token.cancel();
        task.await.unwrap();
        clock.elapsed()
    }

    /// Stops the broker, with all that it had in memory.
    pub(crate) async fn stop_broker(&mut self) {
        let (token, task) = self.broker_task.take().unwrap();
        token.cancel();
        task.await.unwrap();
    }

    /// Starts an empty broker at the same address.
    pub(crate) async fn start_broker(&mut self) {
        let (_, task) = broker(self.broker).await;
        self.broker_task = Some(task);
    }

    pub(crate) async fn stop(mut self) {
        if self.ingest.is_some() {
            self.stop_ingest().await;
        }
        self.shutdown.cancel();
        self.stop_broker().await;
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    pub(crate) async fn session(&self, state: SessionState) -> SessionInfo {
        self.session_where(&format!("{state:?}"), |session| session.state == state).await
    }

    /// All session messages of the stream, in order.
    /// Has control write a row into the metadata log.
    pub(crate) async fn write(&self, body: metadata::Body) {
        self.control.granter.get().unwrap().write(body).await.unwrap();
    }

    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        self.sessions.borrow().clone()
    }

    /// Waits until `holds` is true for the newest session, and returns it.
    pub(crate) async fn session_where(&self, what: &str, holds: impl Fn(&SessionInfo) -> bool) -> SessionInfo {
        let mut sessions = self.sessions.clone();
        let found = sessions.wait_for(|seen| seen.last().is_some_and(&holds));
        let found = tokio::time::timeout(std::time::Duration::from_secs(30), found).await;
        found.unwrap_or_else(|_| panic!("stream never became {what}")).unwrap().last().unwrap().clone()
    }

    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while !holds() {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), wait)
            .await
            .unwrap_or_else(|_| panic!("in vain: {what}"));
    }

    /// Connections refused for `reason`, in this process.
    pub(crate) async fn refused(&self, reason: &str) -> u64 {
        self.counted(&format!("ingest_refused_total{{reason=\"{reason}\"}}")).await
    }

    /// A counter with its labels, of this process.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let request = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let response = self.ops.router().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0)
    }

    /// What `/status` shows of a node.
    pub(crate) async fn status(&self, node: &str) -> serde_json::Value {
        let request = axum::http::Request::get("/status").body(axum::body::Body::empty()).unwrap();
        let response = self.ops.router().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["nodes"][node].clone()
    }

    /// Has another ingest announce a session of the stream, and nothing else.
    pub(crate) async fn say_session(&self, session: &SessionInfo) {
        let context = self.context(session.ingest.as_str(), Role::Ingest).await;
        let topic = context.prefix.name(&Topic::Session(session.stream.clone()));
        let payload = serde_json::to_vec(session).unwrap().into();
        context.bus.publish(bus::Message { topic, payload, retain: true }).await.unwrap();
    }

    /// Waits until at least `count` connections were refused for `reason`.
    pub(crate) async fn eventually_refused(&self, reason: &str, count: u64) {
        self.eventually_counted(&format!("ingest_refused_total{{reason=\"{reason}\"}}"), count).await;
    }

    /// Waits until a counter has reached `count`.
    pub(crate) async fn eventually_counted(&self, name: &str, count: u64) {
        let wait = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while self.counted(name).await < count {
                ticks.tick().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), wait).await;
        assert!(waited.is_ok(), "{name} was not counted");
    }

    /// An identity from the cluster's authority, with which a client can see a server's certificate.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.identity_of(name, Role::Broadcast)
    }

    pub(crate) fn identity_of(&self, name: &str, role: Role) -> Identity {
        let paths = self.authority.issue(&name.parse().unwrap(), role, &[]).unwrap();
        Identity::load(&paths).unwrap()
    }

    /// Replaces the certificate of the ingest.
    pub(crate) fn renew_certificate(&self) {
        let id: NodeId = "i1".parse().unwrap();
        self.authority.issue_anew(&self.file("certs"), &id, Some(Role::Ingest), &[]).unwrap();
    }

    pub(crate) fn url(&self, application: &str, key: &str) -> String {
        format!("rtmp://{}/{application}/{key}", self.rtmp)
    }

    /// Starts ffmpeg, which publishes a test picture and a tone.
    pub(crate) fn publish(&self, url: &str, seconds: u32) -> Publisher {
        self.publish_with(url, seconds, &["-g", "60"])
    }

    pub(crate) fn publish_with(&self, url: &str, seconds: u32, video: &[&str]) -> Publisher {
        let child = tokio::process::Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "warning", "-re", "-f", "lavfi"])
            .args(["-i", "testsrc2=size=320x180:rate=30", "-re", "-f", "lavfi", "-i", "sine=1000:sample_rate=48000"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"])
            .args(video)
            .args(["-c:a", "aac", "-ac", "2", "-t", &seconds.to_string(), "-f", "flv", url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Publisher { child }
    }

    /// Waits until `holds` is true for the stream's entry in `/status`, and returns it.
    pub(crate) async fn status_where(
        &self,
        what: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut newest = serde_json::Value::Null;
        let waited = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
            loop {
                ticks.tick().await;
                let request = axum::http::Request::get("/status").body(axum::body::Body::empty()).unwrap();
                let answer = tower::ServiceExt::oneshot(self.ops.router(), request).await.unwrap();
                let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
                let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
                newest = find(&status, "demo").cloned().unwrap_or_default();
                if holds(&newest) {
                    break;
                }
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(60), waited).await;
        assert!(in_time.is_ok(), "waited in vain for {what}: {newest}");
        newest
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

pub(crate) struct Publisher {
    pub(crate) child: tokio::process::Child,
}

impl Publisher {
    pub(crate) async fn end(self) -> Output {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), self.child.wait_with_output()).await;
        ended.expect("ffmpeg did not end").unwrap()
    }
}

fn find<'a>(value: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.values().find_map(|inner| find(inner, name)))
}

async fn broker(listen: SocketAddr) -> (SocketAddr, (CancellationToken, JoinHandle<()>)) {
    let nodes = ["b1", "b2", "b3", "b4"].map(|name| (name, Access::Broadcast));
    let users = [("i1", Access::Ingest), ("i2", Access::Ingest), ("c1", Access::Control)].into_iter().chain(nodes);
    let users = users.map(|(name, access)| User { name: name.into(), password: "secret".into(), access });
    let config = bus::broker::Config { listen, users: users.collect(), ..Default::default() };
    let broker = EmbeddedBroker::load(config).await.unwrap();
    let (address, token) = (broker.address(), CancellationToken::new());
    let running = token.clone();
    (address, (token, tokio::spawn(async move { broker.run(running).await.unwrap() })))
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
