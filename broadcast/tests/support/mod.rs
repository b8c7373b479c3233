//! A zone in one process: an MQTT broker, an authority, broadcast nodes and an ingest, over real sockets.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "helpers of tests, not all used in each")]

pub mod viewer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadcast::{Broadcast, Config};
use bus::Message;
use bus::broker;
use bytes::Bytes;
use granter::Granter;
use http::StatusCode;
use media::{NodeId, ObjectName, RenditionId, SessionId, StreamId, UnixMillis};
use messages::{Alert, AlertReason, NodeState, Presence, Role, SessionInfo, SessionState, Topic};
use node::clock::Clock;
use node::ops::Ops;
use node::{CancellationToken, Context, Setup, tls};
use seal::{Grant, SealingKey};
use testkit::studio::{Authority, Row, Studio, cluster, node};
use tokio::task::JoinHandle;
use viewer::Viewer;

/// Longest wait for any condition here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if holds().await {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

/// Broker, authorities and directories.
pub struct Zone {
    pub directory: tempfile::TempDir,
    pub authority: Authority,
    pub clock: Clock,
    pub ops: Arc<Ops>,
    pub alerts: Arc<Mutex<Vec<Alert>>>,
    certificates: tls::Authority,
    broker: SocketAddr,
    shutdown: CancellationToken,
    root_key: PathBuf,
    /// The control node.
    pub control: Context,
    /// Its metadata log, which grants keys.
    pub granter: Granter,
}

/// Names that may log in to the broker.
const USERS: [(&str, broker::Access); 8] = [
    ("b1", broker::Access::Broadcast),
    ("b2", broker::Access::Broadcast),
    ("b3", broker::Access::Broadcast),
    ("evil", broker::Access::Broadcast),
    ("i1", broker::Access::Ingest),
    ("i2", broker::Access::Ingest),
    ("i3", broker::Access::Ingest),
    ("c1", broker::Access::Control),
];

