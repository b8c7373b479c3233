//! Follows streams: which ones this node holds, its bus subscriptions for each, and what its viewers watch.
//!
//! Owns the subscriptions of streams, and decides when the node begins and stops to follow one ([`interest`]). The gate holds
//! what is followed; [`crate::edge`] fetches bytes for an edge.

mod interest;
mod prefetch;
mod subscriptions;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acceptor::Census;
use anyhow::Result;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use media::{NodeId, RenditionId, StreamId};
use messages::{SessionInfo, SessionState};
use node::clock::Clock;
use node::{CancellationToken, Context};
use tokio::sync::mpsc;

use crate::actor::{Handle, Views};
use crate::edge::Fetcher;
use crate::interrupted::Interrupted;
use crate::viewers::WAITING_SHARE;
use gate::{Holding, Input};
use interest::{Change, Interest};

/// Words of requests and pushes that wait for the follower; one that finds no room is repeated with the next request or push.
const WORDS_MAX: usize = 1024;
/// Requests that wait for a stream that was not followed before. Of each address, [`WAITING_SHARE`] stay when all places are taken.
const NEWCOMERS_MAX: usize = 16 * 1024;
/// How long such a request waits: a log comes from an owner in tens of milliseconds, and a frozen owner is passed over after a second.
const NEWCOMER_WAIT_MAX: Duration = Duration::from_secs(4);
/// How long it waits for a stream whose session is over: its owners show its end for a while.
const ENDED_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long it waits for an interrupted stream: for an encoder that tries again every 2 s, and for what is learnt of it before
/// its stream goes on. Less than the 10 s after which hls.js takes a server for dead.
const INTERRUPTED_WAIT_MAX: Duration = Duration::from_secs(6);
/// How long a rendition counts as watched after the last request for it: a player reloads its playlist at least once per target duration.
const WATCHED_FOR: Duration = Duration::from_secs(12);
/// Renditions of a stream whose last request is remembered.
const RENDITIONS_MAX: usize = seal::limits::RENDITIONS_MAX;
/// While an ingest pushes a stream, the follower is told of it this often.
const PUSHED_INTERVAL: Duration = Duration::from_secs(2);

/// What requests and pushes tell the follower.
#[derive(Debug)]
enum Request {
    Wanted(StreamId),
    Pushed(StreamId),
}

/// A stream that is followed, and who watches it.
#[derive(Debug)]
pub(crate) struct Followed {
    holding: Holding,
    asked_ms: AtomicU64,
    pushed_ms: AtomicU64,
    watched: Mutex<BTreeMap<RenditionId, Duration>>,
}

impl Followed {
    fn new(holding: Holding, now: Duration) -> Self {
        let (asked_ms, pushed_ms) = (AtomicU64::new(millis(now)), AtomicU64::new(0));
        Self { holding, asked_ms, pushed_ms, watched: Mutex::default() }
    }

