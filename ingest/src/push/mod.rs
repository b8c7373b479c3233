//! Pushes a stream: media bytes to its owners over HTTP/2, and seals both to the bus and to the owners.
//!
//! Owns delivery and the choice of owners. One task per owner and one for the bus each have their own cursor into the stream's
//! [`Ring`], so a slow or absent receiver delays no other. A node that was away continues at its cursor, as far back as the ring
//! reaches. Deliberately knows nothing of what it carries.

mod bus;
mod node_task;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::owners::Replicas;
use cluster::replicas::{Owned, Placed};
use media::{Epoch, LogSequence, NodeId, StreamId};
use node::CancellationToken;
use node::tls::Clients;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub(crate) use ring::{RING_ENTRIES_MAX, Ring, RingEntry};

use crate::nodes::{BroadcastNode, Nodes};

/// How often the owners of a stream are chosen. Nodes report what they hold every 2 s.
const PLACE_INTERVAL: Duration = Duration::from_millis(500);

/// What a [`Pusher`] needs to reach its receivers.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) context: node::Context,
    pub(crate) clients: Clients,
    pub(crate) nodes: Nodes,
    /// How many nodes own each stream.
    pub(crate) replicas: Replicas,
}

/// Place of a seal in the log.
pub(crate) type LogPlace = (Epoch, LogSequence);

/// What the tasks of one stream share.
#[derive(Debug)]
pub(crate) struct StreamPush {
    stream: StreamId,
    ring: Mutex<Ring>,
    /// [`Ring::end`]; wakes the tasks when an entry is added.
    end: watch::Sender<u64>,
    /// Newest seal all of whose bytes a node has acknowledged.
    acknowledged: watch::Sender<Option<LogPlace>>,
    /// Newest seal that a node refused because it has no place in the log (409).
    conflict: watch::Sender<Option<LogPlace>>,
    /// Index of the next entry to publish on the bus.
    published: watch::Sender<u64>,
    /// The owners of the stream.
    placed: watch::Sender<Placed>,
}