impl Zone {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let certificates = tls::Authority::ensure(&directory.path().join("certs"), &clock).unwrap();
        let user = |(name, access): &(&str, broker::Access)| broker::User {
            name: (*name).to_owned(),
            password: format!("password of {name}"),
            access: *access,
        };
        let config = broker::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            users: USERS.iter().map(user).collect(),
            ..broker::Config::default()
        };
        let broker = broker::EmbeddedBroker::load(config).await.unwrap();
        let address = broker.address();
        let shutdown = CancellationToken::new();
        tokio::spawn(broker.run(shutdown.clone()));
        let authority = Authority::new();
        let root_key = directory.path().join("root.pub");
        std::fs::write(&root_key, authority.root.public_key().unwrap().as_bytes()).unwrap();
        let ops = Ops::new();
        let control = context(directory.path(), &certificates, &ops, address, "c1", Role::Control, &shutdown).await;
        let granter = Granter::start(&control, &authority.root, &shutdown.child_token()).await.unwrap();
        let alerts = Arc::<Mutex<Vec<Alert>>>::default();
        let mut heard = control.bus.subscribe(&control.prefix.filter("alerts")).await.unwrap();
        let list = alerts.clone();
        tokio::spawn(async move {
            while let Some(message) = heard.recv().await {
                list.lock().unwrap().push(serde_json::from_slice(&message.payload).unwrap());
            }
        });
        Self {
            directory,
            authority,
            clock,
            ops,
            alerts,
            certificates,
            broker: address,
            shutdown,
            root_key,
            control,
            granter,
        }
    }

    pub fn now(&self) -> UnixMillis {
        self.clock.wall()
    }

    async fn context(&self, name: &str, role: Role, shutdown: &CancellationToken) -> Context {
        context(self.directory.path(), &self.certificates, &self.ops, self.broker, name, role, shutdown).await
    }

    /// A broadcast node with the directory of its name.
    pub async fn node(&self, name: &str) -> Node {
        self.node_with(name, |_| {}).await
    }

    /// As [`Zone::node`], with another configuration.
    pub async fn node_with(&self, name: &str, configure: impl FnOnce(&mut Config)) -> Node {
        let bus_shutdown = self.shutdown.child_token();
        let context = self.context(name, Role::Broadcast, &bus_shutdown).await;
        let client = context.identity.http_client(tls::Server::Any(Role::Broadcast)).unwrap();
        let mut config = Config { root_key: self.root_key.clone(), ..Config::default() };
        configure(&mut config);
        let broadcast = Broadcast::load(config, context).await.unwrap();
        let https = format!("https://{}", broadcast.https_address());
        let data = format!("https://{}", broadcast.data_address());
        let shutdown = self.shutdown.child_token();
        let task = tokio::spawn(broadcast.run(shutdown.clone()));
        let ops = self.ops.clone();
        let node = Node { id: node(name), https, data, client, ops, shutdown, bus_shutdown, task };
        eventually("the node serves", async || node.get("/api/v1/streams").await.0 == StatusCode::OK).await;
        node
    }

    /// Viewers of a node, each with connections of its own: HTTP/1.1 and HTTP/2.
    pub async fn viewers(&self, node: &Node) -> [Viewer; 2] {
        let identity = &self.control.identity;
        [&b"http/1.1"[..], b"h2"].map(|protocol| Viewer::new(identity, protocol, node))
    }

    /// An ingest, whose key is granted.
    pub async fn ingest(&self, name: &str, studio: &Studio) -> Ingest {
        self.ingest_of(name, studio, &[]).await
    }

    /// As [`Zone::ingest`], for a stream that nodes of these names own.
    pub async fn ingest_of(&self, name: &str, studio: &Studio, owners: &[NodeId]) -> Ingest {
        let context = self.context(name, Role::Ingest, &self.shutdown).await;
        let client = context.identity.http_client(tls::Server::Any(Role::Broadcast)).unwrap();
        self.grant(name, studio).await;
        let ingest = Ingest { context, client };
        ingest.announce_to(studio, owners).await;
        ingest
    }

    /// As [`Zone::ingest`], for a stream that these nodes own.
    pub async fn ingest_owned(&self, name: &str, studio: &Studio, owners: &[&Node]) -> Ingest {
        let owners: Vec<NodeId> = owners.iter().map(|node| node.id.clone()).collect();
        self.ingest_of(name, studio, &owners).await
    }

    /// Grants a node the stream of a studio: with the studio's key, or with another one if that is another node's.
    pub async fn grant(&self, name: &str, studio: &Studio) {
        use seal::Signer as _;
        let holder = self.granter.log().look(|view| Some(view.any_grant(&studio.key.key_id())?.node.clone()));
        let another = SealingKey::generate().unwrap();
        let key = if holder.is_some_and(|holder| holder != node(name)) { &another } else { &studio.key };
        self.granter.grant(self.statement(name, key, studio)).await.unwrap();
    }

    /// A grant of a studio's stream.
    pub fn statement(&self, name: &str, key: &SealingKey, studio: &Studio) -> Grant {
        Granter::statement(&node(name), key, vec![studio.stream.clone()], self.now())
    }

    pub async fn publish(&self, who: &Context, topic: &Topic, payload: Bytes, retain: bool) {
        let topic = who.prefix.name(topic);
        who.bus.publish(Message { topic, payload, retain }).await.unwrap();
    }

    /// A node that the test plays: it announces on the bus that its data plane is at `data`.
    pub async fn stranger(&self, name: &str, data: String) -> Context {
        let context = self.context(name, Role::Broadcast, &self.shutdown).await;
        let presence = Presence {
            node: context.id.clone(),
            role: Role::Broadcast,
            state: NodeState::Online,
            at: self.now(),
            started_at: self.now(),
            https: None,
            data: Some(data),
            public: None,
            load: messages::Load::default(),
            streams: vec![],
            edges: vec![],
            tenants: vec![],
        };
        let topic = context.prefix.name(&Topic::Node(context.id.clone()));
        let bus = context.bus.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let payload = serde_json::to_vec(&presence).unwrap().into();
                if bus.publish(Message { topic: topic.clone(), payload, retain: false }).await.is_err() {
                    return;
                }
            }
        });
        context
    }

    /// Identity of an ingest, to serve with.
    pub async fn ingest_identity(&self, name: &str) -> Arc<tls::Identity> {
        self.context(name, Role::Ingest, &self.shutdown.child_token()).await.identity
    }

    /// Begins the metadata log: control, and each node that has an identity, is a member, but no load balancer.
    pub async fn begin_log(&self, nodes: &[(&Context, Role)]) {
        for (context, role) in nodes.iter().chain([&(&self.control, Role::Control)]) {
            self.add_member(&context.identity, *role).await;
        }
        let cluster = metadata::Cluster { part_target_ms: 500, target_duration_s: 4, level: 1, grant_hours: 24 };
        self.granter.write(metadata::Body::Cluster(cluster)).await.unwrap();
    }

    /// Makes a node a member.
    pub async fn add_member(&self, identity: &tls::Identity, role: Role) {
        let spki = vec![tls::spki_of(&identity.certificate()).unwrap()];
        let member =
            metadata::Member { node: identity.node().clone(), role, is_guest: false, spki, public_url: None, level: 1 };
        self.granter.write(metadata::Body::Member(member)).await.unwrap();
    }

    /// Identity of a load balancer.
    pub fn balancer_identity(&self) -> tls::Identity {
        self.issued("lb", Role::LoadBalancer)
    }

    /// Identity of a node that need not run.
    pub fn issued(&self, name: &str, role: Role) -> tls::Identity {
        tls::Identity::load(&self.certificates.issue(&node(name), role, &[]).unwrap()).unwrap()
    }

    /// Identity of a node, to serve with.
    pub async fn identity(&self, name: &str) -> Arc<tls::Identity> {
        self.context(name, Role::Broadcast, &self.shutdown.child_token()).await.identity
    }

    /// Whether a node has given an alert for a reason.
    pub fn has_alerted(&self, by: &Node, reason: AlertReason) -> bool {
        self.alerts.lock().unwrap().iter().any(|alert| alert.node == by.id && alert.reason == reason)
    }

    /// Waits until a node has given an alert for a reason.
    pub async fn alerted(&self, by: &Node, reason: AlertReason) {
        let what = format!("alert {}", reason.label());
        eventually(&what, async || self.has_alerted(by, reason)).await;
        let metrics = self.metrics().await;
        let label = format!("reason=\"{}\"", reason.label());
        let counted = metrics.lines().any(|line| line.starts_with("broadcast_refusals_total") && line.contains(&label));
        assert!(counted, "{what} is not counted");
    }

    pub async fn metrics(&self) -> String {
        ops(&self.ops, "/metrics").await
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn ops(ops: &Arc<Ops>, path: &str) -> String {
    use tower::ServiceExt as _;
    let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
    let response = ops.router().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 16 * 1024 * 1024).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json(all: &Arc<Ops>, path: &str) -> serde_json::Value {
    serde_json::from_str(&ops(all, path).await).unwrap()
}

async fn context(
    directory: &Path,
    certificates: &tls::Authority,
    ops: &Arc<Ops>,
    broker: SocketAddr,
    name: &str,
    role: Role,
    shutdown: &CancellationToken,
) -> Context {
    let password_file = directory.join(format!("{name}.password"));
    std::fs::write(&password_file, format!("password of {name}")).unwrap();
    let bus = bus::Config {
        urls: vec![format!("mqtt://{broker}")],
        username: Some(name.to_owned()),
        password_file: Some(password_file),
        ..bus::Config::default()
    };
    let id = node(name);
    let identity = certificates.issue(&id, role, &[]).unwrap();
    let data = directory.join(name);
    let setup = Setup { id, role, cluster: cluster(), data, bus, identity, ops: ops.clone() };
    setup.start(shutdown.clone()).await.unwrap()
}

/// A running broadcast node.
pub struct Node {
    pub id: NodeId,
    pub https: String,
    pub data: String,
    pub client: reqwest::Client,
    ops: Arc<Ops>,
    shutdown: CancellationToken,
    bus_shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    pub async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let Ok(response) = self.client.get(format!("{}{path}", self.https)).send().await else {
            return (StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
        };
        let status = response.status();
        (status, response.bytes().await.unwrap())
    }

    pub async fn playlist(&self, stream: &StreamId, rendition: &str) -> Option<String> {
        let (status, text) = self.get(&format!("/live/{stream}/{rendition}/index.m3u8")).await;
        (status == StatusCode::OK).then(|| String::from_utf8(text.to_vec()).unwrap())
    }

    /// What `/status` says of this node.
    pub async fn status(&self) -> serde_json::Value {
        json(&self.ops, "/status").await["nodes"][self.id.as_str()].take()
    }

    /// Waits until the node has all of the metadata log that `zone` has.
    pub async fn knows_the_log_of(&self, zone: &Zone) {
        let sequence = zone.granter.log().standing().sequence;
        eventually("the log is here", async || self.status().await["metadata"]["sequence"].as_u64() >= Some(sequence))
            .await;
    }

    /// Waits until so many requests wait on this node.
    pub async fn waiting(&self, requests: usize) {
        let id = self.id.to_string();
        eventually(&format!("{requests} requests wait"), async || {
            json(&self.ops, "/status").await["nodes"][&id]["waiting"] == requests
        })
        .await;
    }

    /// Waits until a row is admitted here.
    pub async fn admitted(&self, row: &Row) {
        let body = row.sealed.body();
        let sequence = Some(body.sequence.0);
        eventually("the row is admitted", async || self.sequence(&body.stream).await >= sequence).await;
    }

    /// Refusals of a stream, by reason.
    pub async fn refused(&self, stream: &StreamId) -> BTreeMap<String, u64> {
        let (status, text) = self.get(&format!("/api/v1/streams/{stream}")).await;
        assert_eq!(status, StatusCode::OK);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        serde_json::from_value(json["verified"]["refused"].clone()).unwrap()
    }

    pub async fn sequence(&self, stream: &StreamId) -> Option<u64> {
        let (status, text) = self.get(&format!("/api/v1/streams/{stream}")).await;
        let json: serde_json::Value = serde_json::from_slice(&text).ok().filter(|_| status == StatusCode::OK)?;
        json["verified"]["sequence"].as_u64()
    }

    /// Ends the node as Ctrl-C does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
        self.bus_shutdown.cancel();
    }
}

