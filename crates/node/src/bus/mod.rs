//! The bus: small messages between nodes, over one or several MQTT 5 brokers.
//!
//! Owns the connections, their reconnects and the subscriptions. Deliberately does not know topics or payloads (that is `messages`), and
//! promises little: a message may be lost, repeated or reordered. A role that needs more has sequence numbers and HTTP catch-up. With
//! several brokers every message goes to all of them, and readers drop duplicates.

pub(crate) mod codec;
pub(crate) mod endpoint;
mod link;
mod owned;
mod session;
mod subscriptions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use endpoint::Endpoint;
use link::{Link, Login, Shared};
use owned::Outgoing;
use subscriptions::Registry;
pub use subscriptions::Subscription;

/// Longest payload in bytes. The largest message of ours is a seal of twenty renditions (some 10 kB); the rest is room.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Longest packet in bytes: a payload, its topic and properties.
pub const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4 * 1024;
/// Longest topic or filter in bytes: a prefix (128) and two names (64 each) fit well.
pub const TOPIC_BYTES_MAX: usize = 512;
/// Brokers at once. Two are the high-availability set-up; each message goes to all.
pub const BROKERS_MAX: usize = 4;
/// Readers of one bus; a broadcast node with 128 streams has 260.
pub const SUBSCRIPTIONS_MAX: usize = 512;
/// Messages waiting for one reader: seconds of everything a busy cluster says.
pub const SUBSCRIPTION_MESSAGES_MAX: usize = 2048;
/// Bytes waiting for one reader.
pub const SUBSCRIPTION_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a full queue to one broker delays a message that another broker may already have taken.
const LAG_WAIT_MAX: Duration = Duration::from_millis(100);
/// Messages waiting for one broker. A broker that is this far behind is skipped when another takes the message.
pub const LINK_QUEUE_MESSAGES_MAX: usize = 256;
/// Topics whose retained message the bus sends again to a broker that lost it: a few for each stream and key.
pub const OWNED_TOPICS_MAX: usize = 4096;
/// Bytes of the payloads of those messages.
pub const OWNED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// First pause before a broker is tried again; jitter shortens it by up to half.
pub const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a broker is tried again; jitter shortens it by up to half.
pub const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// Longest that [`Bus::publish`] waits for room in a queue, or for a broker to reconnect.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(2);
/// Bytes that are read of a password file, which is one line.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Full name of the topic, with the prefix (see [`messages::Prefix::name`]).
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes. Empty and retained: the broker forgets the retained message of the topic.
    pub payload: Bytes,
    /// When sent: the broker keeps it for late subscribers. When received: the broker had kept it, and it may be old.
    pub retain: bool,
}

/// Why a message was not sent or a subscription not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// No broker took it within [`PUBLISH_WAIT_MAX`].
    #[error("no MQTT broker took the message on {topic} in time")]
    Unreachable {
        /// Its topic.
        topic: String,
    },
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("message of {bytes} bytes on {topic} is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Its length.
        bytes: usize,
    },
    /// Topic name or filter is not valid in MQTT, or longer than is allowed here.
    #[error("{0:?} is not a valid MQTT topic")]
    InvalidTopic(String),
    /// A bound of the bus itself, such as its number of subscriptions, is reached.
    #[error("the bus has no room for more {0}")]
    Full(&'static str),
    /// The bus was shut down.
    #[error("the bus is closed")]
    Closed,
}

/// What a role needs of MQTT.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends at QoS 1 to every connected broker. Resolves when the queue of at least one connection has taken it.
    ///
    /// The bus remembers the newest retained message of each topic (also when this fails) and sends it again to every broker that
    /// connects. So an empty broker is filled by the nodes that own the messages.
    ///
    /// When a broker does not allow this user a message, it drops the message, and the bus logs and counts it
    /// (`bus_publish_refused_total`); it is no error here.
    ///
    /// # Errors
    /// [`BusError::Unreachable`] after [`PUBLISH_WAIT_MAX`] without a broker; the others at once.
    async fn publish(&self, message: Message) -> Result<(), BusError>;

    /// Subscribes at QoS 1, now and after each reconnect; works while no broker is connected.
    ///
    /// # Errors
    /// When the filter is not valid, there are too many subscriptions, or the bus is closed.
    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError>;

    /// How many brokers are connected now.
    fn connected(&self) -> watch::Receiver<usize>;
}

/// Addresses of the brokers, and how to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Brokers, all used at once: `mqtt://host:port` or `mqtts://host:port`. Default: `mqtt://127.0.0.1:1883`.
    pub urls: Vec<String>,
    /// User name. Default: none, which the embedded broker refuses.
    pub username: Option<String>,
    /// File whose first line is the password. Default: none.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authority that signed the brokers' certificates; needed for `mqtts`. Default: none.
    pub ca: Option<PathBuf>,
    /// Prefix of every topic. Default: `sealcast/v1`.
    pub prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: vec!["mqtt://127.0.0.1:1883".to_owned()],
            username: None,
            password_file: None,
            ca: None,
            prefix: messages::Prefix::default().to_string(),
        }
    }
}

