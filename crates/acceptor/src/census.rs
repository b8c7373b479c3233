//! How many connections there are, in total and per address. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Prefix length of the IPv6 network that counts as one address: whoever has one address of a /64 has all of them.
const IPV6_NETWORK_BITS: u32 = 64;

/// The open connections of a server, on all of its ports.
#[derive(Debug)]
pub struct Census {
    counts: Mutex<Counts>,
    total_max: usize,
    each_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
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
}

impl Census {
    /// Counts up to `total_max` connections, and up to `each_max` from one address.
    pub fn new(total_max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), total_max, each_max })
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
        let own = counts.by_address.get(&address).copied().unwrap_or(0);
        if own >= self.each_max {
            return Err(if self.each_max < self.total_max { Limit::PerAddress } else { Limit::Total });
        }
        if counts.total >= self.total_max {
            return Err(Limit::Total);
        }
        counts.total = counts.total.saturating_add(1);
        counts.by_address.insert(address, own.saturating_add(1));
        Ok(Slot { census: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.census.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
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
        assert!(census.lock().by_address.is_empty());
        assert_eq!(census.lock().total, 0);
        assert!(census.admit(address(9)).is_ok());
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
