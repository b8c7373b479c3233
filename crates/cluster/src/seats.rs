//! Where viewers without a token are: by their connection while it lives, and by their address for some minutes after it. Pure.
//!
//! [`Watching`] belongs to one connection and names the node that answers it, by stream. [`Seats`] are shared by all connections: those
//! of one address share a seat, so that a household returns to its node; a seat is small, so that a school is spread over the nodes.
//! An address comes in as a number from a keyed hash, and is forgotten [`REMEMBERED`] after its last connection.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use media::{NodeId, StreamId};

/// Connections that share a seat: a browser opens up to six to one host with HTTP/1.1.
pub const CONNECTIONS_PER_SEAT: u32 = 6;
/// How long a seat keeps its node after its last connection has ended: longer than a node's slow start, or a phone's tunnel.
pub const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// Seats at once, some 100 bytes each: four for each connection of a balancer's default. Viewers beyond are placed by their address
/// alone, without memory.
pub const SEATS_MAX: usize = 65_536;
/// How often seats are looked at whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Streams of one connection whose nodes are remembered: a page of several players.
const STREAMS_MAX: usize = 8;

/// The nodes that answer one connection.
#[derive(Debug, Default)]
pub struct Watching(Vec<(StreamId, NodeId)>);

impl Watching {
    /// The node that the stream is watched on.
    pub fn node(&self, stream: &StreamId) -> Option<&NodeId> {
        self.0.iter().find(|(watched, _)| watched == stream).map(|(_, node)| node)
    }

    /// The stream is asked of this node from now on.
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

    /// The node has no answer for the stream, so nothing keeps the viewer there.
    pub fn refused(&mut self, stream: &StreamId) {
        self.0.retain(|(watched, _)| watched != stream);
    }
}

/// Names a seat: the address, and which of its seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatId {
    address: u64,
    index: usize,
}

impl SeatId {
    /// Spreads seats over the nodes. The first seat's is the address itself: all balancers place a household alike.
    pub fn key(self) -> u64 {
        let index = u64::try_from(self.index).unwrap_or(u64::MAX);
        self.address ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[derive(Debug)]
struct Seat {
    node: Option<NodeId>,
    connections: u32,
    /// When its last connection ended, or it was made.
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
    /// Seats a connection: of its address's seats with room on the one that was left last, since who connects anew left a moment ago.
    /// `None` when [`SEATS_MAX`] are taken.
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

    /// A connection has ended.
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

    /// The seat's viewers are sent to this node.
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

    /// Forgets seats whose time is over, from the last of an address on: seats keep their numbers.
    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        self.by_address.retain(|_, seats| {
            while seats.pop_if(|seat| seat.is_over(now)).is_some() {}
            !seats.is_empty()
        });
        self.count = self.by_address.values().map(Vec::len).sum();
    }

    /// Panics when it contradicts itself.
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