impl StreamPush {
    fn with_ring<T>(&self, look: impl FnOnce(&mut Ring) -> T) -> T {
        // Only the allocator can panic while the lock is held, so the ring is consistent.
        look(&mut self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acknowledge(&self, place: LogPlace) {
        raise(&self.acknowledged, place);
    }

    fn conflicts(&self, place: LogPlace) {
        raise(&self.conflict, place);
    }
}

fn raise(newest: &watch::Sender<Option<LogPlace>>, place: LogPlace) {
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
    shared: Arc<StreamPush>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Pusher {
    /// Starts the tasks, for rows as long as `part`. They end with [`Pusher::finish`].
    pub(crate) fn start(stream: StreamId, part: Duration, links: Links) -> Self {
        let shared = Arc::new(StreamPush {
            stream,
            ring: Mutex::new(Ring::new(part)),
            end: watch::Sender::new(0),
            acknowledged: watch::Sender::new(None),
            conflict: watch::Sender::new(None),
            published: watch::Sender::new(0),
            placed: watch::Sender::new(Placed::default()),
        });
        let shutdown = CancellationToken::new();
        let receivers = Receivers {
            shared: Arc::clone(&shared),
            links,
            shutdown: shutdown.clone(),
            tasks: JoinSet::new(),
            known: BTreeMap::new(),
        };
        let task = tokio::spawn(receivers.run());
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
    pub(crate) fn acknowledged(&self) -> watch::Receiver<Option<LogPlace>> {
        self.shared.acknowledged.subscribe()
    }

    /// Whether the ring still holds every entry that no node has acknowledged. Then the tasks push them until a node has.
    pub(crate) fn will_deliver(&self) -> bool {
        let acknowledged = *self.shared.acknowledged.borrow();
        self.shared.with_ring(|ring| {
            let oldest = ring.at(ring.start()).map(|found| node_task::place(&found.entry));
            ring.start() == 0 || oldest <= acknowledged
        })
    }

    /// The newest seal that a node refused because it has no place in the log: another ingest continues the log.
    pub(crate) fn conflict(&self) -> watch::Receiver<Option<LogPlace>> {
        self.shared.conflict.subscribe()
    }

    /// The owners of the stream.
    pub(crate) fn placed(&self) -> watch::Receiver<Placed> {
        self.shared.placed.subscribe()
    }

    /// Bytes held for nodes that come back.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.shared.with_ring(|ring| ring.bytes())
    }

    /// Waits until some node has acknowledged the seal `newest` and every entry is on the bus. Without a node or a broker this does
    /// not return: the caller bounds the wait.
    pub(crate) async fn delivered(&self, newest: LogPlace) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let mut published = self.shared.published.subscribe();
        let end = *self.shared.end.borrow();
        // An error means that the tasks are gone, so there is nothing to wait for.
        let _ = acknowledged.wait_for(|place| place.is_some_and(|place| place >= newest)).await;
        let _ = published.wait_for(|index| *index >= end).await;
    }

    /// Ends the tasks. Entries that are not delivered yet are dropped.
    pub(crate) async fn finish(self) {
        self.shutdown.cancel();
        // The task ends with its token, and the runtime has reported any panic in it.
        let _ = self.task.await;
    }
}

/// Keeps one task for the bus and one for every owner.
struct Receivers {
    shared: Arc<StreamPush>,
    links: Links,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    known: BTreeMap<NodeId, Receiver>,
}

/// A node that is pushed to.
struct Receiver {
    node: watch::Sender<BroadcastNode>,
    /// Dropping it cancels the node's task, when the node is no longer an owner.
    _stop: tokio_util::sync::DropGuard,
}

impl Receivers {
    async fn run(mut self) {
        let context = &self.links.context;
        self.tasks.spawn(bus::run(
            Arc::clone(&self.shared),
            context.bus.clone(),
            context.prefix.clone(),
            self.shutdown.clone(),
        ));
        let mut nodes = self.links.nodes.watch();
        let mut owned = Owned::default();
        let mut ticks = tokio::time::interval(PLACE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let placed = self.links.nodes.place(&mut owned, &self.shared.stream, self.links.replicas);
            self.serve(&nodes.borrow_and_update().clone(), &placed.receivers);
            self.say(placed);
            tokio::select! {
                changed = nodes.changed() => if changed.is_err() { break },
                _ = ticks.tick() => {}
                // Removes tasks that have ended.
                Some(_) = self.tasks.join_next() => {}
                () = self.shutdown.cancelled() => break,
            }
        }
        self.known.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops the tasks of nodes that are no longer receivers, starts those of new ones, and gives the others their node's current state.
    fn serve(&mut self, nodes: &BTreeMap<NodeId, BroadcastNode>, receivers: &[NodeId]) {
        self.known.retain(|id, _| receivers.contains(id));
        for (id, seen) in receivers.iter().filter_map(|id| nodes.get_key_value(id)) {
            match self.known.get(id) {
                Some(receiver) => {
                    let moved = |known: &mut BroadcastNode| (*known != *seen).then(|| *known = seen.clone()).is_some();
                    receiver.node.send_if_modified(moved);
                }
                None => {
                    let http = match self.links.clients.to(id) {
                        Ok(http) => http,
                        Err(error) => {
                            tracing::error!(peer = %id, error = format!("{error:#}"), "no client for a node");
                            continue;
                        }
                    };
                    let (stop, node) = (self.shutdown.child_token(), watch::Sender::new(seen.clone()));
                    let shared = Arc::clone(&self.shared);
                    let task = node_task::NodeTask::new(id.clone(), shared, http, node.subscribe(), stop.clone());
                    self.tasks.spawn(task.run());
                    self.known.insert(id.clone(), Receiver { node, _stop: stop.drop_guard() });
                }
            }
        }
    }

    fn say(&self, placed: Placed) {
        if let Some(lacked) = placed.repaired {
            metrics::histogram!("ingest_replica_repair_seconds").record(lacked.as_secs_f64());
            tracing::info!(stream = %self.shared.stream, ?lacked, "as many nodes as wanted hold the stream again");
        }
        let is_new = |before: &mut Placed| (*before != placed).then(|| *before = placed).is_some();
        self.shared.placed.send_if_modified(is_new);
    }
}
