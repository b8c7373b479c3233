//! The chats of a node: rooms with readers, what the bus brings for them, and what is asked of control.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acceptor::{Census, Slot};
use bytes::Bytes;
use media::StreamId;
use messages::ChatChanges;
use node::CancellationToken;
use replica::Peers;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};

use super::room::{Room, Since, Source, Taken};

/// Changes that a slow reader may lag behind before it gets the whole history instead. A chat at its fastest has some 50 a second.
const LAG_MAX: usize = 64;
/// Rooms on a node. One without readers makes room for another.
const ROOMS_MAX: usize = 1_000;
/// Questions to control that wait.
const WANTED_MAX: usize = 1_000;
/// Pause before control is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longest answer of control in bytes: 200 messages of 2,000 bytes, each byte escaped.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bounds within which readers are told to wait before they come back, in milliseconds: those of a node that died come one by one.
const RETRY_MS: (u64, u64) = (1_000, 10_000);

/// How many readers a node has.
#[derive(Debug, Clone, Copy)]
pub struct ChatBounds {
    /// At once, those behind a balancer included.
    pub readers_max: usize,
    /// At once, of one address that does not come through a balancer.
    pub readers_share: usize,
}

impl Default for ChatBounds {
    fn default() -> Self {
        Self { readers_max: 20_000, readers_share: 256 }
    }
}

/// All chats of a node.
#[derive(Debug)]
pub struct ChatHub {
    rooms: Mutex<HashMap<StreamId, Shared>>,
    /// No control node is there: nobody can write.
    paused: watch::Sender<bool>,
    readers: Arc<Semaphore>,
    shares: Arc<Census>,
    wanted: mpsc::Sender<StreamId>,
    asked: Mutex<Option<mpsc::Receiver<StreamId>>>,
    came: AtomicU64,
    stopping: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    room: Room,
    /// Events as they are sent; all readers share their bytes.
    events: broadcast::Sender<Bytes>,
}

/// A reader's place.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) events: broadcast::Receiver<Bytes>,
    pub(super) paused: watch::Receiver<bool>,
    pub(super) stopping: CancellationToken,
    /// How long to wait before coming back, in milliseconds.
    pub(super) retry_ms: u64,
    _place: (tokio::sync::OwnedSemaphorePermit, Option<Slot>),
}

impl ChatHub {
    pub fn new(bounds: ChatBounds, stopping: CancellationToken) -> Arc<Self> {
        let (wanted, asked) = mpsc::channel(WANTED_MAX);
        Arc::new(Self {
            rooms: Mutex::default(),
            paused: watch::Sender::new(true),
            readers: Arc::new(Semaphore::new(bounds.readers_max)),
            shares: Census::new(usize::MAX, bounds.readers_share),
            wanted,
            asked: Mutex::new(Some(asked)),
            came: AtomicU64::new(0),
            stopping,
        })
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<StreamId, Shared>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader comes; `None` when there is no place for it.
    pub(super) fn enter(&self, stream: &StreamId, address: Option<IpAddr>) -> Option<Seat> {
        let permit = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        let slot = address.map(|address| self.shares.admit(address)).transpose().ok()?;
        let mut rooms = self.rooms();
        if rooms.len() >= ROOMS_MAX && !rooms.contains_key(stream) {
            rooms.retain(|_, shared| shared.events.receiver_count() > 0);
            if rooms.len() >= ROOMS_MAX {
                return None;
            }
        }
        let shared = rooms
            .entry(stream.clone())
            .or_insert_with(|| Shared { room: Room::default(), events: broadcast::Sender::new(LAG_MAX) });
        if !shared.room.is_filled() {
            self.want(stream);
        }
        let (least, most) = RETRY_MS;
        // Spread evenly over those who come one after the other.
        let spread = self.came.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) % (most - least);
        Some(Seat {
            events: shared.events.subscribe(),
            paused: self.paused.subscribe(),
            stopping: self.stopping.clone(),
            retry_ms: least + spread,
            _place: (permit, slot),
        })
    }

