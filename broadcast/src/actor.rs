//! The gate's thread: feeds inputs to the pure gate, and carries out its outputs.
//!
//! Signatures are verified and segments hashed here, on a thread of their own, so that they never hold up the reactor that
//! serves viewers. Inputs wait in bounded queues. Nothing here polls: the thread sleeps until an input comes or a deadline
//! passes.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use media::{Epoch, StreamId};
use node::clock::Clock;
use seal::Keyring;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::disk::Disk;
use crate::dvr::RecorderQueue;
use crate::interrupted::Interrupted;
use crate::viewers::{NoPlace, NodeWaiters, StreamWaiters, Waiter, WaitingBounds};
use gate::limits::HEADS_MAX;
use gate::{Admitted, Answer, Effect, Gate, Input, Output, PullId, Pulled, SavedHead, StreamView};

/// Inputs that wait. A part of each of 20 renditions of 50 streams, and their seals; more is back-pressure.
const INPUTS_MAX: usize = 1024;
/// Effects that wait for the shell: pulls and alerts.
const EFFECTS_MAX: usize = 4096;

/// How often requests that wait for a stream look at the clock while it stands still. They may wait longer than they should by this much.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

struct Job {
    input: Input,
    answer: Option<oneshot::Sender<Answer>>,
}

/// The way into the gate, and the view of what it admitted. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
    views: Views,
    heads: Arc<Board<Bytes>>,
    interrupted: Interrupted,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// The views that are served, by stream, and the requests that wait for more. Reading takes no lock.
#[derive(Clone, Default)]
pub struct Views {
    streams: Arc<ArcSwap<BTreeMap<StreamId, Arc<Shown>>>>,
    waiters: NodeWaiters,
    /// Notified when a stream gets its first playlists.
    appeared: Arc<watch::Sender<()>>,
}

struct Shown {
    view: ArcSwap<StreamView>,
    waiters: StreamWaiters,
}

impl Views {
    /// The stream, if it is held.
    pub fn get(&self, stream: &StreamId) -> Option<Arc<StreamView>> {
        Some(self.streams.load().get(stream)?.view.load_full())
    }

    /// All streams that are held.
    pub fn all(&self) -> Vec<Arc<StreamView>> {
        self.streams.load().values().map(|shown| shown.view.load_full()).collect()
    }

    /// Changes whenever some stream gets its first playlists.
    pub fn appearances(&self) -> watch::Receiver<()> {
        self.appeared.subscribe()
    }

    /// No views yet, for which so many requests may wait.
    pub(crate) fn with_bounds(bounds: WaitingBounds) -> Self {
        Self { waiters: NodeWaiters::new(bounds), ..Self::default() }
    }

    /// A place to wait for another view of a stream, for as long as a blocking reload may (RFC 8216bis 6.2.5.2), for a request of the
    /// address `from`.
    ///
    /// # Errors
    /// When the stream has no playlists here, all places are taken, or the node is stopping.
    pub fn wait(&self, stream: &StreamId, from: Option<IpAddr>, clock: Clock) -> Result<Waiter, NoPlace> {
        let streams = self.streams.load();
        let shown = streams.get(stream).ok_or(NoPlace::Gone)?;
        let patience = shown.view.load().playlists.as_ref().ok_or(NoPlace::Gone)?.edge().patience();
        shown.waiters.enter(from, clock, patience)
    }

    /// Requests that wait now, of all streams.
    pub fn waiting(&self) -> usize {
        self.waiters.waiting()
    }

