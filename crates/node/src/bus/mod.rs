//! The bus: small messages between nodes, over one or several MQTT 5 brokers.
//!
//! Owns the connections, their reconnects and the subscriptions. Deliberately does not know topics or payloads (that is
//! `messages`), and promises little: a message may be lost, repeated or reordered. Whoever needs more has sequence
//! numbers and HTTP catch-up. With several brokers every message goes to all of them, and readers drop duplicates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest payload in bytes. The largest message of ours is a seal of twenty renditions (some 10 kB); the rest is room.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Longest that [`Bus::publish`] waits for room in a queue, or for a broker that is just reconnecting.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(2);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Full name of the topic, with the prefix (see [`messages::Prefix::name`]).
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes. Empty and retained: the broker forgets the retained message of the topic.
    pub payload: Bytes,
    /// Sent: keep it for late subscribers. Received: it was kept, and may be old.
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
    /// Sends at QoS 1 to every connected broker. Resolves when at least one connection has taken it.
    ///
    /// # Errors
    /// [`BusError::Unreachable`] after [`PUBLISH_WAIT_MAX`] without a broker; the others at once.
    async fn publish(&self, message: Message) -> Result<(), BusError>;

    /// Subscribes at QoS 1, now and after each reconnect; works while no broker is there.
    ///
    /// # Errors
    /// When the filter is not valid, there are too many subscriptions, or the bus is closed.
    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError>;

    /// How many brokers are connected now.
    fn connected(&self) -> watch::Receiver<usize>;
}

/// Where the brokers are and how to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What stands before every topic. Default: `sealcast/v1`.
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
/// `client_id` is the node's name; a random part is added, so that a restarted node never fights with its own ghost.
/// `will` is what the brokers publish when this node vanishes without a word.
///
/// # Errors
/// When the configuration is not valid: a URL, the password file or the authority file. Never because a broker is away.
#[expect(clippy::unused_async, reason = "the password and authority files are read here")]
pub async fn connect(
    _config: &Config,
    _client_id: &str,
    _will: Option<Message>,
    _shutdown: CancellationToken,
) -> anyhow::Result<Arc<dyn Bus>> {
    anyhow::bail!("the bus is being built")
}

/// A stream of messages whose topics match one filter.
#[derive(Debug)]
pub struct Subscription {
    messages: tokio::sync::mpsc::Receiver<Message>,
}

impl Subscription {
    /// The next message; `None` once the bus is closed.
    pub async fn recv(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// How many messages were dropped, oldest first, because this reader was slow.
    pub fn dropped(&self) -> u64 {
        0
    }
}
