//! All streams of this ingest: admits publishers, and starts the task of each stream.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::{Epoch, MediaSequence, RenditionId, StreamId};
use messages::SessionState;
use node::CancellationToken;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::encoder_metadata::EncoderMetadata;
use super::lifecycle::{Admission, Lifecycle, PublisherId};
use super::publication::{Ending, Link, MediaMessage, NewPublisher};
use super::stats::StreamStats;
use crate::authority::Authority;
use crate::heads::Heads;
use crate::keys::{KeyDigest, KeyState, KeyTable};
use crate::pipeline::thumbnail::Thumbnailer;
use crate::push::Links;
use crate::{Config, pipeline};

/// Messages of a publisher that may wait: about 2 s of media. When the queue is full, the connection is not read, so TCP holds the
/// sender back.
const MEDIA_DEPTH: usize = 256;
/// Publishers of a stream that may wait while the one before drains: one takes over, and another may take over from that one.
const PUBLISHERS_DEPTH: usize = 4;
/// Streams at once. Encoding limits them far earlier.
const STREAMS_MAX: usize = 256;

/// Why a publisher is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// No grant, or no table of keys yet.
    #[error("{0}")]
    NotReady(&'static str),
    /// No stream has this key.
    #[error("Wrong stream key.")]
    WrongKey,
    /// Another publisher is live.
    #[error("This stream is being published already.")]
    Busy,
    /// Too many streams.
    #[error("This ingest has no room for another stream.")]
    Full,
    /// The role is shutting down.
    #[error("This ingest is shutting down.")]
    Stopping,
}

impl Denied {
    /// Label of the metric.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::NotReady(_) => "not_ready",
            Self::WrongKey => "wrong_key",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Stopping => "stopping",
        }
    }
}

/// A publisher's hold on its stream. Dropping it reports that the connection is gone.
pub(crate) struct Publication {
    stream: StreamId,
    publisher: PublisherId,
    media: mpsc::Sender<MediaMessage>,
    link: Arc<Link>,
    hub: Arc<Hub>,
}

impl Publication {
    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Notes that the connection has received bytes.
    pub(crate) fn heard(&self) {
        self.link.heard(self.hub.services.context.clock.elapsed());
    }

    /// Takes the encoder's `onMetaData`.
    pub(crate) fn announced(&self, metadata: &rtmp::amf::Value) {
        self.hub.announced(&self.stream, EncoderMetadata::of(metadata));
    }

    /// Hands a message to the stream; waits while its queue is full. `false` when the stream takes no more.
    pub(crate) async fn send(&self, message: MediaMessage) -> bool {
        self.link.held_back.store(true, Ordering::Relaxed);
        let sent = self.media.send(message).await.is_ok();
        self.heard();
        self.link.held_back.store(false, Ordering::Relaxed);
        sent
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.hub.gone(&self.stream, self.publisher);
    }
}

/// Identifies a thumbnail of a stream.
pub(crate) type ThumbnailKey = (Epoch, MediaSequence, RenditionId);

/// What all streams share.
pub(crate) struct Services {
    pub(crate) config: Config,
    pub(crate) pipeline: pipeline::Config,
    pub(crate) context: node::Context,
    pub(crate) authority: Arc<Authority>,
    pub(crate) heads: Heads,
    pub(crate) links: Links,
    /// The slate shown while a stream waits for its publisher; `None` means gaps.
    pub(crate) slate: Option<Arc<pipeline::slate::Picture>>,
    /// `None` when thumbnails cannot be made; streams then go without them.
    pub(crate) thumbnails: Option<Thumbnailer<ThumbnailKey>>,
}

struct Channel {
    lifecycle: Lifecycle,
    /// Link of the newest publisher.
    link: Arc<Link>,
    key: KeyDigest,
    publishers: mpsc::Sender<NewPublisher>,
    stats: Arc<StreamStats>,
}

/// A stream that has its first publisher.
pub(crate) struct Opened {
    pub(super) stream: StreamId,
    pub(super) stats: Arc<StreamStats>,
    pub(super) first: NewPublisher,
    /// Those who publish it later.
    pub(super) publishers: mpsc::Receiver<NewPublisher>,
}

/// Runs a stream until it has ended or the role shuts down.
pub(crate) type Drive = fn(Arc<Hub>, Opened) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// All streams of this ingest.
pub(crate) struct Hub {
    pub(super) services: Services,
    channels: Mutex<HashMap<StreamId, Channel>>,
    next_publisher: AtomicU64,
    pub(super) shutdown: CancellationToken,
    drive: Drive,
    tasks: TaskTracker,
}

