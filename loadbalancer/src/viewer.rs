//! A viewer's connection and the nodes that answer it: this keeps a viewer without a token on its node.
//!
//! Pingora's filters see a request. They get its connection as a local value of the task that serves it. [`crate::members`] decides where
//! a viewer goes first, and where after a node has failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::seats::{SeatId, Watching};
use media::{NodeId, StreamId};

use crate::members::Members;

tokio::task_local! {
    static CURRENT: Arc<Connection>;
}

/// The connection whose request runs; `None` outside [`Connection::scope`].
pub(crate) fn current() -> Option<Arc<Connection>> {
    CURRENT.try_with(Arc::clone).ok()
}

pub(crate) struct Connection {
    members: Arc<Members>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watching: Watching,
    seat: Option<Seat>,
}

/// The connection's seat among those of its address, from its first request without a token on.
#[derive(Clone, Copy)]
struct Seat {
    /// `None`: all seats are taken.
    id: Option<SeatId>,
    key: u64,
}

impl Connection {
    pub(crate) fn new(members: Arc<Members>) -> Arc<Self> {
        Arc::new(Self { members, state: Mutex::default() })
    }

    /// Runs a future for which this connection is [`current`].
    pub(crate) async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that the stream is watched on.
    pub(crate) fn watched_on(&self, stream: &StreamId) -> Option<NodeId> {
        self.lock().watching.node(stream).cloned()
    }

    /// Seats a viewer, whose address is asked for once. Returns its key for placement, and the node that its seat had last.
    pub(crate) fn seat(&self, address: impl FnOnce() -> u64) -> (u64, Option<NodeId>) {
        let mut state = self.lock();
        let seat = *state.seat.get_or_insert_with(|| {
            let address = address();
            let id = self.members.join(address);
            Seat { id, key: id.map_or(address, SeatId::key) }
        });
        (seat.key, seat.id.and_then(|id| self.members.seat_node(id)))
    }

    /// Requests for the stream go to this node from now on.
    pub(crate) fn placed(&self, stream: &StreamId, node: &NodeId) {
        self.lock().watching.placed(stream, node);
    }

    /// So do the other connections of its seat, when they are placed.
    pub(crate) fn seated(&self, node: &NodeId) {
        if let Some(id) = self.lock().seat.and_then(|seat| seat.id) {
            self.members.seated(id, node);
        }
    }

    /// The node has no answer for the stream, so nothing keeps the viewer there.
    pub(crate) fn refused(&self, stream: &StreamId) {
        self.lock().watching.refused(stream);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(id) = self.lock().seat.and_then(|seat| seat.id) {
            self.members.leave(id);
        }
    }
}