    /// What is new for a reader, as an event; `None` for nothing.
    pub(super) fn since(&self, stream: &StreamId, last: Option<u64>) -> Option<Bytes> {
        let rooms = self.rooms();
        let room = &rooms.get(stream)?.room;
        let since = room.since(last);
        (since.is_reset || !since.messages.is_empty()).then(|| event(&since, room.head()))
    }

    /// Takes what the bus says of a chat. Chats that nobody reads here are not kept.
    pub fn heard(&self, stream: &StreamId, changes: ChatChanges) {
        self.take(stream, changes, Source::Bus);
    }

    /// Takes what control has answered.
    pub fn answered(&self, stream: &StreamId, changes: ChatChanges) {
        self.take(stream, changes, Source::Control);
    }

    fn take(&self, stream: &StreamId, changes: ChatChanges, source: Source) {
        if !changes.is_plausible() {
            metrics::counter!("broadcast_chat_malformed_total").increment(1);
            return;
        }
        let mut rooms = self.rooms();
        let Some(shared) = rooms.get_mut(stream) else { return };
        let was_filled = shared.room.is_filled();
        match shared.room.take(changes, source) {
            Taken::Lacks => self.want(stream),
            Taken::New(_) if !was_filled => {
                // Readers that came before have nothing yet.
                let _ = shared.events.send(event(&shared.room.since(None), shared.room.head()));
            }
            Taken::New(messages) if !messages.is_empty() => {
                // Nobody reads: then nobody misses it.
                let _ = shared.events.send(event(&Since { is_reset: false, messages }, shared.room.head()));
            }
            Taken::New(_) => {}
        }
    }

    fn want(&self, stream: &StreamId) {
        // When too many wait already, the next change asks again.
        let _ = self.wanted.try_send(stream.clone());
    }

    /// Says whether a control node is there.
    pub fn pause(&self, is_paused: bool) {
        self.paused.send_if_modified(|paused| std::mem::replace(paused, is_paused) != is_paused);
    }

    /// Forgets chats that are no more.
    pub fn keep(&self, has_chat: impl Fn(&StreamId) -> bool) {
        self.rooms().retain(|stream, _| has_chat(stream));
    }

    /// Asks control for what is missing, until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, peers: Peers, shutdown: CancellationToken) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else { return };
        let mut again = tokio::time::interval(ASK_AGAIN);
        let mut lacking = BTreeSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(stream) = asked.recv() => { lacking.insert(stream); }
                _ = again.tick(), if !lacking.is_empty() => {}
            }
            while let Ok(stream) = asked.try_recv() {
                lacking.insert(stream);
            }
            let mut left = BTreeSet::new();
            for stream in lacking {
                if !self.ask(&peers, &stream).await {
                    left.insert(stream);
                    break;
                }
            }
            lacking = left;
        }
    }

    /// Returns whether control has answered, or nobody wants to know any more.
    async fn ask(&self, peers: &Peers, stream: &StreamId) -> bool {
        let Some(after) = self.rooms().get(stream).map(|shared| shared.room.head()) else { return true };
        let answer = peers.ask_control(&format!("chat/{stream}?after={after}"), ANSWER_BYTES_MAX).await;
        match answer.map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(changes)) => self.answered(stream, changes),
            Ok(Err(_)) => metrics::counter!("broadcast_chat_malformed_total").increment(1),
            Err(error) => {
                tracing::debug!(%stream, error = format!("{error:#}"), "control does not say what is in a chat");
                return false;
            }
        }
        true
    }
}

/// Messages as an event (HTML, 9.2). JSON on one line has no line break.
fn event(since: &Since, head: u64) -> Bytes {
    let data = serde_json::json!({ "reset": since.is_reset, "messages": since.messages });
    Bytes::from(format!("event: chat\nid: {head}\ndata: {data}\n\n"))
}
