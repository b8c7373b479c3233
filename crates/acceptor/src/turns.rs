//! Turns for what is costly and can be had without any right: a TLS handshake, whose signature takes as long as a hundred answers.
//!
//! A few of each address go on at a time, and each lets the tasks that are ready run before. So a host that connects thousands of times
//! shakes hands in the time that others leave. Waiting for a peer takes no turn, so that one that says nothing holds up nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::census::network;

/// Turns that one address, or one /64 network, has at a time: some milliseconds of a core, and enough for a school that joins.
const AT_ONCE: usize = 32;

/// The turns of a listener.
#[derive(Debug, Default)]
pub struct Turns {
    /// Of the addresses that have a turn, or wait for one.
    lines: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A turn, until it is dropped. Hold it for as long as something is computed, and for no peer.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    address: IpAddr,
    line: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn of an address. Cancelling gives up the place in its line.
    pub async fn next(&self, address: IpAddr) -> Turn<'_> {
        let address = network(address);
        let line = Arc::clone(self.lock().entry(address).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))));
        let mut turn = Turn { turns: self, address, line, permit: None };
        turn.permit = Arc::clone(&turn.line).acquire_owned().await.ok();
        tokio::task::yield_now().await;
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lock();
        drop(self.permit.take());
        // The table's and this one.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls a turn until it can only wait for another one.
    fn taken<'a>(next: impl Future<Output = Turn<'a>>) -> Option<Turn<'a>> {
        let mut next = pin!(next);
        let mut context = Context::from_waker(Waker::noop());
        (0..3).find_map(|_| match next.as_mut().poll(&mut context) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        })
    }

    #[test]
    fn handshakes_of_one_address_take_turns_and_hold_up_no_other() {
        let turns = Turns::default();
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut held: Vec<_> = (0..AT_ONCE).map(|_| taken(turns.next(address(1))).unwrap()).collect();
        assert!(taken(turns.next(address(1))).is_none(), "it has all of its turns");
        let other = taken(turns.next(address(2))).unwrap();
        held.pop();
        held.push(taken(turns.next(address(1))).unwrap());
        drop((held, other));
        assert!(turns.lock().is_empty(), "nothing is left of them");
        let mut next = pin!(turns.next(address(1)));
        assert!(
            next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            "tasks that are ready go first"
        );
    }
}
