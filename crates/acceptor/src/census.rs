//! How many connections there are, in total and per address, and which one goes when there is no room. Pure, but for the lock.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Prefix length of the IPv6 network that counts as one address: whoever has one address of a /64 has all of them.
const IPV6_NETWORK_BITS: u32 = 64;

/// The open connections of a server, on all of its ports.
#[derive(Debug)]
pub struct Census {
    counts: Mutex<Counts>,
    total_max: usize,
    each_max: usize,
    /// Connections from one address that no newcomer displaces.
    share: usize,
}

#[derive(Debug, Default)]
struct Counts {
    last: u64,
    total: usize,
    /// The connections of each address, oldest first.
    by_address: HashMap<IpAddr, Vec<Held>>,
    /// Every address with its number of connections; the one that has the most comes last.
    by_count: BTreeSet<(usize, IpAddr)>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    displaced: CancellationToken,
}

/// A limit that a connection would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of all connections.
    Total,
    /// Of the connections from one address.
    PerAddress,
}

impl Limit {
    /// Its name as the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Total => "connections",
            Self::PerAddress => "connections_per_address",
        }
    }
}

/// One counted connection, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    census: Arc<Census>,
    address: IpAddr,
    number: u64,
    displaced: CancellationToken,
}

impl Slot {
    /// Resolves when the connection has to end, because its address has more than its share and another needs the place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Census {
    /// Counts up to `total_max` connections, and up to `each_max` from one address.
    pub fn new(total_max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), total_max, each_max, share: usize::MAX })
    }

    /// Counts up to `total_max` connections. When all are taken, one from an address that has fewer displaces the newest of the address
    /// that has the most, if that has more than its `share`.
    pub fn fair(total_max: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), total_max, each_max: total_max, share })
    }

    /// Counts up to `total_max` connections, from whatever addresses.
    pub fn of_all(total_max: usize) -> Arc<Self> {
        Self::new(total_max, total_max)
    }

    /// Counts a connection.
    ///
    /// # Errors
    /// The limit that it would exceed; the connection is not counted then.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Limit> {
        let address = network(address);
        let mut counts = self.lock();
        let own = counts.of(address);
        if own >= self.each_max {
            return Err(if self.each_max < self.total_max { Limit::PerAddress } else { Limit::Total });
        }
        if counts.total >= self.total_max && !counts.displace(own.saturating_add(1).max(self.share)) {
            return Err(Limit::Total);
        }
        let (number, displaced) = counts.add(address);
        Ok(Slot { census: Arc::clone(self), address, number, displaced })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, Vec::len)
    }

    fn add(&mut self, address: IpAddr) -> (u64, CancellationToken) {
        self.last = self.last.wrapping_add(1);
        let (number, displaced) = (self.last, CancellationToken::new());
        let held = Held { number, displaced: displaced.clone() };
        self.change(address, |connections| connections.push(held));
        (number, displaced)
    }

    /// Ends the newest connection of the address that has the most, if that has more than `least`. Its place is free at once: the
    /// connection itself ends within moments.
    fn displace(&mut self, least: usize) -> bool {
        let Some((_, address)) = self.by_count.last().copied().filter(|(most, _)| *most > least) else { return false };
        let mut newest = None;
        self.change(address, |connections| newest = connections.pop());
        newest.inspect(|held| held.displaced.cancel()).is_some()
    }

    fn remove(&mut self, address: IpAddr, number: u64) {
        // A displaced connection was removed already.
        self.change(address, |connections| connections.retain(|held| held.number != number));
    }

    /// Changes the connections of an address, and counts them again.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Vec<Held>)) {
        let connections = self.by_address.entry(address).or_default();
        let before = connections.len();
        change(connections);
        let after = connections.len();
        self.by_count.remove(&(before, address));
        if after == 0 {
            self.by_address.remove(&address);
        } else {
            self.by_count.insert((after, address));
        }
        self.total = self.total.saturating_add(after).saturating_sub(before);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.census.lock().remove(self.address, self.number);
    }
}

/// What is counted as one address: that of an IPv4 host, or the /64 network of an IPv6 one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() >> (128 - IPV6_NETWORK_BITS) << (128 - IPV6_NETWORK_BITS)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_connections_as_the_limit_and_no_more() {
        let census = Census::new(100, 3);
        let [one, two]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let mut held: Vec<Slot> = (0..3).map(|_| census.admit(one).unwrap()).collect();
        assert_eq!(census.admit(one).unwrap_err(), Limit::PerAddress);
        let _other = census.admit(two).unwrap();
        held.pop();
        assert!(census.admit(one).is_ok(), "one has gone");
    }

    #[test]
    fn all_together_have_as_many_connections_as_the_limit_and_nothing_is_left_when_they_go() {
        let census = Census::new(3, 3);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let held: Vec<Slot> = (0..3).map(|n| census.admit(address(n)).unwrap()).collect();
        assert_eq!(census.admit(address(9)).unwrap_err(), Limit::Total);
        drop(held);
        assert!(census.lock().by_address.is_empty() && census.lock().by_count.is_empty());
        assert_eq!(census.lock().total, 0);
        assert!(census.admit(address(9)).is_ok());
    }

    #[test]
    fn newcomers_displace_who_has_more_than_a_share_and_nobody_else() {
        let census = Census::fair(10, 4);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let is_displaced = |slot: &Slot| slot.displaced.is_cancelled();
        let school: Vec<Slot> = (0..4).map(|_| census.admit(address(1)).unwrap()).collect();
        let greedy: Vec<Slot> = (0..6).map(|_| census.admit(address(2)).unwrap()).collect();
        assert_eq!(census.admit(address(2)).unwrap_err(), Limit::Total, "it displaces nobody, itself neither");
        let viewers = [3, 4].map(|n| census.admit(address(n)).unwrap());
        assert_eq!(greedy.iter().map(is_displaced).collect::<Vec<_>>(), [false, false, false, false, true, true]);
        assert!(!school.iter().chain(&viewers).any(is_displaced));
        assert_eq!(census.admit(address(5)).unwrap_err(), Limit::Total, "all have their share");
        assert_eq!(census.lock().total, 10);
        drop(greedy);
        assert_eq!(census.lock().total, 6, "what was displaced is not counted twice");
        drop((school, viewers));
        assert!(census.lock().by_address.is_empty() && census.lock().by_count.is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_so_is_an_ipv4_one_in_ipv6() {
        let census = Census::new(100, 1);
        let held = [census.admit("2001:db8::1".parse().unwrap()), census.admit("192.0.2.1".parse().unwrap())];
        assert!(held.iter().all(Result::is_ok));
        for same in ["2001:db8::ffff:2", "::ffff:192.0.2.1"] {
            assert_eq!(census.admit(same.parse().unwrap()).unwrap_err(), Limit::PerAddress, "{same}");
        }
        assert!(census.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