/// An ingest that pushes.
pub struct Ingest {
    pub context: Context,
    pub client: reqwest::Client,
}

impl Ingest {
    /// Announces who owns the stream; with nobody named, every node does.
    pub async fn announce(&self, studio: &Studio, owners: &[&Node]) {
        let owners: Vec<NodeId> = owners.iter().map(|node| node.id.clone()).collect();
        self.announce_to(studio, &owners).await;
    }

    async fn announce_to(&self, studio: &Studio, owners: &[NodeId]) {
        let session = SessionInfo {
            stream: studio.stream.clone(),
            epoch: studio.epoch(),
            session: SessionId([0; 16]),
            ingest: self.context.id.clone(),
            state: SessionState::Live,
            started_at: self.context.clock.wall(),
            ladder: vec![],
            owners: owners.to_vec(),
            replicas: 2,
        };
        let payload = serde_json::to_vec(&session).unwrap().into();
        self.publish_raw(&Topic::Session(studio.stream.clone()), payload, true).await;
    }

    pub async fn put(&self, node: &Node, name: &ObjectName, bytes: &Bytes) -> StatusCode {
        self.put_at(node, &name.to_string(), bytes).await
    }

    pub async fn put_at(&self, node: &Node, path: &str, bytes: &Bytes) -> StatusCode {
        let request = self.client.put(format!("{}{path}", node.data)).body(bytes.clone());
        request.send().await.map_or(StatusCode::SERVICE_UNAVAILABLE, |response| response.status())
    }

