//! The control role: the authority of a cluster.
//!
//! Owns the root key, the grants and the revocation list that it signs, the catalogue of streams, and the listener on
//! which ingests ask for grants and operators administer the cluster. Deliberately out of the way of media: while control is down,
//! everything that is granted goes on.

mod authority;
mod certificate;
mod config;
mod log;
mod members;
mod nodes;
mod policy;
mod restored;
mod routes;
mod stream_keys;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Message;
use bytes::Bytes;
use catalogue::{Catalogue, Location};
use media::StreamId;
use messages::{Pepper, Topic};
use node::cluster_view::ClusterView;
use node::{CancellationToken, Redacted};
use replica::{ControlIdentity, Log, Peers, Writer};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::authority::Authority;
use crate::stream_keys::KeyFiles;
use crate::view::View;

pub use config::{Config, StreamConfig};

/// How long control waits, once a broker is there, for the revocation list that the broker retains. It comes with the answer to the
/// subscription, or not at all.
const RETAINED_WAIT_MAX: Duration = Duration::from_millis(500);

/// Pause after the log could not be written.
const LOG_RETRY: Duration = Duration::from_secs(5);

/// A control node that is bound, and serves once it runs.
pub struct Control {
    shared: Arc<ControlState>,
    listener: TcpListener,
    address: SocketAddr,
    ready: node::ops::ReadyFlag,
    /// Keys that the configuration or a file has.
    known_keys: Vec<(StreamId, Redacted<String>)>,
}

/// What all requests share.
struct ControlState {
    node: node::Context,
    catalogue: Catalogue,
    /// The secret under which the catalogue keeps stream keys.
    pepper: Pepper,
    key_files: KeyFiles,
    authority: Authority,
    cluster: ClusterView,
    /// Sessions and input reports of the streams, from the bus.
    view: View,
    /// Writes the metadata log.
    writer: Writer,
    /// Held while the log is brought to what the catalogue says.
    logging: Mutex<()>,
    /// What all nodes have to agree on.
    rules: metadata::Cluster,
    /// Hosts under which nodes may be reached by viewers, besides the names in their certificates.
    public_hosts: Vec<String>,
    /// Files that list members.
    members: Vec<PathBuf>,
    /// Cancelled once the log has what the files say: before that nobody can tell who is a member.
    begun: CancellationToken,
}

impl Control {
    /// Opens the catalogue, reads or makes the root key, brings configured streams into the catalogue, and binds.
    ///
    /// # Errors
    /// When a file cannot be read or written, a configured key is not valid or taken, or the address is taken.
    pub async fn load(config: Config, node: node::Context) -> anyhow::Result<Self> {
        config.check()?;
        node::ops::describe(&[
            ("control_messages_malformed_total", "Messages on the bus that could not be read."),
            ("control_not_admitted_total", "Nodes that said what they are and are no members."),
            ("control_revoked_refused_total", "Requests of revoked nodes, by node."),
        ]);
        let pepper = stream_keys::pepper(&node.data)?;
        let path = node.data.join("catalogue.db");
        let location = config.database.as_ref().map_or(Location::File(&path), |url| Location::Server(url.expose()));
        let opened = Catalogue::open(location, &pepper).await;
        let (catalogue, were_clear) = opened.with_context(|| match location {
            Location::File(path) => format!("catalogue {}", path.display()),
            Location::Server(_) => "catalogue in PostgreSQL (role.control.database)".to_owned(),
        })?;
        let (key_files, now) = (KeyFiles::new(&config.streams), node.clock.wall());
        let configured = (&config.streams[..], &key_files);
        let known = stream_keys::configure((&catalogue, &pepper), configured, &were_clear, now).await?;
        let known_keys = known.into_iter().map(|(name, key)| (name, Redacted::new(key.expose().to_owned()))).collect();
        let authority = Authority::load(&node.data, &node.cluster, config.grant_hours)?;
        let listener = acceptor::bind(config.data_listen, "role.control.data_listen").await?;
        let address = listener.local_addr().context("the data plane has no address")?;
        let ready = node.ops.ready(&format!("{}: serves", node.id));
        let log = Log::open(&node.data.join("metadata.db"), &node, authority.root().public_key()?).await?;
        let identity = ControlIdentity { key_file: &node.data.join("metadata.key"), root: Some(authority.root()) };
        let writer = Writer::open(log, &node, identity).await?;
        let cluster = ClusterView::new(node.clock);
        let shared = Arc::new(ControlState {
            cluster,
            view: View::default(),
            rules: config.rules(),
            public_hosts: config.public_hosts,
            members: config.members,
            begun: CancellationToken::new(),
            node,
            catalogue,
            pepper,
            key_files,
            authority,
            writer,
            logging: Mutex::default(),
        });
        Ok(Self { shared, listener, address, ready, known_keys })
    }

    /// Where ingests and operators connect (mutual TLS).
    pub fn data_address(&self) -> SocketAddr {
        self.address
    }

