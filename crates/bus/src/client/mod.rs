//! The client: a connection to each broker, kept up in the background.

mod context;
mod endpoint;
mod link;
pub(crate) mod owned;
mod session;
mod subscriptions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::Rng;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    BROKERS_MAX, Bus, BusError, Config, LINK_QUEUE_MESSAGES_MAX, Message, PAYLOAD_BYTES_MAX, PUBLISH_WAIT_MAX,
    TOPIC_BYTES_MAX,
};
use context::{BusContext, Login};
use endpoint::{Endpoint, Plaintext};
use link::Link;
use owned::Outgoing;

use subscriptions::Registry;
pub use subscriptions::Subscription;

/// How long a full queue to one broker delays a message that another broker may already have taken.
const LAG_WAIT_MAX: Duration = Duration::from_millis(100);
/// Bytes that are read of a password file, which is one line.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Which brokers the client trusts over TLS.
pub trait Trust: Send + Sync + 'static {
    /// The configuration for the next connection; the authority's file may have changed since the last one. Blocks for the disk.
    fn client_config(&self) -> Arc<rustls::ClientConfig>;
}

/// Starts the bus and returns at once; connections are made and kept in the background until `shutdown`.
///
/// `client_id` is the node's name; a random part is added, so that two processes never push each other out. `will` is what the brokers
/// publish when this node vanishes without a DISCONNECT. `trust` is needed for `mqtts` URLs.
///
/// # Errors
/// When the configuration is not valid: a URL or the password file. A broker that is away is no error.
pub async fn connect(
    config: &Config,
    client_id: &str,
    will: Option<Message>,
    trust: Option<Arc<dyn Trust>>,
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
    let plaintext = if config.plaintext { Plaintext::Anywhere } else { Plaintext::Here };
    let endpoints: Vec<Endpoint> =
        config.urls.iter().map(|url| Endpoint::new(url, trust.as_ref(), plaintext)).collect::<anyhow::Result<_>>()?;
    let registry = Arc::new(Registry::new());
    let shared = Arc::new(BusContext {
        registry,
        owned: std::sync::Mutex::default(),
        connected: watch::Sender::new(0),
        shutdown,
    });
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
    shared: Arc<BusContext>,
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
