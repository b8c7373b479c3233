//! Remembers the nodes of viewers without a token: by connection while it lives, and by address for some minutes afterwards. Pure.
//!
//! [`Watching`] belongs to one connection and names the node that serves each of its streams. All connections share [`Seats`].
//! Connections from one address share a seat, so that a household returns to its node. A seat is small, so that a school is spread over
//! the nodes. An address is a number from a keyed hash; [`Seats`] forgets it [`REMEMBERED`] after its last connection.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use media::{NodeId, StreamId};

/// Most connections that share a seat: a browser opens up to six to one host with HTTP/1.1.
pub const CONNECTIONS_PER_SEAT: u32 = 6;
/// How long a seat keeps its node after its last connection: longer than a node's slow start, or a phone's loss of signal in a tunnel.
pub const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// Most seats at once, about 100 bytes each: four for each connection that a balancer takes by default. Further viewers are placed by
/// their address alone, without memory.
pub const SEATS_MAX: usize = 65_536;
/// How often the sweep forgets expired seats.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Most streams of one connection whose nodes are remembered: enough for a page with several players.
const STREAMS_MAX: usize = 8;

/// The nodes that serve one connection, by stream.
#[derive(Debug, Default)]
pub struct Watching(Vec<(StreamId, NodeId)>);

impl Watching {
    /// The node that serves the stream to this connection.
    pub fn node(&self, stream: &StreamId) -> Option<&NodeId> {
        self.0.iter().find(|(watched, _)| watched == stream).map(|(_, node)| node)
    }

    /// Notes that this node serves the stream from now on.
    pub fn placed(&mut self, stream: &StreamId, node: &NodeId) {
        match self.0.iter_mut().find(|(watched, _)| watched == stream) {
            Some((_, place)) if place == node => {}
            Some((_, place)) => *place = node.clone(),
            None => {
                if self.0.len() >= STREAMS_MAX {
                    self.0.remove(0);
                }
                self.0.push((stream.clone(), node.clone()));
            }
        }
    }

    /// Forgets the node of a stream, because it could not answer.
    pub fn refused(&mut self, stream: &StreamId) {
        self.0.retain(|(watched, _)| watched != stream);
    }
}

/// Identity of a seat: the address, and the index among its seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatId {
    address: u64,
    index: usize,
}

impl SeatId {
    /// The key that spreads seats over the nodes. For the first seat it is the address itself, so all balancers place a household alike.
    pub fn key(self) -> u64 {
        let index = u64::try_from(self.index).unwrap_or(u64::MAX);
        self.address ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[derive(Debug)]
struct Seat {
    node: Option<NodeId>,
    connections: u32,
    /// When its last connection ended; before that, when the seat was made.
    left_at: Duration,
}

impl Seat {
    fn is_over(&self, now: Duration) -> bool {
        self.connections == 0 && now.saturating_sub(self.left_at) >= REMEMBERED
    }
}

/// The seats of all addresses.
#[derive(Debug, Default)]
pub struct Seats {
    by_address: HashMap<u64, Vec<Seat>>,
    count: usize,
    swept_at: Duration,
}

impl Seats {
    /// Seats a connection. Among the seats of its address with room it takes the one that was left last, because a viewer that reconnects
    /// left a moment ago. `None` when it would need a new seat and there are [`SEATS_MAX`].
    pub fn join(&mut self, address: u64, now: Duration) -> Option<SeatId> {
        if now.saturating_sub(self.swept_at) >= SWEEP_INTERVAL {
            self.sweep(now);
        }
        let is_full = self.count >= SEATS_MAX;
        let seats = match self.by_address.get_mut(&address) {
            Some(seats) => seats,
            None if is_full => return None,
            None => self.by_address.entry(address).or_default(),
        };
        let with_room = seats.iter_mut().enumerate().filter(|(_, seat)| seat.connections < CONNECTIONS_PER_SEAT);
        if let Some((index, seat)) = with_room.max_by_key(|(index, seat)| (seat.left_at, Reverse(*index))) {
            seat.connections += 1;
            return Some(SeatId { address, index });
        }
        if is_full {
            return None;
        }
        seats.push(Seat { node: None, connections: 1, left_at: now });
        self.count += 1;
        Some(SeatId { address, index: seats.len() - 1 })
    }

    /// Frees the place of a connection that has ended.
    pub fn leave(&mut self, id: SeatId, now: Duration) {
        if let Some(seat) = self.seat(id) {
            seat.connections = seat.connections.saturating_sub(1);
            seat.left_at = now;
        }
    }

    /// The node of a seat; `None` before its first request.
    pub fn node(&self, id: SeatId) -> Option<&NodeId> {
        self.by_address.get(&id.address)?.get(id.index)?.node.as_ref()
    }

    /// Notes that the seat's viewers are sent to this node.
    pub fn placed(&mut self, id: SeatId, node: &NodeId) {
        if let Some(seat) = self.seat(id)
            && seat.node.as_ref() != Some(node)
        {
            seat.node = Some(node.clone());
        }
    }

    fn seat(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.by_address.get_mut(&id.address)?.get_mut(id.index)
    }

    /// Forgets expired seats, of each address from the last backwards, so that the other seats keep their indices.
    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        self.by_address.retain(|_, seats| {
            while seats.pop_if(|seat| seat.is_over(now)).is_some() {}
            !seats.is_empty()
        });
        self.count = self.by_address.values().map(Vec::len).sum();
    }

    /// Panics when the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        assert!(self.count <= SEATS_MAX, "more seats than allowed");
        assert_eq!(self.count, self.by_address.values().map(Vec::len).sum::<usize>(), "seats are counted");
        for seat in self.by_address.values().flatten() {
            assert!(seat.connections <= CONNECTIONS_PER_SEAT, "a seat takes so many connections");
        }
        assert!(self.by_address.values().all(|seats| !seats.is_empty()), "an address without a seat is forgotten");
    }
}

#[cfg(test)]
mod tests;