    /// Wakes the lanes of those who wait, one at a time, so that other tasks run in between. Every [`SWEEP_INTERVAL`], lets them look at
    /// the clock; on `shutdown`, sends them away.
    pub(crate) async fn wake_in_turn(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        let mut newest = None;
        loop {
            let turn = async {
                match &newest {
                    // Tasks that were woken before go first.
                    Some(_) => tokio::task::yield_now().await,
                    None => self.waiters.due().await,
                }
            };
            let is_over = tokio::select! {
                biased;
                () = shutdown.cancelled() => true,
                _ = ticks.tick() => false,
                () = turn => {
                    newest = self.wake_next(newest.as_ref());
                    continue;
                }
            };
            if is_over {
                self.waiters.close();
            }
            for shown in self.streams.load().values() {
                if is_over {
                    shown.waiters.wake();
                    while shown.waiters.wake_next() {}
                } else {
                    shown.waiters.sweep();
                }
            }
            metrics::gauge!("viewers_waiting").set(self.waiting() as f64);
            if is_over {
                return;
            }
        }
    }

    /// Wakes a lane of the first stream after this one that has a lane to be woken, and returns that stream.
    fn wake_next(&self, after: Option<&StreamId>) -> Option<StreamId> {
        let streams = self.streams.load();
        let later = streams.range::<StreamId, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let (stream, _) = later.chain(streams.iter()).find(|(_, shown)| shown.waiters.wake_next())?;
        Some(stream.clone())
    }

    /// Replaces the view of a stream, and returns the one before: dropping it may free many megabytes, which takes milliseconds.
    #[must_use]
    fn publish(&self, view: Arc<StreamView>) -> Option<Arc<StreamView>> {
        let streams = self.streams.load();
        if let Some(shown) = streams.get(&view.stream) {
            let (log, playlists) = (view.seals_admitted, view.playlists.clone());
            let before = shown.view.swap(view);
            if before.playlists.is_none() && playlists.is_some() {
                self.appeared.send_replace(());
            }
            // Refusals alone wake nobody: otherwise anybody who sends nonsense could wake all.
            if before.seals_admitted != log
                || before.playlists.as_ref().map(Arc::as_ptr) != playlists.as_ref().map(Arc::as_ptr)
            {
                shown.waiters.wake();
            }
            return Some(before);
        }
        let (mut streams, has_playlists) = (BTreeMap::clone(&streams), view.playlists.is_some());
        let (stream, waiters) = (view.stream.clone(), StreamWaiters::new(self.waiters.clone()));
        streams.insert(stream, Arc::new(Shown { view: ArcSwap::new(view), waiters }));
        self.streams.store(Arc::new(streams));
        if has_playlists {
            self.appeared.send_replace(());
        }
        None
    }

    fn forget(&self, stream: &StreamId) {
        let mut streams = BTreeMap::clone(&self.streams.load());
        streams.remove(stream);
        self.streams.store(Arc::new(streams));
    }
}

