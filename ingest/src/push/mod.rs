//! Pushing: bytes to every broadcast node over HTTP/2, seals to the bus and, besides, to the nodes themselves.
//!
//! Owns delivery: one task per node and one for the bus, each with its own place in the stream's [`Ring`], so that one that is slow
//! or away holds up nobody. A node that was away goes on where it was, as far back as the ring reaches. Deliberately knows
//! nothing of what it carries.

mod bus;
mod node_task;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use media::{Epoch, LogSequence, NodeId, StreamId};
use node::CancellationToken;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use ring::{Ring, RingEntry};

use crate::nodes::{BroadcastNode, Nodes};

/// Place of a seal in the log.
pub(crate) type Place = (Epoch, LogSequence);

/// What the tasks of one stream share.
#[derive(Debug)]
pub(crate) struct Shared {
    stream: StreamId,
    ring: Mutex<Ring>,
    /// [`Ring::end`]: tells the tasks that there is more.
    end: watch::Sender<u64>,
    /// Newest seal all of whose bytes a node has acknowledged.
    acknowledged: watch::Sender<Option<Place>>,
    /// Newest seal that a node said has no place in the log.
    conflict: watch::Sender<Option<Place>>,
    /// Index of the next entry for the bus.
    published: watch::Sender<u64>,
}

impl Shared {
    fn with_ring<T>(&self, look: impl FnOnce(&mut Ring) -> T) -> T {
        // A panic while it was held can only have come out of the allocator; the ring is whole.
        look(&mut self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acknowledge(&self, place: Place) {
        raise(&self.acknowledged, place);
    }

    fn conflicts(&self, place: Place) {
        raise(&self.conflict, place);
    }
}

fn raise(newest: &watch::Sender<Option<Place>>, place: Place) {
    newest.send_if_modified(|newest| {
        let newer = newest.is_none_or(|newest| newest < place);
        if newer {
            *newest = Some(place);
        }
        newer
    });
}

/// Delivery of one stream.
pub(crate) struct Pusher {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Pusher {
    /// Starts the tasks. They end with [`Pusher::finish`] or `shutdown`.
    pub(crate) fn start(stream: StreamId, context: &node::Context, http: reqwest::Client, nodes: &Nodes) -> Self {
        let shared = Arc::new(Shared {
            stream,
            ring: Mutex::default(),
            end: watch::Sender::new(0),
            acknowledged: watch::Sender::new(None),
            conflict: watch::Sender::new(None),
            published: watch::Sender::new(0),
        });
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(supervise(Arc::clone(&shared), context.clone(), http, nodes.watch(), shutdown.clone()));
        Self { shared, shutdown, task }
    }

    /// Hands an entry over to all tasks. Never waits.
    pub(crate) fn push(&self, entry: RingEntry) {
        let end = self.shared.with_ring(|ring| {
            ring.push(entry);
            ring.end()
        });
        self.shared.end.send_replace(end);
    }

    /// The newest seal all of whose bytes some node has acknowledged.
    pub(crate) fn acknowledged(&self) -> watch::Receiver<Option<Place>> {
        self.shared.acknowledged.subscribe()
    }

    /// The newest seal that some node said has no place in the log: the log goes on elsewhere.
    pub(crate) fn conflict(&self) -> watch::Receiver<Option<Place>> {
        self.shared.conflict.subscribe()
    }

    /// Bytes held for nodes that come back.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.shared.with_ring(|ring| ring.bytes())
    }

    /// Waits until every entry is on the bus, and some node has all bytes, as far as a broker and nodes are there. The caller
    /// bounds the wait.
    pub(crate) async fn delivered(&self, newest: Place) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let mut published = self.shared.published.subscribe();
        let end = *self.shared.end.borrow();
        // An error means that the tasks are gone: there is nothing more to wait for.
        let _ = acknowledged.wait_for(|place| place.is_some_and(|place| place >= newest)).await;
        let _ = published.wait_for(|index| *index >= end).await;
    }

    /// Ends the tasks; what was not delivered by now is not.
    pub(crate) async fn finish(self) {
        self.shutdown.cancel();
        // It ends with its token, and a panic in it has been reported by the runtime.
        let _ = self.task.await;
    }
}

/// Keeps one task for the bus and one for every broadcast node that is seen.
async fn supervise(
    shared: Arc<Shared>,
    context: node::Context,
    http: reqwest::Client,
    mut nodes: watch::Receiver<Arc<BTreeMap<NodeId, BroadcastNode>>>,
    shutdown: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut known = BTreeMap::new();
    tasks.spawn(bus::run(Arc::clone(&shared), context.bus.clone(), context.prefix.clone(), shutdown.clone()));
    loop {
        let now = Arc::clone(&nodes.borrow_and_update());
        for (id, seen) in now.iter() {
            let sender = known.entry(id.clone()).or_insert_with(|| {
                let sender = watch::Sender::new(seen.clone());
                let task = node_task::NodeTask::new(
                    id.clone(),
                    Arc::clone(&shared),
                    http.clone(),
                    sender.subscribe(),
                    shutdown.clone(),
                );
                tasks.spawn(task.run());
                sender
            });
            sender.send_if_modified(|known| (*known != *seen).then(|| *known = seen.clone()).is_some());
        }
        tokio::select! {
            changed = nodes.changed() => if changed.is_err() { break },
            () = shutdown.cancelled() => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}
