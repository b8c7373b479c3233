//! The control role: the authority of a cluster.
//!
//! Owns the key that signs the metadata log (grants and revocations among its rows), the catalogue of streams and their keys, and the
//! listener on which ingests ask for grants and operators administer the cluster. Deliberately out of the way of media: while control is down,
//! everything that is granted goes on.

mod acknowledged;
mod api;
mod callers;
mod certificate;
mod chat;
mod config;
mod delegations;
mod drains;
mod grants;
mod grpc;
mod hooks;
mod issuers;
mod lead;
mod lease;
mod log;
mod members;
mod nodes;
mod owners;
mod pages;
mod people;
mod policy;
mod publish;
mod refusal;
mod restored;
mod root;
mod routes;
mod rows;
mod stream_keys;
mod stream_routes;
mod streamers;
mod token_routes;
mod usage;
mod view;
mod viewer_tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Message;
use bytes::Bytes;
use catalogue::{Catalogue, Location, SetUpSecret};
use media::{NodeId, StreamId};
use messages::{Pepper, Topic};
use node::cluster_view::ClusterView;
use node::{CancellationToken, Redacted};
use replica::{ControlIdentity, Ledger, Log, Peers, Writer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use crate::hooks::{Heard, Hooks};
use crate::issuers::LiveIssuers;
use crate::lead::{Leadership, SharedLog};
use crate::people::{FlowsOver, Passwords, SessionKeys, SignIns};
use crate::root::Root;
use crate::stream_keys::KeyFiles;
use crate::view::View;
use crate::viewer_tokens::TokenKeys;

pub use config::{Config, StreamConfig};
pub use restored::RESTORED_FILE;

/// Pause after the log could not be written.
const LOG_RETRY: Duration = Duration::from_secs(5);

/// A control node that is bound, and serves once it runs.
pub struct Control {
    shared: Arc<ControlState>,
    listener: TcpListener,
    address: SocketAddr,
    /// For programs, where the configuration says so.
    grpc: Option<(TcpListener, SocketAddr)>,
    ready: node::ops::ReadyFlag,
    /// Keys that the configuration or a file has.
    known_keys: Vec<(StreamId, Redacted<String>)>,
    /// By which somebody becomes the first operator.
    set_up: Option<SetUpSecret>,
    /// What is heard of streams.
    heard: mpsc::Receiver<Heard>,
}

/// What all requests share.
struct ControlState {
    node: node::Context,
    catalogue: Catalogue,
    root: Root,
    /// The secret under which the catalogue keeps stream keys.
    pepper: Pepper,
    key_files: KeyFiles,
    token_keys: TokenKeys,
    session_keys: SessionKeys,
    passwords: Passwords,
    /// Issuers whose tokens (JWT) count.
    issuers: LiveIssuers,
    /// Issuers at which people sign in.
    sign_ins: SignIns,
    /// Ways to issuers that have come back.
    flows_over: FlowsOver,
    cluster: ClusterView,
    /// Sessions and input reports of the streams, from the bus.
    view: View,
    /// What requests of the API share.
    api: api::ApiState,
    chat: chat::ChatState,
    /// What sends events.
    hooks: Hooks,
    /// Writes the metadata log.
    writer: Writer,
    /// Held while the log is brought to what the catalogue says.
    logging: Mutex<()>,
    /// What all nodes have to agree on.
    rules: metadata::Cluster,
    /// Hosts under which nodes may be reached by viewers, besides the names in their certificates.
    public_hosts: Vec<String>,
    /// Pools that ingests serve, where these are others than the default one.
    ingest_pools: BTreeMap<NodeId, Vec<String>>,
    /// Pools of streams that the configuration puts into one.
    stream_pools: BTreeMap<StreamId, String>,
    /// Files that list members.
    members: Vec<PathBuf>,
    /// Cancelled once the log has what the files say: before that nobody can tell who is a member.
    begun: CancellationToken,
    /// Whether this control node leads.
    lead: Leadership,
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
            ("control_event_streams", "Responses of /api/v1/events and calls of gRPC that listen to what happens."),
            ("control_leads", "Whether this control node leads: 1, else 0."),
            ("control_webhook_attempts_total", "Attempts to deliver an event to a webhook, by how they ended."),
            (
                "control_webhook_dropped_total",
                "Events that were not delivered because too many waited for the endpoint.",
            ),
            ("control_heard_dropped_total", "Messages about streams that became no event because too many waited."),
        ]);
        let sign_ins = SignIns::load(&config, node.clock)?;
        let pepper = stream_keys::pepper(&node.data)?;
        let path = node.data.join("catalogue.db");
        let location = config.database.as_ref().map_or(Location::File(&path), |url| Location::Server(url.expose()));
        let key_files = KeyFiles::new(&config.streams);
        let opened = Catalogue::open_keeping(location, &pepper, |keys| Ok(key_files.keep_missing(keys)?)).await;
        let catalogue = opened.with_context(|| match location {
            Location::File(path) => format!("catalogue {}", path.display()),
            Location::Server(_) => "catalogue in PostgreSQL (role.control.database)".to_owned(),
        })?;
        restored::note_restore(&node.data, &catalogue).await?;
        let configured = (&config.streams[..], &key_files);
        let known = stream_keys::configure((&catalogue, &pepper), configured, node.clock.wall()).await?;
        let known_keys = known.into_iter().map(|(name, key)| (name, Redacted::new(key.expose().to_owned()))).collect();
        let root = Root::load(&node.data)?;
        let outbound = hooks::outbound(&config.outbound_allow, config.outbound_ca.as_deref())?;
        let hooks = Hooks { catalogue: catalogue.clone(), outbound, clock: node.clock };
        let listener = acceptor::bind(config.data_listen, "role.control.data_listen").await?;
        let address = listener.local_addr().context("the data plane has no address")?;
        let grpc = match config.grpc_listen {
            None => None,
            Some(listen) => {
                let listener = acceptor::bind(listen, "role.control.grpc_listen").await?;
                let address = listener.local_addr().context("the listener of gRPC has no address")?;
                Some((listener, address))
            }
        };
        let ready = node.ops.ready(&format!("{}: serves", node.id));
        let log = Log::open(&node.data.join(root::LOG_FILE), &node, root.public().clone()).await?;
        let root_key = root.key()?;
        let ledger = catalogue.is_shared().then(|| Arc::new(SharedLog(catalogue.clone())) as Arc<dyn Ledger>);
        let identity = ControlIdentity { key_file: &node.data.join("metadata.key"), root: root_key.as_ref(), ledger };
        let writer = Writer::open(log, &node, identity).await?;
        drop(root_key);
        let cluster = ClusterView::new(node.clock);
        let (hear, heard) = mpsc::channel(hooks::HEARD_MAX);
        let way_out = (config.outbound_allow.clone(), config.outbound_ca.clone());
        let issuers = LiveIssuers::new(config.issuers.clone(), way_out, node.clock);
        let shared = Arc::new(ControlState {
            cluster,
            view: View::telling(hear),
            api: api::ApiState::default(),
            chat: chat::ChatState::default(),
            hooks,
            rules: config.rules(),
            stream_pools: config.stream_pools(),
            public_hosts: config.public_hosts,
            ingest_pools: config.ingest_pools,
            members: config.members,
            begun: CancellationToken::new(),
            lead: Leadership::new(&catalogue),
            node,
            catalogue,
            root,
            pepper,
            key_files,
            token_keys: TokenKeys::default(),
            session_keys: SessionKeys::default(),
            passwords: Passwords::default(),
            issuers,
            sign_ins,
            flows_over: FlowsOver::default(),
            writer,
            logging: Mutex::default(),
        });
        let set_up = shared.first_link().await?;
        Ok(Self { shared, listener, address, grpc, ready, known_keys, set_up, heard })
    }

    /// Path and fragment of the page on which somebody becomes the operator, while there is none. Whoever has it within 15 minutes is
    /// the operator: no log has it.
    pub fn set_up_link(&self) -> Option<Redacted<String>> {
        self.set_up.as_ref().map(|secret| Redacted::new(format!("/setup#{}", secret.expose())))
    }

    /// Where ingests and operators connect (mutual TLS).
    pub fn data_address(&self) -> SocketAddr {
        self.address
    }

    /// Where programs connect by gRPC; `None` where the configuration names no address.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|(_, address)| *address)
    }

    /// File of the root public key: every other node's trust anchor.
    pub fn root_public_key_path(&self) -> PathBuf {
        self.shared.root.public_path().to_owned()
    }

    /// File of the root key, whether it is there or not.
    pub fn root_key_path(&self) -> PathBuf {
        self.shared.root.key_path().to_owned()
    }

    /// The metadata log that this node writes.
    pub fn log(&self) -> Arc<Log> {
        Arc::clone(self.shared.writer.log())
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
        let Self { shared, listener, address, grpc, ready, known_keys: _, set_up: _, heard } = self;
        let data = format!("https://{address}");
        let parts = move || node::presence::PresenceParts { data: Some(data.clone()), ..Default::default() };
        let presence = node::presence::spawn(&shared.node, parts, shutdown.clone());
        ready.set(true);
        let serve = node::http::serve_tls(
            listener,
            shared.node.identity.server_mutual(),
            routes::router(Arc::clone(&shared), token_routes::router()),
            node::http::Limits::default(),
            shutdown.clone(),
        );
        let serve_programs = async {
            match grpc {
                Some((listener, _)) => grpc::serve(Arc::clone(&shared), listener, shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let follow = view::follow(Arc::clone(&shared), shutdown.clone());
        let log = shared.writer.log();
        let (status, lead) = (Arc::clone(log), shared.lead.clone());
        shared.node.ops.status(
            shared.node.id.as_str(),
            move || serde_json::json!({ "role": "control", "metadata": status.standing(), "lead": lead.shown() }),
        );
        let peers = Peers::new(&shared.node, shared.cluster.clone(), &[])?;
        let keep_up = replica::keep_up(Arc::clone(log), shared.node.clone(), peers, shutdown.clone());
        let settle = async {
            // Whoever is stopped has not settled, and writes nothing.
            let is_restored = shared.catalogue.is_restored().await?;
            shutdown.run_until_cancelled(shared.writer.settle(is_restored)).await.unwrap_or(Ok(()))
        };
        let events = hooks::run(Arc::clone(&shared), heard, shutdown.clone());
        let issuers = shared.follow_issuers(&shutdown);
        let fresh = async {
            shared.sign_ins.run(shutdown.clone()).await;
            Ok(())
        };
        tokio::try_join!(
            serve,
            serve_programs,
            issuers,
            fresh,
            follow,
            keep_up,
            settle,
            lead::run(&shared, &shutdown),
            events
        )?;
        shared.catalogue.close().await;
        log.close().await;
        presence.await.context("the presence of the control node panicked")
    }
}

impl ControlState {
    /// Brings the log up to date with the files of control, and then with the files that list members whenever these change. While the
    /// log cannot be written, control answers the operator, and ingests keep the table of streams that they have.
    async fn begin_log(&self, shutdown: &CancellationToken) {
        let mut seen = members::Seen::default();
        let write = async {
            while let Err(error) = self.write_all(&mut seen).await {
                tracing::error!(error = format!("{error:#}"), "the metadata log cannot be brought up to date");
                tokio::time::sleep(LOG_RETRY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = write => {}
        }
        self.begun.cancel();
        members::follow(self, seen, shutdown).await;
    }

    async fn write_all(&self, seen: &mut members::Seen) -> anyhow::Result<()> {
        members::add_self(self).await?;
        members::take_lists(self, seen).await;
        policy::migrate(self).await?;
        self.write_log().await?;
        self.name_old_keys().await?;
        self.note_revocations().await?;
        Ok(())
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
