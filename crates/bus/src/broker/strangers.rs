//! Connections that have not logged in yet. They are few, and the newest gets in: a client logs in within milliseconds, and one
//! that keeps a place without logging in loses it to the next. Pure, but for the lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections at once that have not logged in: more than a cluster makes at its start, and few enough to look through.
pub(super) const STRANGERS_MAX: usize = 64;

/// All connections that have not logged in.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Oldest first; at most [`STRANGERS_MAX`].
    strangers: Vec<Waits>,
}

#[derive(Debug)]
struct Waits {
    number: u64,
    address: IpAddr,
    displaced: CancellationToken,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    /// Cancelled when another connection needs the place.
    pub(super) displaced: CancellationToken,
}

impl Strangers {
    /// Gives a connection a place. When none is free, the address that has the most loses its oldest.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Stranger {
        let address = acceptor::network(address);
        let mut waiting = self.lock();
        if waiting.strangers.len() >= STRANGERS_MAX {
            waiting.displace();
        }
        waiting.last += 1;
        let (number, displaced) = (waiting.last, CancellationToken::new());
        waiting.strangers.push(Waits { number, address, displaced: displaced.clone() });
        Stranger { strangers: Arc::clone(self), number, displaced }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Ends the oldest connection of the address that has the most; of several such addresses, the one whose oldest is older.
    fn displace(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        self.strangers.iter().for_each(|waits| *counts.entry(waits.address).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        let victim = self.strangers.iter().position(|waits| counts.get(&waits.address) == Some(&most));
        if let Some(victim) = victim {
            self.strangers.remove(victim).displaced.cancel();
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().strangers.retain(|waits| waits.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn flood_from_one_address_displaces_itself() {
        let strangers = Arc::<Strangers>::default();
        let one = strangers.enter(address(1));
        let flood: Vec<Stranger> = (0..10 * STRANGERS_MAX).map(|_| strangers.enter(address(2))).collect();
        assert!(!one.displaced.is_cancelled());
        let left = flood.iter().filter(|stranger| !stranger.displaced.is_cancelled()).count();
        assert_eq!(left, STRANGERS_MAX - 1);
        assert!(flood.iter().rev().take(left).all(|stranger| !stranger.displaced.is_cancelled()), "the newest stay");
        assert_eq!(strangers.lock().strangers.len(), STRANGERS_MAX);
        drop((one, flood));
        assert!(strangers.lock().strangers.is_empty());
    }

    #[test]
    fn newest_gets_in_when_each_address_has_one() {
        let strangers = Arc::<Strangers>::default();
        let held: Vec<Stranger> =
            (0..=STRANGERS_MAX).map(|n| strangers.enter(address(n.try_into().unwrap()))).collect();
        let displaced: Vec<usize> = (0..held.len()).filter(|n| held[*n].displaced.is_cancelled()).collect();
        assert_eq!(displaced, [0]);
    }
}