impl Handle {
    /// Gives the gate an input that needs no answer; waits for room. `Err` once the gate has stopped.
    pub async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.jobs.send(Job { input, answer: None }).await.map_err(|_| Stopped)
    }

    /// Gives the gate a push and waits for its answer. [`Answer::Full`] at once when too much waits already.
    pub async fn push(&self, input: Input) -> Result<Answer, Stopped> {
        let (answer, answered) = oneshot::channel();
        match self.jobs.try_send(Job { input, answer: Some(answer) }) {
            Ok(()) => answered.await.map_err(|_| Stopped),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(Answer::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// The views that are served.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Streams that were live when the node went down.
    pub(crate) const fn interrupted(&self) -> &Interrupted {
        &self.interrupted
    }

    /// The newest admitted seal of a stream as it travels, also of one that is no longer in memory.
    pub fn head(&self, stream: &StreamId) -> Option<Bytes> {
        let held = self.views.get(stream).and_then(|view| view.head.clone());
        held.or_else(|| self.heads.get(stream))
    }

    /// The newest epoch of which a seal was admitted here.
    pub fn epoch(&self, stream: &StreamId) -> Option<Epoch> {
        Some(seal::peek(&self.head(stream)?).ok()?.1.epoch)
    }

    /// Whether the log of a stream is in memory, and not its head alone.
    pub fn has_log(&self, stream: &StreamId) -> bool {
        self.views.get(stream).is_some_and(|view| !view.log.is_empty())
    }
}

/// The gate has stopped: the node is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gate has stopped")]
pub struct Stopped;

/// Where the gate's thread puts outputs that must not be lost: they do not go through the shell's bounded queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durable {
    /// Heads; `None` when nothing is to survive a restart.
    pub(crate) disk: Option<Disk>,
    /// Everything that is admitted; `None` when nothing is recorded.
    pub(crate) recorder: Option<RecorderQueue>,
}

/// A gate on a thread of its own.
#[derive(Debug)]
pub struct Actor {
    pub handle: Handle,
    /// Pulls to start and refusals to publish; the thread itself carries out all other outputs.
    pub effects: mpsc::Receiver<Effect>,
    thread: std::thread::JoinHandle<()>,
}

impl Actor {
    /// Starts the thread; nothing survives a restart. It ends when `shutdown` is cancelled.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn spawn(gate: Gate, clock: Clock, shutdown: CancellationToken) -> std::io::Result<Self> {
        Self::spawn_keeping(gate, (Durable::default(), Views::default()), clock, shutdown)
    }

    /// As [`Actor::spawn`]; outputs that must not be lost go to `kept`, and what is served to `views`.
    pub(crate) fn spawn_keeping(
        gate: Gate,
        (kept, views): (Durable, Views),
        clock: Clock,
        shutdown: CancellationToken,
    ) -> std::io::Result<Self> {
        let (jobs, inputs) = mpsc::channel(INPUTS_MAX);
        let (effects, effects_out) = mpsc::channel(EFFECTS_MAX);
        let heads = Arc::new(Board::default());
        for (stream, saved) in gate.heads() {
            heads.set(stream.clone(), saved.raw.clone(), HEADS_MAX);
        }
        let interrupted = Interrupted::of(gate.heads(), clock.now());
        let handle = Handle { jobs, views, heads, interrupted };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let outside = Outside::new(effects, kept, &handle);
        let thread = std::thread::Builder::new().name("gate".to_owned()).spawn(move || {
            runtime.block_on(run(gate, clock, inputs, outside, shutdown));
        })?;
        Ok(Self { handle, effects: effects_out, thread })
    }

    /// Splits off the thread, which outlives the effects: join it after the shutdown.
    pub fn into_parts(self) -> (Handle, mpsc::Receiver<Effect>, std::thread::JoinHandle<()>) {
        (self.handle, self.effects, self.thread)
    }
}

/// Where the gate's outputs go.
struct Outside {
    effects: mpsc::Sender<Effect>,
    kept: Durable,
    views: Views,
    heads: Arc<Board<Bytes>>,
    /// Pulls that the shell had no room for. The gate counts them as under way, so they are no more than it starts at once.
    not_started: VecDeque<PullId>,
}

async fn run(
    mut gate: Gate,
    clock: Clock,
    mut inputs: mpsc::Receiver<Job>,
    mut outside: Outside,
    shutdown: CancellationToken,
) {
    loop {
        let deadline = gate.next_deadline();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        let job = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // Fail one pull for each place that gets free in the shell, so that the pull which the gate starts instead finds room.
            Some(id) = outside.failed_pull() => {
                Job { input: Input::Pulled { id, result: Pulled::Failed(None) }, answer: None }
            }
            job = inputs.recv() => match job {
                Some(job) => job,
                None => return,
            },
            () = due => Job { input: Input::Tick, answer: None },
        };
        let (mut given, mut retired) = (None, Vec::new());
        for output in gate.apply(job.input, clock.now()) {
            match output {
                Output::Publish(view) => retired.extend(outside.views.publish(view)),
                Output::Respond(answer) => given = Some(answer),
                Output::Forget(stream) => outside.forget(stream),
                Output::SaveHead(stream, saved) => outside.save_head(stream, saved),
                Output::Keys(keyring) => outside.keys(keyring),
                Output::Admitted(stream, admitted) => outside.admitted(stream, *admitted),
                Output::Effect(effect) => outside.effect(effect),
            }
        }
        // Answer last, so that a pusher finds published what follows from its push. The pusher may have gone; its bytes stay.
        if let Some((answer, given)) = job.answer.zip(given) {
            let _ = answer.send(given);
        }
        drop(retired);
    }
}

