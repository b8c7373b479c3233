//! All streams of this ingest: admits publishers, and starts the task of each stream.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use issuers::{Issuers, Use};
use media::{NodeId, SessionId, StreamId};
use messages::{InputReport, SessionState};
use node::CancellationToken;
use node::clock::Clock;
use rtmp::StreamKey;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use super::credential::{Credential, Denied, Right, Shown};
use super::encoder_metadata::EncoderMetadata;
use super::figures::Figures;
use super::lifecycle::{Admission, Lifecycle, PublisherId};
use super::publication::{Ending, Link, MediaMessage, NewPublisher};
use super::tenants::{Limits, OverQuota, Publishers, Verdict};
use crate::authority::{self, Authority};
use crate::keys::KeyTable;

/// Messages of a publisher that may wait: about 2 s of media. When the queue is full, the connection is not read, so TCP holds the
/// sender back.
const MEDIA_DEPTH: usize = 256;
/// Publishers of a stream that may wait while the one before drains: one takes over, and another may take over from that one.
const PUBLISHERS_DEPTH: usize = 4;
/// Streams at once. Encoding limits them far earlier.
const STREAMS_MAX: usize = 256;
/// How often the use of tenants' quotas is judged.
const JUDGE_INTERVAL: Duration = Duration::from_secs(2);
/// What a publisher is told before control has answered.
const NO_TABLE: &str = "No table of stream keys yet.";

/// A publisher's hold on its stream. Dropping it reports that the connection is gone.
pub(crate) struct Publication {
    stream: StreamId,
    publisher: PublisherId,
    media: mpsc::Sender<MediaMessage>,
    link: Arc<Link>,
    /// When its token ends, on the clock that no adjustment moves.
    ends_at: Option<Duration>,
    hub: Arc<Hub>,
}

impl Publication {
    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Resolves when the connection has to close: its stream wants it to, or its token has ended.
    pub(crate) async fn closed(&self) {
        let ends_at = self.hub.clock.instant(self.ends_at.unwrap_or(Duration::MAX));
        tokio::select! {
            () = self.link.closed() => {}
            () = tokio::time::sleep_until(ends_at) => {
                self.link.close(Ending::TokenEnded, "The token has ended: publish with a new one.");
            }
        }
    }

    /// Notes that the connection has received bytes.
    pub(crate) fn heard(&self) {
        self.link.heard(self.hub.clock.elapsed());
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

/// How long a stream waits for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long a stream waits for its publisher to come back.
    pub(crate) grace: Duration,
    /// A publisher that has been silent for this long may be replaced by another with the same key.
    pub(crate) takeover_silence: Duration,
}

struct Channel {
    lifecycle: watch::Sender<Lifecycle>,
    /// Link of the newest publisher.
    link: Arc<Link>,
    credential: Credential,
    publishers: mpsc::Sender<NewPublisher>,
    figures: Arc<Figures>,
}

/// A stream that has its first publisher.
pub(crate) struct Opened {
    pub(crate) stream: StreamId,
    /// The session that a streamer has delegated; without it, each epoch is a session of its own.
    pub(crate) session: Option<SessionId>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) attendance: Attendance,
    pub(crate) first: NewPublisher,
    /// Those who publish it later.
    pub(crate) publishers: mpsc::Receiver<NewPublisher>,
}

/// Whether somebody publishes a stream, as the stream's task sees it.
pub(crate) struct Attendance {
    hub: Arc<Hub>,
    stream: StreamId,
    lifecycle: watch::Receiver<Lifecycle>,
}

