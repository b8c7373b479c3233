//! The metadata log: how soon an entry is on all nodes, and how soon a new node has a large log. One process holds control, a broker
//! and the nodes, each with its own replica on disk; they speak over MQTT and mutual TLS as in a cluster. There is no named peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bus::broker::{Access, EmbeddedBroker, User};
use media::{ClusterId, NodeId, StreamId};
use messages::Role;
use metadata::{Body, Edit, EntrySequence, NodePolicy, RowId, StreamSettings, View};
use node::cluster_view::ClusterView;
use node::ops::Ops;
use node::tls::Authority;
use node::{CancellationToken, http};
use replica::{ControlIdentity, Log, Peers, Writer};
use seal::RootKey;

use crate::{Figure, percentile};

/// Nodes that follow the log.
const NODES: usize = 5;
/// Entries of one row each, written one after the other.
const ENTRIES: usize = 300;
/// Rows of the large log: as many streams as a log may have.
const ROWS: usize = 100_000;
/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(120);
const PASSWORD: &str = "for-this-test-only";

pub(crate) fn measure() -> Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn run() -> Result<Vec<Figure>> {
    let cluster = Cluster::start().await?;
    let (writer, control) = cluster.control().await?;
    let mut logs = Vec::new();
    for n in 1..=NODES {
        logs.push(cluster.follower(&format!("b{n}"), &control).await?);
    }
    let first = writer.write(|view| vec![drained(&view, false)]).await?;
    all_have(&logs, first).await?;

    let mut delays = Vec::with_capacity(ENTRIES);
    for n in 0..ENTRIES {
        let began = Instant::now();
        let entry = writer.write(|view| vec![drained(&view, n % 2 == 0)]).await?;
        all_have(&logs, entry).await?;
        delays.push(began.elapsed().as_secs_f64() * 1e3);
    }

    let began = Instant::now();
    let newest = writer.write(|_| (0..ROWS).map(stream).collect()).await?;
    let written = began.elapsed().as_secs_f64();
    all_have(&logs, newest).await?;
    let followed = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let new = cluster.follower("b9", &control).await?;
    all_have(std::slice::from_ref(&new), newest).await?;
    let caught_up = began.elapsed().as_secs_f64();
    ensure!(new.state() == writer.log().state(), "the new replica has other rows");
    let rows = new.standing().rows;

    let milliseconds = |share: f64| percentile(delays.clone(), share);
    let figure = |what: String, ours: String, bound| Figure { what, ours, peer: "-".to_owned(), ratio: None, bound };
    Ok(vec![
        figure(
            format!("metadata log: {NODES} nodes have an entry, p99 of {ENTRIES}"),
            format!("{:.0} ms (median {:.0})", milliseconds(0.99), milliseconds(0.5)),
            "<= 500 ms",
        ),
        figure(
            format!("metadata log: a new node has {rows} rows"),
            format!(
                "{caught_up:.1} s (control wrote them in {written:.1} s, the other nodes had them after {followed:.1} s)"
            ),
            "<= 10 s",
        ),
    ])
}

/// Waits until replicas have an entry.
async fn all_have(logs: &[Arc<Log>], entry: EntrySequence) -> Result<()> {
    for log in logs {
        let mut changes = log.changes();
        let has_it = async { while log.standing().sequence < entry.0 && changes.changed().await.is_ok() {} };
        let waited = tokio::time::timeout(WAIT_MAX, has_it).await;
        waited.with_context(|| format!("entry {entry} did not come: {:?}", log.standing()))?;
    }
    Ok(())
}

fn drained(view: &View<'_>, is_drained: bool) -> Edit {
    let body = Body::Policy(NodePolicy { node: node("b1"), is_drained, weight_percent: 100 });
    let id = view.row_id(body.kind(), "b1").unwrap_or(RowId([1; 16]));
    Edit { id, kind: body.kind(), body: Some(body), salt: [1; 16] }
}

fn stream(n: usize) -> Edit {
    let name = StreamId::new(&format!("stream-{n}")).expect("letters, digits and a hyphen");
    let body = Body::Stream(StreamSettings {
        name,
        pool: "default".to_owned(),
        key_macs: Vec::new(),
        visibility: metadata::Visibility::Public,
        title: format!("The title of stream {n}, as people write it"),
        pages: metadata::PageSettings::default(),
        tenant: None,
    });
    let digest = seal::digest(&n.to_be_bytes());
    let id = RowId(*digest.0.first_chunk().expect("32 bytes have 16"));
    Edit { id, kind: body.kind(), body: Some(body), salt: id.0 }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a short name")
}

/// A broker and an authority.
struct Cluster {
    directory: tempfile::TempDir,
    authority: Authority,
    broker: SocketAddr,
    root: RootKey,
    /// Ends everything when this is dropped.
    end: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Cluster {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new())?;
        std::fs::write(directory.path().join("password"), PASSWORD)?;
        let user = |name: &str, access| User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let users = [user("c1", Access::Control), user("b9", Access::Broadcast)];
        let nodes = (1..=NODES).map(|n| user(&format!("b{n}"), Access::Broadcast));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let users = users.into_iter().chain(nodes).collect();
        let broker =
            EmbeddedBroker::load(bus::broker::Config { listen, users, ..bus::broker::Config::default() }).await?;
        let (address, end) = (broker.address(), CancellationToken::new());
        tokio::spawn(broker.run(end.clone()));
        Ok(Self { directory, authority, broker: address, root: RootKey::generate()?, end })
    }

    async fn context(&self, name: &str, role: Role) -> Result<node::Context> {
        let bus = bus::Config {
            urls: vec![format!("mqtt://{}", self.broker)],
            username: Some(name.to_owned()),
            password_file: Some(self.directory.path().join("password")),
            ..bus::Config::default()
        };
        let setup = node::Setup {
            id: node(name),
            role,
            cluster: ClusterId::new("bench")?,
            data: self.directory.path().join(name),
            bus,
            identity: self.authority.issue(&node(name), role, &[])?,
            ops: Ops::new(),
        };
        setup.start(self.end.clone()).await
    }

    async fn log(&self, context: &node::Context) -> Result<Arc<Log>> {
        Log::open(&context.data.join("metadata.db"), context, self.root.public_key()?).await
    }

    /// Control: writes the log, and answers nodes that ask. Returns its base URL, too.
    async fn control(&self) -> Result<(Arc<Writer>, String)> {
        let context = self.context("c1", Role::Control).await?;
        let log = self.log(&context).await?;
        let identity =
            ControlIdentity { key_file: &context.data.join("metadata.key"), root: Some(&self.root), ledger: None };
        let writer = Arc::new(Writer::open(Arc::clone(&log), &context, identity).await?);
        let listener = acceptor::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "control").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let (routes, end) = (replica::router(log), self.end.clone());
        let tls = context.identity.server_mutual();
        tokio::spawn(http::serve_tls(listener, tls, routes, http::Limits::default(), end.clone()));
        let heads = Arc::clone(&writer);
        tokio::spawn(async move { heads.run(&end).await });
        Ok((writer, url))
    }

    async fn follower(&self, name: &str, control: &str) -> Result<Arc<Log>> {
        let context = self.context(name, Role::Broadcast).await?;
        let log = self.log(&context).await?;
        let view = ClusterView::new(context.clock);
        let peers = Peers::new(&context, view, &[control.to_owned()])?;
        tokio::spawn(replica::keep_up(Arc::clone(&log), context, peers, self.end.clone()));
        Ok(log)
    }
}