impl Outside {
    fn new(effects: mpsc::Sender<Effect>, kept: Durable, handle: &Handle) -> Self {
        let (views, heads) = (handle.views.clone(), handle.heads.clone());
        Self { effects, kept, views, heads, not_started: VecDeque::new() }
    }

    fn forget(&self, stream: StreamId) {
        self.views.forget(&stream);
        if let Some(recorder) = &self.kept.recorder {
            recorder.forget(stream);
        }
    }

    fn save_head(&self, stream: StreamId, saved: SavedHead) {
        if let Some(disk) = &self.kept.disk {
            disk.save_head(&stream, &saved);
        }
        self.heads.set(stream, saved.raw, HEADS_MAX);
    }

    fn keys(&self, keyring: Arc<Keyring>) {
        if let Some(recorder) = &self.kept.recorder {
            recorder.keys(keyring);
        }
    }

    fn admitted(&self, stream: StreamId, admitted: Admitted) {
        if let Some(recorder) = &self.kept.recorder {
            recorder.admitted(stream, admitted);
        }
    }

    fn effect(&mut self, effect: Effect) {
        if let Effect::Refused(refused) = &effect {
            metrics::counter!("broadcast_refusals_total", "reason" => refused.reason.label()).increment(1);
        }
        if let Err(error) = self.effects.try_send(effect) {
            self.dropped(error);
        }
    }

    /// The shell is too slow or gone. A pull that is not started fails; an alert is lost, but its refusal is counted already.
    fn dropped(&mut self, error: mpsc::error::TrySendError<Effect>) {
        metrics::counter!("broadcast_effects_dropped_total").increment(1);
        let (mpsc::error::TrySendError::Full(effect) | mpsc::error::TrySendError::Closed(effect)) = error;
        if let Effect::PullObject { id, .. } | Effect::PullLog { id, .. } = effect {
            self.not_started.push_back(id);
        }
    }

    /// The oldest pull that was not started, as soon as the shell has room for another; `None` when there is none. Safe to cancel.
    async fn failed_pull(&mut self) -> Option<PullId> {
        if !self.not_started.is_empty() {
            // The shell is gone only when the node stops.
            let _room = self.effects.reserve().await.ok()?;
        }
        self.not_started.pop_front()
    }
}

/// State that the shell keeps for display, by stream: bounded by the caller.
#[derive(Debug)]
pub(crate) struct Board<T>(Mutex<BTreeMap<StreamId, T>>);

