//! The embedded MQTT 5 broker: a small cluster's bus without another program to install.
//!
//! Owns its listener, users, access rules and bounds; the protocol itself is `mqtt5`'s. Deliberately keeps nothing on
//! disk: retained messages are re-published by those who own them (see [`crate::bus`]), which a replaced broker needs
//! anyway. Deliberately has no TLS: it is for one machine; a cluster that spans several uses Mosquitto with TLS.

mod access;
mod gatekeeper;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use messages::Prefix;
use mqtt5::broker::BrokerConfig;
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::QueueLimits;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use access::{Access, User, mosquitto_acl};
use gatekeeper::Gatekeeper;

use crate::bus::{PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// Connections at once, logged in or not; a cluster that needs more nodes uses Mosquitto.
pub const CONNECTIONS_MAX: usize = 256;
/// Topics with a retained message: a few for each stream, node and key.
pub const RETAINED_MAX: usize = 8192;
/// Filters of one connection; the bus asks for a few for each role.
pub const SUBSCRIPTIONS_MAX: usize = 256;
/// Messages waiting for one connection. Seconds of everything a busy cluster says; what is older is of no use.
pub const QUEUE_MESSAGES_MAX: usize = 1024;
/// Bytes waiting for one connection that has fallen behind.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages sent to one connection, or taken from it, and not yet acknowledged.
const IN_FLIGHT_MAX: u16 = 64;
/// Pause after a failed accept (no file descriptors left), so that it cannot spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the connections get to say goodbye at shutdown.
const STOP_WAIT_MAX: Duration = Duration::from_millis(500);

/// Configuration of the embedded broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens, without TLS. Default: `127.0.0.1:1883`; port 0 asks for a free port.
    pub listen: SocketAddr,
    /// Who may log in. Default: nobody.
    pub users: Vec<User>,
    /// What stands before every topic. Default: `sealcast/v1`.
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

/// A broker that is bound, and serves once it runs.
pub struct EmbeddedBroker {
    listener: TcpListener,
    address: SocketAddr,
    sessions: Sessions,
}

impl EmbeddedBroker {
    /// Checks the configuration and binds.
    ///
    /// # Errors
    /// When the address is taken (names it), or a user's name or the prefix is not valid.
    pub async fn load(config: Config) -> anyhow::Result<Self> {
        let prefix = config.check()?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!(
                "cannot listen for MQTT on {}: choose another address or port 0, or end what uses it",
                config.listen
            )
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, sessions: Sessions::new(&config, &prefix) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then closes all connections and returns within a second.
    ///
    /// # Errors
    /// None at present; a failing accept is logged and tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "MQTT broker serves");
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = tasks.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                        Ok(slot) => {
                            let session = self.sessions.session(stream, peer);
                            tasks.spawn(async move {
                                session.await;
                                drop(slot);
                            });
                        }
                        Err(_) => metrics::counter!("broker_connections_refused_total").increment(1),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an MQTT connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        self.sessions.stop();
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT_MAX, drained).await.is_err() {
            tasks.shutdown().await;
        }
        tracing::info!(address = %self.address, "MQTT broker stopped");
        Ok(())
    }
}

/// What all connections share.
struct Sessions {
    config: Arc<BrokerConfig>,
    router: Arc<MessageRouter>,
    gatekeeper: Arc<Gatekeeper>,
    stats: Arc<BrokerStats>,
    resources: Arc<ResourceMonitor>,
    stop: broadcast::Sender<()>,
}

impl Sessions {
    fn new(config: &Config, prefix: &Prefix) -> Self {
        let protocol = BrokerConfig {
            bind_addresses: vec![config.listen],
            max_clients: CONNECTIONS_MAX,
            // No session outlives its connection: nodes start clean, and an absent client costs no memory.
            session_expiry_interval: Duration::ZERO,
            max_packet_size: PACKET_BYTES_MAX,
            maximum_qos: 1,
            topic_alias_maximum: 0,
            shared_subscription_available: false,
            max_subscriptions_per_client: SUBSCRIPTIONS_MAX,
            client_channel_capacity: QUEUE_MESSAGES_MAX,
            max_outbound_inflight: IN_FLIGHT_MAX,
            server_receive_maximum: Some(IN_FLIGHT_MAX),
            sys_topics_enabled: false,
            ..BrokerConfig::default()
        };
        let router = MessageRouter::new()
            .with_retained_limits(RETAINED_MAX, PAYLOAD_BYTES_MAX)
            .with_fallback_queue_limits(QueueLimits { max_messages: QUEUE_MESSAGES_MAX, max_bytes: QUEUE_BYTES_MAX });
        let limits = ResourceLimits {
            max_connections: CONNECTIONS_MAX,
            max_connections_per_ip: CONNECTIONS_MAX,
            max_message_rate_per_client: 0,
            max_bandwidth_per_client: 0,
            ..ResourceLimits::default()
        };
        Self {
            config: Arc::new(protocol),
            router: Arc::new(router),
            gatekeeper: Arc::new(Gatekeeper::new(&config.users, prefix)),
            stats: Arc::new(BrokerStats::new()),
            resources: Arc::new(ResourceMonitor::new(limits)),
            stop: broadcast::channel(1).0,
        }
    }

    /// One connection, from login to end.
    fn session(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + use<> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let handler = ClientHandler::new(
            BrokerTransport::tcp(stream),
            peer,
            Arc::clone(&self.config),
            Arc::clone(&self.router),
            Arc::clone(&self.gatekeeper) as Arc<dyn mqtt5::broker::auth::AuthProvider>,
            None,
            Arc::clone(&self.stats),
            Arc::clone(&self.resources),
            self.stop.subscribe(),
        );
        let session = Box::pin(handler.run());
        async move {
            if let Err(error) = session.await {
                tracing::debug!(%error, "MQTT connection ended");
            }
        }
    }

    fn stop(&self) {
        // Nobody listens when there are no connections.
        let _nobody = self.stop.send(());
    }
}
