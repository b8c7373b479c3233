//! Counts connections, per address and in total. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that name its network: a host that has one address of a network can have all of them.
const IPV6_NETWORK_BITS: u32 = 64;

/// All connections of a server, on all its ports.
#[derive(Debug)]
pub(super) struct Census {
    counts: Mutex<HashMap<IpAddr, usize>>,
    total_max: usize,
    each_max: usize,
}

/// One connection, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    pub(super) fn new(total_max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), total_max, each_max })
    }

    /// Counts a connection. The error is the name of the limit that it would exceed.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Counted, &'static str> {
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(&address).copied().unwrap_or(0);
        if own >= self.each_max {
            return Err("connections_per_address");
        }
        let total = counts.values().fold(0_usize, |sum, count| sum.saturating_add(*count));
        if total >= self.total_max {
            return Err("connections");
        }
        counts.insert(address, own.saturating_add(1));
        Ok(Counted { census: Arc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address that a connection counts for.
fn network(address: IpAddr) -> IpAddr {
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
        let mut held: Vec<Counted> = (0..3).map(|_| census.admit(one).unwrap()).collect();
        assert_eq!(census.admit(one).unwrap_err(), "connections_per_address");
        let _other = census.admit(two).unwrap();
        held.pop();
        assert!(census.admit(one).is_ok(), "one has gone");
    }

    #[test]
    fn all_together_have_as_many_connections_as_the_limit_and_nothing_is_left_when_they_go() {
        let census = Census::new(3, 3);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let held: Vec<Counted> = (0..3).map(|n| census.admit(address(n)).unwrap()).collect();
        assert_eq!(census.admit(address(9)).unwrap_err(), "connections");
        drop(held);
        assert!(census.counts.lock().unwrap().is_empty());
        assert!(census.admit(address(9)).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_so_is_an_ipv4_one_in_ipv6() {
        let census = Census::new(100, 1);
        let held = [census.admit("2001:db8::1".parse().unwrap()), census.admit("192.0.2.1".parse().unwrap())];
        assert!(held.iter().all(Result::is_ok));
        for same in ["2001:db8::ffff:2", "::ffff:192.0.2.1"] {
            assert_eq!(census.admit(same.parse().unwrap()).unwrap_err(), "connections_per_address", "{same}");
        }
        assert!(census.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