impl<T> Default for Board<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Board<T> {
    /// Keeps the newest of a stream, unless there are `max` others.
    pub(crate) fn set(&self, stream: StreamId, value: T, max: usize) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if board.contains_key(&stream) || board.len() < max {
            board.insert(stream, value);
        }
    }

    pub(crate) fn get(&self, stream: &StreamId) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    pub(crate) fn all(&self) -> BTreeMap<StreamId, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remove(&self, stream: &StreamId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use media::ObjectName;

    use super::*;
    use gate::{Settings, Source};
    use testkit::studio::{Authority, Row, Studio, node, sha256};

    #[tokio::test]
    async fn rows_wake_those_who_wait_and_refusals_do_not() {
        let (clock, shutdown) = (Clock::new(), CancellationToken::new());
        let authority = Authority::new();
        let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 1 << 30 };
        let gate = Gate::new(settings, Authority::nobody(), BTreeMap::new());
        let (handle, mut effects, _thread) = Actor::spawn(gate, clock, shutdown.clone()).unwrap().into_parts();
        tokio::spawn(async move { while effects.recv().await.is_some() {} });
        let mut studio = Studio::new("demo", clock.wall());
        handle.send(Input::Keys(authority.grant(&studio, clock.wall()))).await.unwrap();
        let push = async |row: &Row| {
            for (name, bytes) in row.objects.clone() {
                let digest = sha256(&bytes);
                handle.push(Input::Object { name, digest, bytes, peer: node("i1") }).await.unwrap();
            }
            let (stream, raw) = (row.sealed.body().stream.clone(), row.sealed.raw().clone());
            handle.push(Input::Seal { stream, raw, source: Source::Put(node("i1")) }).await.unwrap();
        };
        let segment = studio.segment(clock.wall());
        for row in &segment {
            push(row).await;
        }
        // The first seal of a stream waits for peers that could know more; then all of them are admitted, one after the other.
        while handle.views().get(&studio.stream).is_none_or(|view| view.seals_admitted < segment.len() as u64) {
            tokio::task::yield_now().await;
        }
        let refused = async || {
            let (stream, raw) = (studio.stream.clone(), Bytes::from_static(b"a seal"));
            let answer = handle.push(Input::Seal { stream, raw, source: Source::Put(node("i1")) }).await.unwrap();
            assert!(matches!(answer, Answer::Refused(_)));
        };
        // A view can be seen just before those who wait are woken. A push is answered after both.
        refused().await;
        let mut waiter = handle.views().wait(&studio.stream, None, clock).unwrap();
        refused().await;
        assert!(!handle.views().get(&studio.stream).unwrap().refused.is_empty(), "there is another view");
        assert_eq!(waiter.woken().now_or_never(), None);
        push(&studio.row(clock.wall())).await;
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        assert_eq!(handle.views().waiting(), 1);
        shutdown.cancel();
    }

    #[tokio::test]
    async fn pulls_that_found_no_room_are_asked_again_and_what_must_be_kept_is() {
        let (clock, shutdown) = (Clock::new(), CancellationToken::new());
        let authority = Authority::new();
        let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 1 << 30 };
        let gate = Gate::new(settings, Authority::nobody(), BTreeMap::new());
        let (jobs, inputs) = mpsc::channel(INPUTS_MAX);
        let (effects, mut drained) = mpsc::channel(1);
        let interrupted = Interrupted::of(gate.heads(), clock.now());
        let handle = Handle { jobs, views: Views::default(), heads: Arc::default(), interrupted };
        let kept = Durable::default();
        let outside = Outside::new(effects, kept.clone(), &handle);
        let actor = tokio::spawn(run(gate, clock, inputs, outside, shutdown.clone()));

        // An alert fills the channel; nobody takes it.
        handle.send(Input::Garbage("a seal")).await.unwrap();
        handle.send(Input::Peers(vec![node("b2"), node("b3")])).await.unwrap();
        let mut studio = Studio::new("demo", clock.wall());
        handle.send(Input::Keys(authority.grant(&studio, clock.wall()))).await.unwrap();
        let row = studio.row(clock.wall());
        let (raw, source) = (row.sealed.raw().clone(), Source::Put(node("i1")));
        assert_eq!(handle.push(Input::Seal { stream: studio.stream.clone(), raw, source }).await, Ok(Answer::Stored));

        assert!(matches!(drained.recv().await, Some(Effect::Refused(_))));
        // The logs that nobody fetched have failed, so the stream goes on without; then one pull at a time finds room.
        let mut missing: BTreeSet<ObjectName> = row.objects.iter().map(|(name, _)| name.clone()).collect();
        let all_asked = async {
            while !missing.is_empty() {
                if let Some(Effect::PullObject { name, .. }) = drained.recv().await {
                    missing.remove(&name);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all_asked).await.unwrap();
        shutdown.cancel();
        actor.await.unwrap();
    }
}