    /// Whether the rendition was asked for within [`WATCHED_FOR`].
    pub(crate) fn is_watched(&self, rendition: &RenditionId, now: Duration) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.get(rendition).is_some_and(|at| now.saturating_sub(*at) < WATCHED_FOR)
    }

    fn watch(&self, rendition: Option<&RenditionId>, now: Duration) {
        self.asked_ms.store(millis(now), Ordering::Relaxed);
        let Some(rendition) = rendition else { return };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = watched.get_mut(rendition) {
            *at = now;
        } else if watched.len() < RENDITIONS_MAX {
            watched.insert(rendition.clone(), now);
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Takes notes of requests and pushes, and shows what is followed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attention(Arc<AttentionState>);

struct AttentionState {
    followed: ArcSwap<BTreeMap<StreamId, Arc<Followed>>>,
    /// State of the newest session that was announced of each stream.
    known: ArcSwap<BTreeMap<StreamId, SessionState>>,
    requests: mpsc::Sender<Request>,
    newcomers: Arc<Census>,
    interrupted: Interrupted,
    views: Views,
    clock: Clock,
}

impl Attention {
    /// Notes that a viewer of the address `from` asks for a stream. When the stream is at other nodes only, or was interrupted, the future resolves
    /// once its playlists are here, or once the wait is over; `None` when there is nothing to wait for.
    pub(crate) fn attend(
        &self,
        stream: &StreamId,
        rendition: Option<&RenditionId>,
        from: Option<IpAddr>,
    ) -> Option<BoxFuture<'static, ()>> {
        let shared = &self.0;
        let was_interrupted = shared.interrupted.contains(stream);
        match shared.followed.load().get(stream) {
            Some(followed) if followed.holding == Holding::Owner && !was_interrupted => return None,
            Some(followed) => followed.watch(rendition, shared.clock.elapsed()),
            None if shared.known.load().contains_key(stream) => _ = self.say(Request::Wanted(stream.clone())),
            None if was_interrupted => {}
            None => return None,
        }
        if shared.has_playlists(stream) {
            return None;
        }
        let is_over = shared.known.load().get(stream) == Some(&SessionState::Ended);
        let wait_max = match is_over {
            _ if was_interrupted => INTERRUPTED_WAIT_MAX,
            true => ENDED_WAIT_MAX,
            false => NEWCOMER_WAIT_MAX,
        };
        let newcomers = &shared.newcomers;
        let place = from.map_or_else(|| newcomers.admit_to_stay(), |address| newcomers.admit(address)).ok()?;
        let (shared, stream) = (Arc::clone(shared), stream.clone());
        Some(Box::pin(async move {
            let mut appeared = shared.views.appearances();
            let there = async { while !shared.has_playlists(&stream) && appeared.changed().await.is_ok() {} };
            let mut changes = shared.interrupted.changes();
            let there = async {
                tokio::select! {
                    () = there => {}
                    () = place.displaced() => {}
                    _ = changes.wait_for(|streams| !streams.contains(&stream)), if was_interrupted => {}
                }
            };
            // A stream that comes too late is answered like an absent one.
            let _ = tokio::time::timeout(wait_max, there).await;
        }))
    }

    /// Notes that an ingest pushes a stream.
    pub(crate) fn pushed(&self, stream: &StreamId) {
        let now = millis(self.0.clock.elapsed());
        let followed = self.0.followed.load();
        let told = followed.get(stream).map(|followed| &followed.pushed_ms);
        let is_fresh = |told: &AtomicU64| {
            let at = told.load(Ordering::Relaxed);
            at > 0 && now.saturating_sub(at) < millis(PUSHED_INTERVAL)
        };
        if !told.is_some_and(is_fresh) && self.say(Request::Pushed(stream.clone())) {
            told.iter().for_each(|told| told.store(now, Ordering::Relaxed));
        }
    }

    /// Whether a stream was interrupted, and does not go on yet.
    pub(crate) fn is_interrupted(&self, stream: &StreamId) -> bool {
        self.0.interrupted.contains(stream) && !self.0.has_playlists(stream)
    }

    /// Whether this node is an owner or an edge of a stream; `None` when it does not follow it.
    pub(crate) fn holding(&self, stream: &StreamId) -> Option<Holding> {
        self.0.followed.load().get(stream).map(|followed| followed.holding)
    }

    /// Tells the follower; `false` when there is no room. The next request or push then repeats the word.
    fn say(&self, word: Request) -> bool {
        self.0.requests.try_send(word).is_ok()
    }
}

impl AttentionState {
    fn has_playlists(&self, stream: &StreamId) -> bool {
        self.views.get(stream).is_some_and(|view| view.playlists.is_some())
    }
}

/// Decides which streams the node follows, and follows them.
pub(crate) struct Follower {
    attention: Attention,
    requests: mpsc::Receiver<Request>,
    interest: Interest,
    context: Context,
    gate: Handle,
    fetcher: Fetcher,
    subscriptions: BTreeMap<StreamId, subscriptions::StreamSubscriptions>,
    prefetching: BTreeMap<StreamId, tokio_util::sync::DropGuard>,
}

impl Follower {
    pub(crate) fn new(context: Context, gate: Handle, fetcher: Fetcher) -> Self {
        let (requests, heard) = mpsc::channel(WORDS_MAX);
        let attention = Attention(Arc::new(AttentionState {
            followed: ArcSwap::default(),
            known: ArcSwap::default(),
            requests,
            newcomers: Census::fair(NEWCOMERS_MAX, WAITING_SHARE),
            interrupted: gate.interrupted().clone(),
            views: gate.views().clone(),
            clock: context.clock,
        }));
        let interest = Interest::new(context.id.clone());
        let (subscriptions, prefetching) = (BTreeMap::new(), BTreeMap::new());
        Self { attention, requests: heard, interest, context, gate, fetcher, subscriptions, prefetching }
    }

    pub(crate) fn attention(&self) -> Attention {
        self.attention.clone()
    }

    /// Waits for a word of a request or a push, and acts on it. Cancelling loses at most that word.
    pub(crate) async fn heed(&mut self) {
        let Some(word) = self.requests.recv().await else { return std::future::pending().await };
        let now = self.context.clock.elapsed();
        let change = match word {
            Request::Wanted(stream) => self.interest.wanted(&stream, now),
            Request::Pushed(stream) => self.interest.pushed(&stream, now),
        };
        self.change(change).await;
    }

    /// Takes a session that an ingest announced.
    pub(crate) async fn session(&mut self, info: &SessionInfo) {
        let verified = self.gate.epoch(&info.stream);
        let change = self.interest.session(info, verified, self.context.clock.elapsed());
        let known = self.attention.0.known.load();
        if self.interest.is_newest(info) && known.get(&info.stream) != Some(&info.state) {
            let mut known = BTreeMap::clone(&known);
            known.insert(info.stream.clone(), info.state);
            self.attention.0.known.store(Arc::new(known));
        }
        self.change(change).await;
    }

    /// Whether that is the session that counts of its stream.
    pub(crate) fn is_newest(&self, info: &SessionInfo) -> bool {
        self.interest.is_newest(info)
    }

    /// Stops following what nobody asks for any more, and subscribes again where that failed.
    pub(crate) async fn tick(&mut self) {
        let followed = self.attention.0.followed.load_full();
        let asked = |stream: &StreamId| {
            let followed = followed.get(stream).filter(|followed| followed.holding == Holding::Edge)?;
            Some(Duration::from_millis(followed.asked_ms.load(Ordering::Relaxed)))
        };
        for change in self.interest.tick(asked, self.context.clock.elapsed()) {
            self.change(Some(change)).await;
        }
        let now_followed = self.attention.0.followed.load_full();
        for stream in now_followed.keys() {
            if !self.subscriptions.contains_key(stream) {
                self.listen(stream).await;
            }
        }
        let known = self.attention.0.known.load();
        if known.len() > self.interest.len() {
            let known = known.iter().filter(|(stream, _)| self.interest.is_known(stream));
            let known = known.map(|(stream, state)| (stream.clone(), *state)).collect();
            self.attention.0.known.store(Arc::new(known));
        }
    }

    async fn listen(&mut self, stream: &StreamId) {
        match subscriptions::StreamSubscriptions::open(&self.context, &self.gate, stream).await {
            Ok(subscriptions) => _ = self.subscriptions.insert(stream.clone(), subscriptions),
            // An owner is pushed to, and an edge asks owners for the log whenever it is silent.
            Err(error) => tracing::warn!(%stream, error = format!("{error:#}"), "cannot subscribe to a stream"),
        }
    }

    async fn change(&mut self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::Follow { stream, holding, owners }) => self.follow(stream, holding, owners).await,
            Some(Change::Unfollow(stream)) => self.unfollow(stream).await,
        }
    }

    async fn follow(&mut self, stream: StreamId, holding: Holding, owners: Vec<NodeId>) {
        tracing::debug!(%stream, ?holding, "followed");
        self.fetcher.owned_by(&stream, owners.clone());
        // The gate is gone only when the node stops.
        let _ = self.gate.send(Input::Follow { stream: stream.clone(), holding, owners }).await;
        if !self.subscriptions.contains_key(&stream) {
            self.listen(&stream).await;
        }
        let is_new = self.attention.holding(&stream) != Some(holding);
        if !is_new {
            return;
        }
        let now = self.context.clock.elapsed();
        let followed = Arc::new(Followed::new(holding, now));
        self.publish(|all| _ = all.insert(stream.clone(), Arc::clone(&followed)));
        match holding {
            Holding::Owner => _ = self.prefetching.remove(&stream),
            Holding::Edge => {
                let stop = CancellationToken::new();
                let with = (self.fetcher.clone(), self.gate.views().clone(), self.context.clock);
                tokio::spawn(prefetch::run(with, stream.clone(), followed, stop.clone()));
                self.prefetching.insert(stream, stop.drop_guard());
            }
        }
    }

    async fn unfollow(&mut self, stream: StreamId) {
        tracing::debug!(%stream, "not followed any more");
        self.publish(|all| _ = all.remove(&stream));
        if let Some(subscriptions) = self.subscriptions.remove(&stream) {
            // Otherwise a seal that is still handed over would make the stream again.
            subscriptions.close().await;
        }
        self.prefetching.remove(&stream);
        self.fetcher.forget(&stream);
        let _ = self.gate.send(Input::Unfollow(stream)).await;
    }

    fn publish(&self, change: impl FnOnce(&mut BTreeMap<StreamId, Arc<Followed>>)) {
        let mut followed = BTreeMap::clone(&self.attention.0.followed.load());
        change(&mut followed);
        self.attention.0.followed.store(Arc::new(followed));
    }
}

/// Subscribes; an error names the filter.
pub(crate) async fn subscribe(context: &Context, rest: &str) -> Result<bus::Subscription> {
    use anyhow::Context as _;
    let filter = context.prefix.filter(rest);
    context.bus.subscribe(&filter).await.with_context(|| format!("cannot subscribe to {filter}"))
}
