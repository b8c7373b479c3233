//! The embedded MQTT 5 broker: a bus for a small cluster, without another program to install.
//!
//! Owns its listener, users, access rules, routing and limits; `mqtt5-protocol` encodes and decodes packets. Deliberately keeps nothing
//! on disk: nodes publish their retained messages again (see [`crate::Bus`]), which a replaced broker needs anyway. Deliberately has no
//! QoS 2, shared subscriptions, topic aliases or persistent sessions.

mod access;
mod gatekeeper;
mod mosquitto;
mod router;
mod session;
mod strangers;

use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acceptor::{Accepted, Acceptor, Census, Limit};
use anyhow::{Context, ensure};
use messages::Prefix;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use access::{Access, Streamer, User};
use gatekeeper::Gatekeeper;
pub use mosquitto::{mosquitto_acl, mosquitto_passwords};
use router::Router;
use session::{Hub, SessionError};
use strangers::STRANGERS_MAX;

/// Clients at once that have logged in; a cluster that needs more nodes uses Mosquitto.
pub const CONNECTIONS_MAX: usize = 256;
/// Filters with a wildcard of one connection: each is compared with every message. A node asks for ten.
pub const PATTERNS_MAX: usize = 32;
/// Topics with a retained message: a few for each stream, node and key.
pub const RETAINED_MAX: usize = 8192;
/// Filters of one connection: as many as the bus of a node may ask for. A broadcast node with 128 streams asks for 260: the head and the
/// seals of each stream, and four of its own.
pub const SUBSCRIPTIONS_MAX: usize = crate::SUBSCRIPTIONS_MAX;
/// Bytes of all retained messages.
pub const RETAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages waiting for one connection; all retained messages fit. Beyond it the oldest message is dropped and counted.
pub const QUEUE_MESSAGES_MAX: usize = 2 * RETAINED_MAX;
/// Bytes waiting for one connection. Payloads are shared between connections.
pub const QUEUE_BYTES_MAX: usize = RETAINED_BYTES_MAX;
/// How long connections have to end at shutdown.
const STOP_WAIT_MAX: Duration = Duration::from_millis(500);

/// Configuration of the embedded broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on; plain MQTT unless [`EmbeddedBroker::with_tls`] is called. Default: `127.0.0.1:1883`; port 0 asks for a free
    /// port.
    pub listen: SocketAddr,
    /// Who may log in. Default: nobody.
    pub users: Vec<User>,
    /// Prefix of every topic. Default: `sealcast/v1`.
    pub prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 1883).into(), users: Vec::new(), prefix: Prefix::default().to_string() }
    }
}

impl Config {
    fn check(&self) -> anyhow::Result<Prefix> {
        let mut names = HashSet::new();
        for user in &self.users {
            media::NodeId::new(&user.name).with_context(|| format!("MQTT user {:?}", user.name))?;
            ensure!(!user.password.is_empty(), "MQTT user {} has no password", user.name);
            ensure!(names.insert(&user.name), "MQTT user {} is there twice", user.name);
        }
        Ok(Prefix::new(&self.prefix)?)
    }
}

/// A broker that is bound; it serves once it runs.
pub struct EmbeddedBroker {
    acceptor: Acceptor,
    address: SocketAddr,
    hub: Hub,
}

impl EmbeddedBroker {
    /// Checks the configuration and binds.
    ///
    /// # Errors
    /// When the address is taken (names it), or a user's name or the prefix is not valid.
    pub async fn load(config: Config) -> anyhow::Result<Self> {
        let prefix = config.check()?;
        let listener = acceptor::bind(config.listen, "mqtt_listen").await?;
        let address = listener.local_addr()?;
        let hub = Hub {
            router: Arc::new(Router::default()),
            gatekeeper: Arc::new(Gatekeeper::new(&config.users, &prefix)),
            tls: None,
            strangers: Arc::default(),
            clients: Census::of_all(CONNECTIONS_MAX),
            stop: CancellationToken::new(),
        };
        // Strangers displace one another and clients are counted when they log in, so the listener itself has room for both.
        let all = Census::of_all(2 * (CONNECTIONS_MAX + STRANGERS_MAX));
        Ok(Self { acceptor: Acceptor::new(listener, all), address, hub })
    }

    /// Makes the broker serve TLS only.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.hub.tls = Some(config.into());
        self
    }

    /// What may be changed while it runs.
    pub fn rules(&self) -> Rules {
        Rules { router: Arc::clone(&self.hub.router), gatekeeper: Arc::clone(&self.hub.gatekeeper) }
    }

    /// Where it listens; the actual port when `listen` has port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then closes all connections and returns within a second.
    ///
    /// # Errors
    /// None at present; a failing accept is logged and tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "MQTT broker serves");
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = tasks.join_next() => {}
                Accepted { stream, address, slot } = self.acceptor.accept(refused) => {
                    let hub = self.hub.clone();
                    tasks.spawn(async move {
                        if let Err(error) = session::serve(stream, address.ip(), hub).await {
                            if matches!(error, SessionError::Displaced) {
                                refused(Limit::PerAddress, address);
                            }
                            tracing::debug!(%error, "MQTT connection ended");
                        }
                        drop(slot);
                    });
                }
            }
        }
        drop(self.acceptor);
        self.hub.stop.cancel();
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT_MAX, drained).await.is_err() {
            tasks.shutdown().await;
        }
        tracing::info!(address = %self.address, "MQTT broker stopped");
        Ok(())
    }
}

/// Who may be connected, as far as it changes while the broker runs. Clones change the same broker.
#[derive(Clone)]
pub struct Rules {
    router: Arc<Router>,
    gatekeeper: Arc<Gatekeeper>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

impl Rules {
    /// Lets these streamers in, besides the users of the configuration, and cuts the connections of those that were let in before.
    pub fn set_streamers(&self, streamers: &[Streamer]) {
        self.gatekeeper.set_streamers(streamers);
        self.cut();
    }

    /// Lets none of these nodes in any more, and cuts their connections.
    pub fn set_revoked(&self, revoked: &BTreeSet<media::NodeId>) {
        self.gatekeeper.set_revoked(revoked);
        self.cut();
    }

    fn cut(&self) {
        let cut = self.router.cut(|user| self.gatekeeper.is_shut_out(user));
        if cut > 0 {
            tracing::warn!(connections = cut, "connections of revoked nodes were cut");
            metrics::counter!("broker_connections_cut_total").increment(u64::try_from(cut).unwrap_or(u64::MAX));
        }
    }
}

/// Counts a connection that there was no room for.
fn refused(_limit: Limit, _address: SocketAddr) {
    metrics::counter!("broker_connections_refused_total").increment(1);
}
