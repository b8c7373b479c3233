//! The bus: small messages between nodes, over one or several MQTT 5 brokers.
//!
//! Owns the connections, their reconnects and the subscriptions. Deliberately does not know topics or payloads (that is `messages`), and
//! promises little: a message may be lost, repeated or reordered. A role that needs more has sequence numbers and HTTP catch-up. With
//! several brokers every message goes to all of them, and readers drop duplicates.

pub mod broker;
mod client;
mod codec;
mod fair;
mod metrics;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

pub use client::{Subscription, Trust, connect};
pub use metrics::METRICS;

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
        /// Full name, with the prefix.
        topic: String,
    },
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("message of {bytes} bytes on {topic} is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge {
        /// Full name, with the prefix.
        topic: String,
        /// Length of the payload.
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

/// As [`Bus::publish`], for those who do not wait for a broker that is not there: returns whether one took the message. A retained one is
/// sent later all the same.
pub async fn offer(bus: &dyn Bus, message: Message) -> bool {
    let is_anybody_there = *bus.connected().borrow() > 0;
    let wait = if is_anybody_there { PUBLISH_WAIT_MAX } else { Duration::ZERO };
    // It is remembered before the first wait.
    matches!(tokio::time::timeout(wait, bus.publish(message)).await, Ok(Ok(())))
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
    /// Whether brokers on other machines may be reached without TLS, where passwords can be read on the way. Default: false.
    pub plaintext: bool,
    /// Prefix of every topic. Default: `sealcast/v1`.
    pub prefix: String,
}

impl Config {
    /// Whether a broker is reached over TLS.
    pub fn uses_tls(&self) -> bool {
        self.urls.iter().any(|url| url.starts_with("mqtts://"))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: vec!["mqtt://127.0.0.1:1883".to_owned()],
            username: None,
            password_file: None,
            ca: None,
            plaintext: false,
            prefix: messages::Prefix::default().to_string(),
        }
    }
}

/// A byte stream, with TLS or without.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}