impl Hub {
    pub(crate) fn new(services: Services, drive: Drive, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            services,
            channels: Mutex::default(),
            next_publisher: AtomicU64::new(1),
            shutdown,
            drive,
            tasks: TaskTracker::new(),
        })
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<StreamId, Channel>> {
        // No holder of the lock can leave the map half changed.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a publisher with this key publish its stream, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, key: &KeyDigest) -> Result<Publication, Denied> {
        if self.shutdown.is_cancelled() {
            return Err(Denied::Stopping);
        }
        let now = self.services.context.clock.now();
        if let Some(reason) = self.services.authority.not_ready(now.wall) {
            return Err(Denied::NotReady(reason));
        }
        let mut channels = self.channels();
        // Read under the lock, so that `check_keys` with a newer table sees every publisher admitted by an older one.
        let table = self.services.authority.table().ok_or(Denied::NotReady("No table of stream keys yet."))?;
        let stream = table.stream_of(key).ok_or(Denied::WrongKey)?.clone();
        let publisher = PublisherId(self.next_publisher.fetch_add(1, Ordering::Relaxed));
        let link = Arc::new(Link::default());
        link.heard(now.elapsed);
        let (media, received) = mpsc::channel(MEDIA_DEPTH);
        let new = NewPublisher { media: received, link: Arc::clone(&link) };
        // A driver that panicked leaves its channel behind; it must not lock its stream for ever.
        channels.retain(|_, channel| !channel.publishers.is_closed());
        if let Some(channel) = channels.get_mut(&stream) {
            let silent_for = channel.link.silent_for(now.elapsed);
            // Reserved before the lifecycle changes, so that a full queue changes nothing.
            let room = channel.publishers.try_reserve().map_err(|_| Denied::Busy)?;
            match channel.lifecycle.admit(publisher, silent_for) {
                Admission::Refuse => return Err(Denied::Busy),
                Admission::TakeOver => {
                    tracing::warn!(%stream, ?silent_for, "a new publisher takes over from a silent one");
                    channel.link.close(Ending::TakenOver, "Another publisher with this key has taken over.");
                }
                Admission::Accept => {}
            }
            room.send(new);
            (channel.link, channel.key) = (Arc::clone(&link), *key);
            channel.stats.announced(EncoderMetadata::default());
        } else {
            if channels.len() >= STREAMS_MAX {
                return Err(Denied::Full);
            }
            channels.insert(stream.clone(), self.open(&stream, publisher, *key, new));
        }
        drop(channels);
        Ok(Publication { stream, publisher, media, link, hub: Arc::clone(self) })
    }

    fn open(
        self: &Arc<Self>,
        stream: &StreamId,
        publisher: PublisherId,
        key: KeyDigest,
        first: NewPublisher,
    ) -> Channel {
        let config = &self.services.config;
        let lifecycle = Lifecycle::new(publisher, config.reconnect_grace(), config.takeover_silence());
        let (publishers, received) = mpsc::channel(PUBLISHERS_DEPTH);
        let stats = Arc::new(StreamStats::new(self.services.context.clock.wall()));
        let link = Arc::clone(&first.link);
        let opened = Opened { stream: stream.clone(), stats: Arc::clone(&stats), first, publishers: received };
        self.tasks.spawn((self.drive)(Arc::clone(self), opened));
        Channel { lifecycle, link, key, publishers, stats }
    }

    /// Closes publishers whose keys are no longer valid, after each table of keys from control. Never returns.
    pub(crate) async fn follow_keys(&self) {
        let mut tables = self.services.authority.tables();
        // The sender lives as long as `self`: `services.authority` owns it.
        while tables.changed().await.is_ok() {
            let table = tables.borrow_and_update().clone();
            if let Some(table) = table {
                self.check_keys(&table);
            }
        }
    }

    fn check_keys(&self, table: &KeyTable) {
        for (stream, channel) in self.channels().iter() {
            let (ending, words) = match table.standing(stream, &channel.key) {
                KeyState::Valid => continue,
                KeyState::KeyChanged => (Ending::KeyChanged, "The stream key was changed."),
                KeyState::Deleted => (Ending::Deleted, "The stream was deleted."),
            };
            channel.link.close(ending, words);
        }
    }

    fn gone(&self, stream: &StreamId, publisher: PublisherId) {
        let now = self.services.context.clock.elapsed();
        if let Some(channel) = self.channels().get_mut(stream) {
            channel.lifecycle.gone(publisher, now);
        }
    }

    fn announced(&self, stream: &StreamId, announced: EncoderMetadata) {
        if let Some(channel) = self.channels().get(stream) {
            channel.stats.announced(announced);
        }
    }

    /// Publishers of the stream that were admitted after the first.
    pub(super) fn reconnects(&self, stream: &StreamId) -> u64 {
        self.channels().get(stream).map_or(0, |channel| channel.lifecycle.reconnects())
    }

    /// State of a stream, and when its grace ends.
    pub(super) fn state(&self, stream: &StreamId) -> (SessionState, Option<Duration>) {
        self.channels().get(stream).map_or((SessionState::Ended, None), |channel| {
            (channel.lifecycle.state(), channel.lifecycle.next_deadline())
        })
    }

    /// Whether the grace of a stream is over; `true` only once.
    pub(super) fn expire(&self, stream: &StreamId) -> bool {
        let now = self.services.context.clock.elapsed();
        self.channels().get_mut(stream).is_some_and(|channel| channel.lifecycle.expire(now))
    }

    /// Forgets an ended stream; `false` when somebody publishes it again.
    pub(super) fn forget(&self, stream: &StreamId) -> bool {
        let mut channels = self.channels();
        let ended = channels.get(stream).is_none_or(|channel| channel.lifecycle.state() == SessionState::Ended);
        if ended {
            channels.remove(stream);
        }
        ended
    }

    /// Streams as `/status` shows them.
    pub(crate) fn status(&self) -> serde_json::Value {
        let channels = self.channels();
        let streams: BTreeMap<_, _> = channels
            .iter()
            .map(|(stream, channel)| {
                let mut status = channel.stats.json();
                if let Some(object) = status.as_object_mut() {
                    object.insert("state".to_owned(), serde_json::json!(channel.lifecycle.state()));
                    object.insert("duty".to_owned(), channel.stats.duty().name().into());
                    object.insert("reconnects".to_owned(), channel.lifecycle.reconnects().into());
                }
                (stream.to_string(), status)
            })
            .collect();
        serde_json::json!({ "streams": streams })
    }

    /// Waits until all drivers have ended. The caller has cancelled `shutdown` before.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