    pub async fn put_objects(&self, nodes: &[&Node], row: &Row) {
        for node in nodes {
            for (name, bytes) in &row.objects {
                let status = self.put(node, name, bytes).await;
                assert!(status.is_success(), "{name}: {status}");
            }
        }
    }

    pub async fn publish_seal(&self, row: &Row) {
        let stream = row.sealed.body().stream.clone();
        self.publish_raw(&Topic::Seals(stream.clone()), row.sealed.raw().clone(), false).await;
        self.publish_raw(&Topic::Head(stream), row.sealed.raw().clone(), true).await;
    }

    pub async fn publish_raw(&self, topic: &Topic, payload: Bytes, retain: bool) {
        let topic = self.context.prefix.name(topic);
        self.context.bus.publish(Message { topic, payload, retain }).await.unwrap();
    }

    pub async fn push(&self, nodes: &[&Node], row: &Row) {
        self.put_objects(nodes, row).await;
        self.publish_seal(row).await;
    }

    /// Pushes a segment, and waits until all nodes list it and serve the same bytes.
    pub async fn play(&self, nodes: &[&Node], studio: &mut Studio) {
        let rows = studio.segment(self.context.clock.wall());
        for row in &rows {
            self.push(nodes, row).await;
        }
        listed(nodes, studio, &rows).await;
    }
}

/// Waits until the segment that these rows complete is listed and served by all nodes.
pub async fn listed(nodes: &[&Node], studio: &Studio, rows: &[Row]) {
    let last = rows.last().unwrap().sealed.body();
    let segment = last.objects.iter().find(|object| matches!(object.slot, media::Slot::Segment { .. })).unwrap();
    let uri = format!("{}/{}", last.epoch, segment.slot);
    let rendition: &RenditionId = &segment.rendition;
    for node in nodes {
        let what = format!("{} lists {uri}", node.id);
        eventually(&what, async || {
            node.playlist(&studio.stream, rendition.as_str()).await.is_some_and(|text| text.contains(&uri))
        })
        .await;
        let (status, bytes) = node.get(&format!("/live/{}/{rendition}/{uri}", studio.stream)).await;
        assert_eq!((status, testkit::studio::sha256(&bytes)), (StatusCode::OK, segment.digest), "{uri}");
    }
}

/// Asserts that all playlists of these nodes are the same bytes.
pub async fn assert_alike(nodes: &[&Node], studio: &Studio) {
    let mut paths = vec![format!("/live/{}/index.m3u8", studio.stream)];
    for name in &studio.renditions {
        let base = format!("/live/{}/{name}", studio.stream);
        paths.extend([format!("{base}/index.m3u8"), format!("{base}/index.m3u8?_HLS_skip=YES")]);
        paths.extend((name != "audio").then(|| format!("{base}/iframes.m3u8")));
    }
    for path in paths {
        let first = nodes[0].get(&path).await;
        assert_eq!(first.0, StatusCode::OK);
        for other in nodes {
            assert_eq!(other.get(&path).await, first, "{path} of {}", other.id);
        }
    }
}
