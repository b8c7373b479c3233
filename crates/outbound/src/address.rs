//! Which addresses belong to the public Internet (RFC 6890 and the IANA registries of special-purpose addresses). Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 0.0.0.0/8 and `::`: this host.
    Unspecified,
    Loopback,
    /// RFC 1918.
    Private,
    /// RFC 6598: between a carrier and its customers.
    Shared,
    /// Where clouds serve the credentials of a machine.
    LinkLocal,
    /// RFC 4193, and the site-local addresses before it.
    UniqueLocal,
    Documentation,
    Benchmarking,
    Multicast,
    /// IPv6 that stands for an IPv4 address: mapped, compatible, translated. It would pass a check of IPv6 and reach the IPv4 address.
    Ipv4InIpv6,
    /// RFC 6052 and RFC 8215. A network that needs it lists `64:ff9b::/96`.
    Nat64,
    /// RFC 3056, and its relays.
    SixToFour,
    /// RFC 4380.
    Teredo,
    /// Anything else that IANA has not given to hosts.
    Reserved,
}

impl Class {
    /// Whether a host name on the operator's list may lead here: addresses that machines of a LAN have. Link-local addresses are not
    /// among them, so that no name reaches a cloud's credentials.
    pub const fn is_of_a_lan(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Shared | Self::UniqueLocal)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an address of this host",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "a carrier's shared address",
            Self::LinkLocal => "a link-local address",
            Self::UniqueLocal => "a unique local address",
            Self::Documentation => "an address for documentation",
            Self::Benchmarking => "an address for benchmarks",
            Self::Multicast => "a multicast address",
            Self::Ipv4InIpv6 => "an IPv4 address written as IPv6",
            Self::Nat64 => "a NAT64 address",
            Self::SixToFour => "a 6to4 address",
            Self::Teredo => "a Teredo address",
            Self::Reserved => "a reserved address",
        })
    }
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8, class: Class) -> (Network, Class) {
    (Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix }, class)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8, class: Class) -> (Network, Class) {
    (Network { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }, class)
}

const fn v6_low(words: [u16; 4], prefix: u8, class: Class) -> (Network, Class) {
    let [e, f, g, h] = words;
    (Network { address: IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, e, f, g, h)), prefix }, class)
}

/// Networks that are not public; the first that holds an address counts.
const SPECIAL: [(Network, Class); 36] = [
    v4(0, 0, 0, 8, Class::Unspecified),
    v4(10, 0, 0, 8, Class::Private),
    v4(100, 64, 0, 10, Class::Shared),
    v4(127, 0, 0, 8, Class::Loopback),
    v4(169, 254, 0, 16, Class::LinkLocal),
    v4(172, 16, 0, 12, Class::Private),
    v4(192, 0, 0, 24, Class::Reserved),
    v4(192, 0, 2, 24, Class::Documentation),
    v4(192, 88, 99, 24, Class::SixToFour),
    v4(192, 168, 0, 16, Class::Private),
    v4(198, 18, 0, 15, Class::Benchmarking),
    v4(198, 51, 100, 24, Class::Documentation),
    v4(203, 0, 113, 24, Class::Documentation),
    v4(224, 0, 0, 4, Class::Multicast),
    v4(240, 0, 0, 4, Class::Reserved),
    v6_low([0, 0, 0, 0], 128, Class::Unspecified),
    v6_low([0, 0, 0, 1], 128, Class::Loopback),
    v6_low([0, 0xffff, 0, 0], 96, Class::Ipv4InIpv6),
    v6_low([0xffff, 0, 0, 0], 96, Class::Ipv4InIpv6),
    v6_low([0, 0, 0, 0], 96, Class::Ipv4InIpv6),
    v6(0x64, 0xff9b, 0, 96, Class::Nat64),
    v6(0x64, 0xff9b, 1, 48, Class::Nat64),
    v6(0xfc00, 0, 0, 7, Class::UniqueLocal),
    v6(0xfe80, 0, 0, 10, Class::LinkLocal),
    v6(0xfec0, 0, 0, 10, Class::UniqueLocal),
    v6(0xff00, 0, 0, 8, Class::Multicast),
    v6(0x2001, 0, 0, 32, Class::Teredo),
    v6(0x2001, 2, 0, 48, Class::Benchmarking),
    v6(0x2001, 0xdb8, 0, 32, Class::Documentation),
    v6(0x2001, 0, 0, 23, Class::Reserved),
    v6(0x2002, 0, 0, 16, Class::SixToFour),
    v6(0x3fff, 0, 0, 20, Class::Documentation),
    // Outside 2000::/3, IANA has given no addresses to hosts.
    v6(0x0000, 0, 0, 3, Class::Reserved),
    v6(0x4000, 0, 0, 2, Class::Reserved),
    v6(0x8000, 0, 0, 2, Class::Reserved),
    v6(0xc000, 0, 0, 2, Class::Reserved),
];

