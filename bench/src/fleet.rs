//! Broadcast nodes in processes of their own around one broker, and the code that pushes a synthetic stream to its owners.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::Message;
use bus::broker;
use media::{NodeId, SessionId, StreamId};
use messages::{SessionInfo, SessionState, Topic};
use node::clock::Clock;
use node::ops::Ops;
use node::{CancellationToken, Context, Role, tls};
use serde_json::Value;

use crate::blocked::{Addresses, Idle};
use crate::log::{Author, Row};
use crate::role::{Orders, PASSWORD, cpu_seconds};
use granter::Granter;

/// Longest wait for a node to start and to list media.
const WAIT_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A broadcast node in a process of its own.
pub(crate) struct Node {
    name: String,
    child: Idle,
    pub(crate) addresses: Addresses,
}

/// The nodes, and a stream of one rendition.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    owners: usize,
    pub(crate) viewers: rustls::ClientConfig,
    pushes: reqwest::Client,
    clock: Clock,
    pub(crate) author: Author,
    buses: Vec<Context>,
    granter: Granter,
    _shutdown: tokio_util::sync::DropGuard,
}

impl Node {
    /// The node's entry in `/status` of its ops plane.
    pub(crate) async fn status(&self) -> anyhow::Result<Value> {
        let status = reqwest::Client::new().get(format!("http://{}/status", self.addresses.ops)).send().await?;
        let mut status: Value = serde_json::from_slice(&status.bytes().await?)?;
        Ok(status["nodes"][&self.name].take())
    }

    /// Process id of the node.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// CPU time of the node since its start, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.child.pid())
    }
}

impl Fleet {
    /// Starts `count` nodes, of which the first `owners` own the stream, and pushes its first segments.
    pub(crate) async fn start(
        directory: &Path,
        (count, owners): (usize, usize),
        part_bytes: usize,
        segments: usize,
    ) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=count).map(|number| format!("b{number}")).collect();
        let children: anyhow::Result<Vec<Idle>> = names.iter().map(|_| Idle::spawn()).collect();
        let clock = Clock::new();
        let author = Author::new(1, part_bytes, clock.wall())?;
        std::fs::write(directory.join("root.pub"), author.root.public_key_bytes())?;
        let authority = tls::Authority::ensure(&directory.join("certs"), &clock)?;
        let user = |name: &str, access| broker::User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let nodes = names.iter().map(|name| user(name, broker::Access::Broadcast));
        let others = [user("control", broker::Access::Control), user("ingest", broker::Access::Ingest)];
        let config = broker::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            users: nodes.chain(others).collect(),
            ..broker::Config::default()
        };
        let broker = broker::EmbeddedBroker::load(config).await?;
        let address = broker.address();
        let orders = |name: &str, role| {
            let identity = authority.issue(&NodeId::new(name)?, role, &[])?;
            anyhow::Ok(Orders {
                name: name.to_owned(),
                directory: directory.to_owned(),
                broker: address,
                identity,
                attacked: None,
            })
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(broker.run(shutdown.clone()));
        let control = orders("control", Role::Control)?.context(Role::Control, &Ops::new(), &shutdown).await?;
        let granter = Granter::start(&control, &author.root, &shutdown).await?;
        granter.grant(author.grant.clone()).await?;
        let to_ingest = orders("ingest", Role::Ingest)?;
        let ingest = to_ingest.context(Role::Ingest, &Ops::new(), &shutdown).await?;
        let session = session(&author.stream, names.get(..owners).context("more owners than nodes")?, &clock)?;
        say(&ingest, &Topic::Session(author.stream.clone()), serde_json::to_vec(&session)?.into()).await?;

        let mut nodes = Vec::with_capacity(count);
        for (name, mut child) in names.into_iter().zip(children?) {
            let addresses = child.begin(&orders(&name, Role::Broadcast)?).await?;
            nodes.push(Node { name, child, addresses });
        }
        let identity = tls::Identity::load(&to_ingest.identity)?;
        let mut viewers = identity.client(tls::Server::Any(Role::Broadcast));
        viewers.alpn_protocols = vec![b"h2".to_vec()];
        let (pushes, buses) = (identity.http_client(tls::Server::Any(Role::Broadcast))?, vec![control, ingest]);
        let guard = shutdown.drop_guard();
        let mut fleet = Self { nodes, owners, viewers, pushes, clock, author, buses, granter, _shutdown: guard };
        for _ in 0..segments * 8 {
            fleet.push_row().await?;
        }
        for node in fleet.nodes.iter().take(owners) {
            wait("the stream is listed", async || Ok(node.status().await?["streams"][0]["sequence"].is_u64())).await?;
        }
        Ok(fleet)
    }

    /// Pushes the next row to all owners, and publishes its seal on the bus.
    pub(crate) async fn push_row(&mut self) -> anyhow::Result<()> {
        let row = self.author.next(self.clock.wall())?;
        for node in self.nodes.iter().take(self.owners) {
            self.push(node, &row).await?;
        }
        let ingest = self.buses.last().context("there are two")?;
        let topic = ingest.prefix.name(&Topic::Seals(self.author.stream.clone()));
        ingest.bus.publish(Message { topic, payload: row.sealed.raw().clone(), retain: false }).await?;
        Ok(())
    }

    /// Waits until all owners list the row of this sequence number.
    pub(crate) async fn wait_for_sequence(&self, sequence: u64) -> anyhow::Result<()> {
        for node in self.nodes.iter().take(self.owners) {
            let is_listed = async || Ok(node.status().await?["streams"][0]["sequence"] == sequence);
            wait("the newest row is listed", is_listed).await?;
        }
        Ok(())
    }

    /// Writes a row of the metadata log, and waits until the first node answers `path`.
    pub(crate) async fn write(&self, row: metadata::Body, path: &str) -> anyhow::Result<()> {
        self.granter.write(row).await?;
        let node = self.nodes.first().context("there is one node")?;
        let client = reqwest::Client::builder().use_preconfigured_tls(self.viewers.clone()).build()?;
        let url = format!("https://localhost:{}{path}", node.addresses.https.port());
        wait("the node takes the row", async || Ok(client.get(&url).send().await?.status().is_success())).await
    }

    async fn push(&self, node: &Node, row: &Row) -> anyhow::Result<()> {
        let seal = (format!("/live/{}/seals", self.author.stream), row.sealed.raw().clone());
        let objects = row.objects.iter().map(|(name, bytes)| (name.to_string(), bytes.clone()));
        for (path, bytes) in objects.chain([seal]) {
            let answer = self.pushes.put(format!("https://{}{path}", node.addresses.data)).body(bytes).send().await?;
            ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        }
        Ok(())
    }
}

fn session(stream: &StreamId, owners: &[String], clock: &Clock) -> anyhow::Result<SessionInfo> {
    let owners: Result<Vec<NodeId>, _> = owners.iter().map(|name| NodeId::new(name)).collect();
    Ok(SessionInfo {
        stream: stream.clone(),
        epoch: media::Epoch(1),
        session: SessionId([7; 16]),
        ingest: NodeId::new("ingest")?,
        state: SessionState::Live,
        started_at: clock.wall(),
        ladder: Vec::new(),
        owners: owners?,
        replicas: 2,
    })
}

async fn say(who: &Context, topic: &Topic, payload: bytes::Bytes) -> anyhow::Result<()> {
    who.bus.publish(Message { topic: who.prefix.name(topic), payload, retain: true }).await?;
    Ok(())
}

/// Waits until a condition holds.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn wait(what: &str, holds: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds().await? {
        ensure!(began.elapsed() < WAIT_MAX, "in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