impl Attendance {
    /// The lifecycle and its changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Lifecycle> {
        self.lifecycle.clone()
    }

    /// State of the stream, and when its grace ends.
    pub(crate) fn now(&mut self) -> (SessionState, Option<Duration>) {
        let lifecycle = self.lifecycle.borrow_and_update();
        (lifecycle.state(), lifecycle.next_deadline())
    }

    /// Resolves when [`Self::now`] says something new.
    pub(crate) async fn changed(&mut self) {
        if self.lifecycle.changed().await.is_err() {
            // The stream is forgotten; its state stays as it is.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the grace of the stream is over; `true` only once.
    pub(crate) fn expire(&self) -> bool {
        self.hub.expire(&self.stream)
    }

    /// Forgets the stream, which has ended; `false` when somebody publishes it again.
    pub(crate) fn forget(&self) -> bool {
        self.hub.forget(&self.stream)
    }
}

/// Runs a stream until it has ended or the role shuts down.
pub(crate) type Drive = Box<dyn Fn(Opened) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// All streams of this ingest.
pub(crate) struct Hub {
    authority: Arc<Authority>,
    /// Issuers of tokens that publish.
    issuers: Arc<Issuers>,
    clock: Clock,
    patience: Patience,
    channels: Mutex<HashMap<StreamId, Channel>>,
    /// Who publishes in the whole cluster.
    publishers: Mutex<Publishers>,
    next_publisher: AtomicU64,
    shutdown: CancellationToken,
    drive: Drive,
    tasks: TaskTracker,
}

impl Hub {
    /// Without streams; `drive` is the task of each.
    pub(crate) fn new(
        (authority, issuers): (Arc<Authority>, Arc<Issuers>),
        (node, clock): (NodeId, Clock),
        patience: Patience,
        drive: Drive,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            authority,
            issuers,
            clock,
            patience,
            channels: Mutex::default(),
            publishers: Mutex::new(Publishers::new(node)),
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

    /// Lets a publisher with this key, or this token, publish its stream, or says why not. A token whose key is not known yet waits for
    /// its issuer, for some seconds at most.
    pub(crate) async fn admit(self: &Arc<Self>, key: &StreamKey) -> Result<Publication, Denied> {
        if let Some(reason) = self.authority.not_ready(self.clock.now().wall) {
            return Err(Denied::NotReady(reason));
        }
        let right = match Shown::of(key)? {
            Shown::Key(key) => {
                let table = self.authority.table().ok_or(Denied::NotReady(NO_TABLE))?;
                Right::of_key(key, &table)?
            }
            Shown::Token { .. } if self.issuers.is_empty_for(Use::Publish) => return Err(Denied::NoIssuer),
            Shown::Token { token, stream } => {
                let owner = |stream: &StreamId| self.authority.owner(stream);
                let (stream, verified) = self.issuers.publish(token, stream, owner).await?;
                Right::Token { stream, verified }
            }
        };
        self.enter(right)
    }

    fn enter(self: &Arc<Self>, right: Right) -> Result<Publication, Denied> {
        if self.shutdown.is_cancelled() {
            return Err(Denied::Stopping);
        }
        let now = self.clock.now();
        if let Some(reason) = self.authority.not_ready(now.wall) {
            return Err(Denied::NotReady(reason));
        }
        let mut channels = self.channels();
        // Read under the lock, so that `check_credentials` with a newer table sees every publisher admitted by an older one.
        let table = self.authority.table().ok_or(Denied::NotReady(NO_TABLE))?;
        let (stream, credential) = right.credential(&table, &self.issuers)?;
        let ends_at = credential.ends_at(now);
        let publisher = PublisherId(self.next_publisher.fetch_add(1, Ordering::Relaxed));
        let link = Arc::new(Link::default());
        link.heard(now.elapsed);
        let (media, received) = mpsc::channel(MEDIA_DEPTH);
        let new = NewPublisher { media: received, link: Arc::clone(&link) };
        // A driver that panicked leaves its channel behind; it must not lock its stream for ever.
        channels.retain(|_, channel| !channel.publishers.is_closed());
        self.ensure_tenant_may(&stream, &channels, now.elapsed)?;
        if let Some(channel) = channels.get_mut(&stream) {
            let silent_for = channel.link.silent_for(now.elapsed);
            // Reserved before the lifecycle changes, so that a full queue changes nothing.
            let room = channel.publishers.try_reserve().map_err(|_| Denied::Busy)?;
            let mut admission = Admission::Refuse;
            channel.lifecycle.send_if_modified(|lifecycle| {
                admission = lifecycle.admit(publisher, silent_for);
                admission != Admission::Refuse
            });
            match admission {
                Admission::Refuse => return Err(Denied::Busy),
                Admission::TakeOver => {
                    tracing::warn!(%stream, ?silent_for, "a new publisher takes over from a silent one");
                    channel.link.close(Ending::TakenOver, "Another publisher with this key has taken over.");
                }
                Admission::Accept => {}
            }
            room.send(new);
            (channel.link, channel.credential) = (Arc::clone(&link), credential);
            channel.figures.announced(EncoderMetadata::default());
        } else {
            if channels.len() >= STREAMS_MAX {
                return Err(Denied::Full);
            }
            let session = match self.authority.right(&stream) {
                authority::Right::Own => None,
                authority::Right::Session(session) => Some(session),
                authority::Right::Over => return Err(Denied::SessionOver),
                authority::Right::None => {
                    return Err(Denied::NotReady("The streamer has not delegated this stream to this ingest."));
                }
            };
            channels.insert(stream.clone(), self.open((&stream, session), publisher, credential, new));
        }
        drop(channels);
        Ok(Publication { stream, publisher, media, link, ends_at, hub: Arc::clone(self) })
    }

    /// Whether the tenant of a stream may publish it: it is not suspended, and has room for one more.
    fn ensure_tenant_may(
        &self,
        stream: &StreamId,
        channels: &HashMap<StreamId, Channel>,
        now: Duration,
    ) -> Result<(), Denied> {
        let Some(tenant) = self.authority.tenant_of(stream) else { return Ok(()) };
        if tenant.is_suspended {
            return Err(Denied::Suspended);
        }
        // A stream that waits for its publisher has its place already.
        let Some(most) = tenant.quota.publishers.filter(|_| !channels.contains_key(stream)) else { return Ok(()) };
        let is_its = |other: &StreamId| self.authority.tenant_of(other).is_some_and(|its| its.slug == tenant.slug);
        let mut others = self.publishers().elsewhere(now, is_its);
        others.extend(channels.keys().filter(|other| is_its(other)).cloned());
        others.remove(stream);
        if u64::try_from(others.len()).unwrap_or(u64::MAX) >= most {
            return Err(Denied::Publishers(most));
        }
        Ok(())
    }

    fn publishers(&self) -> MutexGuard<'_, Publishers> {
        // What is half written of a report is replaced by the next one.
        self.publishers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what is published at all ingests, and lets publishers go whose tenants use more than they may. Never returns.
    ///
    /// # Errors
    /// When the bus takes no subscription.
    pub(crate) async fn follow_tenants(&self, context: &node::Context) -> Result<(), bus::BusError> {
        let mut reports = context.bus.subscribe(&context.prefix.filter("streams/+/input")).await?;
        let mut ticks = tokio::time::interval(JUDGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = reports.recv() => match message {
                    Some(message) => {
                        if let Ok(report) = serde_json::from_slice::<InputReport>(&message.payload) {
                            self.publishers().heard(&report, self.clock.elapsed());
                        }
                    }
                    None => return std::future::pending().await,
                },
                _ = ticks.tick() => self.judge(),
            }
        }
    }

    fn judge(&self) {
        let limits_of = |stream: &StreamId| {
            let tenant = self.authority.tenant_of(stream)?;
            let (publishers, input_bps) = (tenant.quota.publishers, tenant.quota.input_bps);
            (publishers.is_some() || input_bps.is_some()).then_some(Limits { slug: tenant.slug, publishers, input_bps })
        };
        let verdicts = self.publishers().judge(self.clock.now(), limits_of);
        let channels = self.channels();
        for verdict in verdicts {
            let (Verdict::Warn(stream, _) | Verdict::TooMuch(stream, _) | Verdict::TooMany(stream, _)) = &verdict;
            let Some(channel) = channels.get(stream) else { continue };
            let words = match &verdict {
                Verdict::Warn(_, over) => {
                    channel.figures.over_quota(*over);
                    continue;
                }
                Verdict::TooMuch(_, OverQuota { used, quota }) => format!(
                    "This tenant's streams bring {used} bit/s, and its quota is {quota}: lower the bit rate, or ask the operator for more."
                ),
                Verdict::TooMany(_, most) => Denied::Publishers(*most).to_string(),
            };
            tracing::warn!(%stream, words, "a publisher is let go for its tenant's quota");
            channel.link.close(Ending::Quota, &words);
        }
    }

    fn open(
        self: &Arc<Self>,
        (stream, session): (&StreamId, Option<SessionId>),
        publisher: PublisherId,
        credential: Credential,
        first: NewPublisher,
    ) -> Channel {
        let Patience { grace, takeover_silence } = self.patience;
        let lifecycle = watch::Sender::new(Lifecycle::new(publisher, grace, takeover_silence));
        let (publishers, received) = mpsc::channel(PUBLISHERS_DEPTH);
        let figures = Arc::<Figures>::default();
        let link = Arc::clone(&first.link);
        let attendance = Attendance { hub: Arc::clone(self), stream: stream.clone(), lifecycle: lifecycle.subscribe() };
        let opened = Opened {
            stream: stream.clone(),
            session,
            figures: Arc::clone(&figures),
            attendance,
            first,
            publishers: received,
        };
        self.tasks.spawn((self.drive)(opened));
        Channel { lifecycle, link, credential, publishers, figures }
    }

    /// Closes publishers whose keys or tokens are no longer valid, and those of suspended tenants: after each table of keys from control,
    /// each fetch of an issuer's keys, and each change of the metadata log. Never returns.
    pub(crate) async fn follow_credentials(&self) {
        let (mut tables, mut fetches) = (self.authority.tables(), self.issuers.fetches());
        let mut rows = self.authority.rows();
        loop {
            // The senders live as long as `self`.
            let changed = tokio::select! {
                changed = tables.changed() => changed,
                changed = fetches.changed() => changed,
                changed = rows.changed() => changed,
            };
            if changed.is_err() {
                return std::future::pending().await;
            }
            let table = tables.borrow_and_update().clone();
            if let Some(table) = table {
                self.check_credentials(&table);
            }
        }
    }

    fn check_credentials(&self, table: &KeyTable) {
        for (stream, channel) in self.channels().iter() {
            if let Some((ending, words)) = channel.credential.objection(stream, table, &self.issuers) {
                channel.link.close(ending, words);
            } else if self.authority.tenant_of(stream).is_some_and(|tenant| tenant.is_suspended) {
                channel.link.close(Ending::Suspended, &Denied::Suspended.to_string());
            }
        }
    }

    fn gone(&self, stream: &StreamId, publisher: PublisherId) {
        let now = self.clock.elapsed();
        if let Some(channel) = self.channels().get(stream) {
            channel.lifecycle.send_if_modified(|lifecycle| lifecycle.gone(publisher, now));
        }
    }

    fn announced(&self, stream: &StreamId, announced: EncoderMetadata) {
        if let Some(channel) = self.channels().get(stream) {
            channel.figures.announced(announced);
        }
    }

    fn expire(&self, stream: &StreamId) -> bool {
        let now = self.clock.elapsed();
        let channels = self.channels();
        channels.get(stream).is_some_and(|channel| channel.lifecycle.send_if_modified(|it| it.expire(now)))
    }

    fn forget(&self, stream: &StreamId) -> bool {
        let mut channels = self.channels();
        let has_ended = |channel: &Channel| channel.lifecycle.borrow().state() == SessionState::Ended;
        let ended = channels.get(stream).is_none_or(has_ended);
        if ended {
            channels.remove(stream);
        }
        ended
    }

    /// Waits until all drivers have ended. The caller has cancelled `shutdown` before.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