/// Why an address is not public; `None` for one that is.
pub fn class_of(address: IpAddr) -> Option<Class> {
    SPECIAL.iter().find(|(network, _)| network.contains(address)).map(|(_, class)| *class)
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write it as in 10.0.0.0/8, with zeros behind the prefix")]
pub struct InvalidNetwork(String);

/// Addresses with the same first bits, as in `10.0.0.0/8`; a single address has no `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is in it. An IPv4 network holds no IPv6 address, however that is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        let first_bits = |bits: u128, of: u32| bits.checked_shr(of.saturating_sub(self.prefix.into())).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                first_bits(ours.to_bits().into(), 32) == first_bits(theirs.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                first_bits(ours.to_bits(), 128) == first_bits(theirs.to_bits(), 128)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// Takes a network or an address. Bits behind the prefix have to be zero, because otherwise something else was meant.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.chars().take(64).collect());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.map_or(Ok(bits), str::parse).map_err(|_| invalid())?;
        let rest = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let behind = u32::from(bits).checked_sub(prefix.into()).ok_or_else(invalid)?;
        if behind > 0 && rest.trailing_zeros() < behind && rest != 0 {
            return Err(invalid());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Option<Class> {
        class_of(text.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_named_and_their_neighbours_are_public() {
        let cases = [
            ("0.0.0.0", Class::Unspecified, "1.0.0.0"),
            ("10.255.255.255", Class::Private, "11.0.0.0"),
            ("100.64.0.1", Class::Shared, "100.63.255.255"),
            ("100.127.255.255", Class::Shared, "100.128.0.0"),
            ("127.255.255.255", Class::Loopback, "128.0.0.1"),
            ("169.254.169.254", Class::LinkLocal, "169.253.255.255"),
            ("172.31.255.255", Class::Private, "172.32.0.0"),
            ("192.0.0.8", Class::Reserved, "192.0.1.0"),
            ("192.0.2.1", Class::Documentation, "192.0.3.0"),
            ("192.88.99.1", Class::SixToFour, "192.88.98.1"),
            ("192.168.1.1", Class::Private, "192.169.0.0"),
            ("198.19.255.255", Class::Benchmarking, "198.20.0.0"),
            ("198.51.100.1", Class::Documentation, "198.51.101.1"),
            ("203.0.113.1", Class::Documentation, "203.0.114.1"),
            ("239.255.255.255", Class::Multicast, "223.255.255.255"),
            ("255.255.255.255", Class::Reserved, "9.9.9.9"),
            ("::", Class::Unspecified, "2600::"),
            ("::1", Class::Loopback, "2606:4700::1"),
            ("::ffff:10.0.0.1", Class::Ipv4InIpv6, "2607::1"),
            ("::ffff:8.8.8.8", Class::Ipv4InIpv6, "2a00::1"),
            ("::ffff:0:10.0.0.1", Class::Ipv4InIpv6, "2a01::1"),
            ("::10.0.0.1", Class::Ipv4InIpv6, "2a02::1"),
            ("64:ff9b::10.0.0.1", Class::Nat64, "2a03::1"),
            ("64:ff9b:1::1", Class::Nat64, "2a04::1"),
            ("100::1", Class::Reserved, "2a05::1"),
            ("fd12:3456::1", Class::UniqueLocal, "2a06::1"),
            ("fe80::1", Class::LinkLocal, "2a07::1"),
            ("fec0::1", Class::UniqueLocal, "2a08::1"),
            ("ff02::1", Class::Multicast, "2a09::1"),
            ("2001::1", Class::Teredo, "2001:200::1"),
            ("2001:2::1", Class::Benchmarking, "2001:4860:4860::8888"),
            ("2001:db8::1", Class::Documentation, "2001:db9::1"),
            ("2001:20::1", Class::Reserved, "2001:400::1"),
            ("2002:a00:1::1", Class::SixToFour, "2003::1"),
            ("3fff::1", Class::Documentation, "3ffe::1"),
            ("4000::1", Class::Reserved, "2400::1"),
            ("8000::1", Class::Reserved, "2800::1"),
            ("e000::1", Class::Reserved, "2c00::1"),
        ];
        for (special, expected, public) in cases {
            assert_eq!(class(special), Some(expected), "{special}");
            assert_eq!(class(public), None, "{public}");
        }
    }

    #[test]
    fn network_holds_what_has_its_first_bits_in_its_own_family() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let holds = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        assert!(holds("10.1.0.0/16", "10.1.255.255") && !holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "::ffff:8.8.8.8"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fc12::1") && holds("::/0", "fc12::1"));
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0/8", "/8", "", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
