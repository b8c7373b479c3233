//! How many connections there are, in total and per address, and which one goes when there is no room. Other things that have a bound
//! for all and a share for each address are counted the same way, such as requests that wait. Pure, but for the lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// The connections of each address by their numbers, which rise. One that stays is in `total` only.
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    /// Every address with its number of connections; the one that has the most comes last.
    by_count: BTreeSet<(usize, IpAddr)>,
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
    /// Where it is counted; `None` when it stays.
    held: Option<(IpAddr, u64)>,
    /// How many its address had before it.
    rank: usize,
    displaced: CancellationToken,
}

impl Slot {
    /// Makes it one that nothing displaces and that counts for no address: a balancer's, which stands for many viewers.
    pub fn stay(&mut self) {
        if let Some((address, number)) = self.held.take() {
            let mut counts = self.census.lock();
            if counts.remove(address, number) {
                counts.total += 1;
            } else {
                // It was displaced before it was known, and ends.
                self.held = Some((address, number));
            }
        }
    }

    /// How many its address had when it came; 0 for one of no address.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Whether it has to end.
    pub fn is_displaced(&self) -> bool {
        self.displaced.is_cancelled()
    }

    /// Resolves when the connection has to end, because its address has more than its share and another needs the place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Is cancelled when [`Slot::displaced`] resolves.
    pub fn when_displaced(&self) -> CancellationToken {
        self.displaced.clone()
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
        Ok(Slot { census: Arc::clone(self), held: Some((address, number)), rank: own, displaced })
    }

    /// Counts one of no address, which nothing displaces: see [`Slot::stay`].
    ///
    /// # Errors
    /// As [`Census::admit`].
    pub fn admit_to_stay(self: &Arc<Self>) -> Result<Slot, Limit> {
        let mut counts = self.lock();
        if counts.total >= self.total_max && !counts.displace(self.share) {
            return Err(Limit::Total);
        }
        counts.total += 1;
        Ok(Slot { census: Arc::clone(self), held: None, rank: 0, displaced: CancellationToken::new() })
    }

    /// How many are counted.
    pub fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, BTreeMap::len)
    }

    fn add(&mut self, address: IpAddr) -> (u64, CancellationToken) {
        self.last = self.last.wrapping_add(1);
        let (number, displaced) = (self.last, CancellationToken::new());
        let held = displaced.clone();
        self.change(address, |connections| connections.insert(number, held));
        (number, displaced)
    }

    /// Ends the newest connection of the address that has the most, if that has more than `least`. Its place is free at once: the
    /// connection itself ends within moments.
    fn displace(&mut self, least: usize) -> bool {
        let Some((_, address)) = self.by_count.last().copied().filter(|(most, _)| *most > least) else { return false };
        let newest = self.change(address, BTreeMap::pop_last);
        newest.inspect(|(_, displaced)| displaced.cancel()).is_some()
    }

    /// Whether it was there: a displaced connection was removed already.
    fn remove(&mut self, address: IpAddr, number: u64) -> bool {
        self.change(address, |connections| connections.remove(&number)).is_some()
    }

    /// Changes the connections of an address, and counts them again.
    fn change<T>(
        &mut self,
        address: IpAddr,
        change: impl FnOnce(&mut BTreeMap<u64, CancellationToken>) -> Option<T>,
    ) -> Option<T> {
        let connections = self.by_address.entry(address).or_default();
        let before = connections.len();
        let changed = change(connections);
        let after = connections.len();
        self.by_count.remove(&(before, address));
        if after == 0 {
            self.by_address.remove(&address);
        } else {
            self.by_count.insert((after, address));
        }
        self.total = self.total.saturating_add(after).saturating_sub(before);
        changed
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.census.lock();
        match self.held {
            Some((address, number)) => _ = counts.remove(address, number),
            None => counts.total = counts.total.saturating_sub(1),
        }
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
        let school: Vec<Slot> = (0..4).map(|_| census.admit(address(1)).unwrap()).collect();
        let greedy: Vec<Slot> = (0..6).map(|_| census.admit(address(2)).unwrap()).collect();
        assert_eq!(census.admit(address(2)).unwrap_err(), Limit::Total, "it displaces nobody, itself neither");
        let viewers = [3, 4].map(|n| census.admit(address(n)).unwrap());
        assert_eq!(greedy.iter().map(Slot::is_displaced).collect::<Vec<_>>(), [false, false, false, false, true, true]);
        assert!(!school.iter().chain(&viewers).any(Slot::is_displaced));
        assert_eq!(census.admit(address(5)).unwrap_err(), Limit::Total, "all have their share");
        assert_eq!(census.lock().total, 10);
        drop(greedy);
        assert_eq!(census.lock().total, 6, "what was displaced is not counted twice");
        drop((school, viewers));
        assert!(census.lock().by_address.is_empty() && census.lock().by_count.is_empty());
    }

    #[test]
    fn what_stays_counts_for_no_address_and_is_never_displaced() {
        let census = Census::fair(6, 2);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut balancer: Vec<Slot> = (0..3).map(|_| census.admit(address(1)).unwrap()).collect();
        balancer.iter_mut().for_each(Slot::stay);
        let greedy: Vec<Slot> = (0..3).map(|_| census.admit(address(1)).unwrap()).collect();
        let mut viewer = census.admit(address(2)).unwrap();
        assert!(greedy[2].is_displaced() && !balancer.iter().any(Slot::is_displaced));
        assert_eq!(census.admit_to_stay().unwrap_err(), Limit::Total, "the other two are a share");
        assert_eq!(census.total(), 6);
        viewer.stay();
        drop((balancer, greedy));
        assert_eq!(census.total(), 1);
        let staying = census.admit_to_stay().unwrap();
        drop((viewer, staying));
        assert_eq!(census.total(), 0);
        assert!(census.lock().by_address.is_empty() && census.lock().by_count.is_empty());
    }

    #[test]
    fn one_that_was_displaced_does_not_stay() {
        let census = Census::fair(2, 1);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let [_first, mut newest] = [1, 1].map(|n| census.admit(address(n)).unwrap());
        let _viewer = census.admit(address(2)).unwrap();
        newest.stay();
        assert!(newest.is_displaced());
        drop(newest);
        assert_eq!(census.total(), 2);
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