    /// File of the root public key: every other node's trust anchor.
    pub fn root_public_key_path(&self) -> PathBuf {
        self.shared.authority.root_public_key_path()
    }

    /// The keys that the configuration or a file has. Control knows no others: the catalogue keeps MACs.
    pub fn stream_keys(&self) -> &[(StreamId, Redacted<String>)] {
        &self.known_keys
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the listener fails for good or the bus refuses a subscription.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { shared, listener, address, ready, known_keys: _ } = self;
        let data = format!("https://{address}");
        let parts = move || node::presence::PresenceParts { data: Some(data.clone()), ..Default::default() };
        let presence = node::presence::spawn(&shared.node, parts, shutdown.clone());
        ready.set(true);
        let serve = node::http::serve_tls(
            listener,
            shared.node.identity.server_mutual(),
            routes::router(Arc::clone(&shared)),
            node::http::Limits::default(),
            shutdown.clone(),
        );
        let follow = view::follow(Arc::clone(&shared), shutdown.clone());
        let publish = shared.publish_standing(&shutdown);
        let log = shared.writer.log();
        let status = Arc::clone(log);
        shared.node.ops.status(
            shared.node.id.as_str(),
            move || serde_json::json!({ "role": "control", "metadata": status.standing() }),
        );
        let peers = Peers::new(&shared.node, shared.cluster.clone(), &[])?;
        let keep_up = replica::keep_up(Arc::clone(log), shared.node.clone(), peers, shutdown.clone());
        let (write, begin) = (shared.writer.run(&shutdown), shared.begin_log(&shutdown));
        tokio::try_join!(serve, follow, publish, policy::say(&shared, &shutdown), keep_up, write, begin)?;
        shared.catalogue.close().await;
        log.close().await;
        presence.await.context("the presence of the control node panicked")
    }
}

impl ControlState {
    /// Brings the log up to date with the files of control, and then with the files that list members whenever these change. A log
    /// that cannot be written keeps nobody from asking control.
    async fn begin_log(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut seen = members::Seen::default();
        let write = async {
            while let Err(error) = self.write_all(&mut seen).await {
                tracing::error!(error = format!("{error:#}"), "the metadata log cannot be brought up to date");
                tokio::time::sleep(LOG_RETRY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = write => {}
        }
        self.begun.cancel();
        members::follow(self, seen, shutdown).await;
        Ok(())
    }

    async fn write_all(&self, seen: &mut members::Seen) -> anyhow::Result<()> {
        members::add_self(self).await?;
        members::take_lists(self, seen).await;
        policy::migrate(self).await?;
        self.write_log().await?;
        Ok(())
    }

    /// Publishes every grant and the revocation list on the bus, which publishes them again to a broker that was replaced. Before
    /// that it takes from the bus a list that is newer than its own; so does it later, when a broker that has one comes back.
    async fn publish_standing(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let revoked = self.node.prefix.name(&Topic::Revoked);
        let mut lists = self.node.bus.subscribe(&revoked).await?;
        let mut connected = self.node.bus.connected();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = connected.wait_for(|brokers| *brokers > 0) => {}
        }
        if let Ok(Some(message)) = tokio::time::timeout(RETAINED_WAIT_MAX, lists.recv()).await {
            self.adopt(&message.payload);
        }
        for (key, grant) in self.authority.grants() {
            self.publish(&Topic::Key(key), grant).await;
        }
        if let Some(list) = self.authority.revocations() {
            self.publish(&Topic::Revoked, list).await;
        }
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(message) = lists.recv() => message,
            };
            if self.adopt(&message.payload) {
                self.publish(&Topic::Revoked, message.payload).await;
            }
        }
    }

    /// Takes a revocation list from the bus, if it is newer than ours; returns whether it was.
    fn adopt(&self, list: &Bytes) -> bool {
        match self.authority.adopt(list) {
            Ok(false) => false,
            Ok(true) => {
                tracing::warn!(
                    "the bus had a newer revocation list than this control node, and it is in force now: was this node restored from \
                     a backup? Grants and streams of after the backup are missing here"
                );
                true
            }
            Err(error) => {
                tracing::debug!(%error, "a revocation list on the bus is none of ours, or older");
                false
            }
        }
    }

    /// Publishes a retained message; a broker that is away gets it later from the bus.
    async fn publish(&self, topic: &Topic, payload: Bytes) {
        let message = Message { topic: self.node.prefix.name(topic), payload, retain: true };
        if !bus::offer(&*self.node.bus, message).await {
            tracing::warn!(%topic, "not published now; it follows when a broker is back");
        }
    }

    /// Tells ingests to read the table of streams again.
    async fn announce_change(&self) {
        let topic = self.node.prefix.name(&Topic::CatalogueUpdate);
        let payload = Bytes::from_static(br#"{"changed":"streams"}"#);
        if !bus::offer(&*self.node.bus, Message { topic, payload, retain: false }).await {
            tracing::warn!("a change of streams is not announced; ingests see it when they next ask");
        }
    }
}