/// Starts the bus and returns at once; connections are made and kept in the background until `shutdown`.
///
/// `client_id` is the node's name; a random part is added, so that two processes never push each other out. `will` is what the brokers
/// publish when this node vanishes without a DISCONNECT.
///
/// # Errors
/// When the configuration is not valid: a URL, the password file or the authority file. A broker that is away is no error.
pub async fn connect(
    config: &Config,
    client_id: &str,
    will: Option<Message>,
    shutdown: CancellationToken,
) -> anyhow::Result<Arc<dyn Bus>> {
    messages::Prefix::new(&config.prefix)?;
    ensure!(!config.urls.is_empty(), "no MQTT broker is configured (`urls`)");
    ensure!(config.urls.len() <= BROKERS_MAX, "more than {BROKERS_MAX} MQTT brokers are configured");
    if let Some(will) = &will {
        check(will)?;
    }
    let password = match &config.password_file {
        Some(path) => Some(read_password(path).await?),
        None => None,
    };
    let endpoints: Vec<Endpoint> =
        config.urls.iter().map(|url| Endpoint::new(url, config.ca.as_deref())).collect::<anyhow::Result<_>>()?;
    let registry = Arc::new(Registry::new());
    let shared =
        Arc::new(Shared { registry, owned: std::sync::Mutex::default(), connected: watch::Sender::new(0), shutdown });
    // Otherwise the metric would not exist before the first connection, and no alert could use it.
    metrics::gauge!("bus_connected_brokers").set(0.0);
    let incarnation: u64 = rand::rng().random();
    let links = endpoints.into_iter().enumerate().map(|(number, endpoint)| {
        let (queue, receiver) = mpsc::channel(LINK_QUEUE_MESSAGES_MAX);
        let (connected, watched) = watch::channel(false);
        let login = Login {
            client_id: format!("{client_id}-{incarnation:016x}-{number}"),
            username: config.username.clone(),
            password: password.clone(),
            will: will.clone(),
        };
        let link = Link { endpoint, login, shared: Arc::clone(&shared), queue: receiver, connected };
        tokio::spawn(link.run());
        LinkHandle { queue, connected: watched, lagging: AtomicBool::new(false) }
    });
    let links = links.collect();
    Ok(Arc::new(MqttBus { links, shared }))
}

async fn read_password(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    use tokio::io::AsyncReadExt;
    let read = async {
        let mut text = Zeroizing::new(String::new());
        tokio::fs::File::open(path).await?.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let text = read.await.with_context(|| format!("cannot read the MQTT password file {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    ensure!(!line.is_empty(), "the MQTT password file {} is empty", path.display());
    Ok(Zeroizing::new(line.to_owned()))
}

fn check(message: &Message) -> Result<(), BusError> {
    if message.topic.len() > TOPIC_BYTES_MAX || !mqtt5_protocol::is_valid_topic_name(&message.topic) {
        return Err(BusError::InvalidTopic(message.topic.chars().take(TOPIC_BYTES_MAX).collect()));
    }
    if message.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(BusError::TooLarge { topic: message.topic.clone(), bytes: message.payload.len() });
    }
    Ok(())
}

/// The sending side of one broker's connection.
struct LinkHandle {
    queue: mpsc::Sender<Outgoing>,
    connected: watch::Receiver<bool>,
    /// Its queue was full for [`LAG_WAIT_MAX`]: messages do not wait for it again until it has room.
    lagging: AtomicBool,
}

impl LinkHandle {
    /// Puts a message into the queue of a connected broker; waits a little when that is full.
    async fn offer(&self, outgoing: &Outgoing) -> bool {
        if !*self.connected.borrow() {
            return false;
        }
        let lagging = self.lagging.load(Ordering::Relaxed);
        let wait = if lagging { Duration::ZERO } else { LAG_WAIT_MAX };
        let taken = match self.queue.try_send(outgoing.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(outgoing)) => self.queue.send_timeout(outgoing, wait).await.is_ok(),
        };
        self.lagging.store(!taken, Ordering::Relaxed);
        if !taken {
            metrics::counter!("bus_link_dropped_total").increment(1);
        }
        taken
    }
}

/// [`Bus`] over MQTT 5.
struct MqttBus {
    links: Vec<LinkHandle>,
    shared: Arc<Shared>,
}

impl MqttBus {
    /// Offers a message to every connected broker; returns whether one took it.
    async fn offer(&self, outgoing: &Outgoing) -> bool {
        let offers = self.links.iter().map(|link| link.offer(outgoing));
        futures_util::future::join_all(offers).await.contains(&true)
    }

    /// Waits until the first connection takes it.
    async fn wait_for_one(&self, outgoing: &Outgoing) -> Result<(), BusError> {
        let mut attempts: FuturesUnordered<_> = self
            .links
            .iter()
            .map(|link| async {
                let mut connected = link.connected.clone();
                connected.wait_for(|connected| *connected).await.map_err(|_| BusError::Closed)?;
                link.queue.send(outgoing.clone()).await.map_err(|_| BusError::Closed)
            })
            .collect();
        while let Some(attempt) = attempts.next().await {
            if attempt.is_ok() {
                return Ok(());
            }
        }
        Err(BusError::Closed)
    }
}

#[async_trait]
impl Bus for MqttBus {
    async fn publish(&self, message: Message) -> Result<(), BusError> {
        check(&message)?;
        if self.shared.shutdown.is_cancelled() {
            return Err(BusError::Closed);
        }
        let topic = message.topic.clone();
        // Noted before `connected` is read. A connection reads the two in the other order, so at least one of the two sides sends it.
        let outgoing = self.shared.note(message);
        if self.offer(&outgoing).await {
            return Ok(());
        }
        let attempt = tokio::time::timeout(PUBLISH_WAIT_MAX, self.wait_for_one(&outgoing)).await;
        attempt.unwrap_or(Err(BusError::Unreachable { topic }))
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        // `$share` and `$SYS` belong to a single broker, and what one broker says does not hold for all.
        if filter.len() > TOPIC_BYTES_MAX || filter.starts_with('$') || !mqtt5_protocol::is_valid_topic_filter(filter) {
            return Err(BusError::InvalidTopic(filter.chars().take(TOPIC_BYTES_MAX).collect()));
        }
        self.shared.registry.subscribe(filter)
    }

    fn connected(&self) -> watch::Receiver<usize> {
        self.shared.connected.subscribe()
    }
}
