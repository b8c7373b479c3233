//! Where requests may go besides public addresses: the operator's list. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Host;

use crate::address::{Class, InvalidNetwork, Network, class_of};

/// Most rules of a list.
pub const RULES_MAX: usize = 100;

/// Why a rule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    #[error(transparent)]
    Network(#[from] InvalidNetwork),
    #[error("{0:?} is no rule: write a network (10.0.0.0/8), a host (idp.lan, idp.lan:8443) or http://HOST")]
    Rule(String),
    #[error("more than {RULES_MAX} rules: use networks")]
    TooMany,
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Its addresses, over https.
    Network(Network),
    /// A host with the addresses of a LAN, on one port or on all of them.
    Host { name: String, port: Option<u16>, may_be_plain: bool },
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let invalid = || InvalidRule::Rule(text.chars().take(64).collect());
        let plain = text.strip_prefix("http://");
        if plain.is_none() && (text.contains('/') || text.parse::<IpAddr>().is_ok()) {
            return Ok(Self::Network(text.parse()?));
        }
        // The URL parser normalises the host as it does in the URLs that are compared with it.
        let url = url::Url::parse(&format!("http://{}", plain.unwrap_or(text))).map_err(|_| invalid())?;
        let is_bare =
            url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let host = url.host().filter(|_| is_bare && !text.ends_with('/')).ok_or_else(invalid)?;
        // `port` leaves out 80, which is the default of the scheme that only the parser needed.
        let port = if text.ends_with(":80") { Some(80) } else { url.port() };
        Ok(Self::Host { name: name_of(&host), port, may_be_plain: plain.is_some() })
    }
}

/// A host as it is compared: without the dot that ends absolute names.
pub(crate) fn name_of(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Public addresses over https, and what the operator lists besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads the operator's list. A rule is a network (`10.0.0.0/8`), whose addresses may be reached over https; a host (`idp.lan`, or
    /// `idp.lan:8443`), which may have addresses of a LAN; or a host with `http://` before it, which may be asked without TLS, too.
    ///
    /// # Errors
    /// When a rule is none of these; names it.
    pub fn new<T: AsRef<str>>(rules: impl IntoIterator<Item = T>) -> Result<Self, InvalidRule> {
        let rules = rules.into_iter().map(|rule| rule.as_ref().parse::<Rule>()).collect::<Result<Vec<_>, _>>()?;
        if rules.len() > RULES_MAX {
            return Err(InvalidRule::TooMany);
        }
        Ok(Self { rules })
    }

    /// Whether the operator lists this host on this port.
    pub(crate) fn lists(&self, host: &str, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.is_host(host, port))
    }

    /// Whether this host may be asked without TLS.
    pub(crate) fn allows_plain(&self, host: &str, port: u16) -> bool {
        let plain = |rule: &&Rule| matches!(rule, Rule::Host { may_be_plain: true, .. });
        self.rules.iter().filter(plain).any(|rule| rule.is_host(host, port))
    }

    /// Why a host may not be reached at this address; `None` if it may.
    pub(crate) fn objection(&self, host: &str, port: u16, address: IpAddr) -> Option<Class> {
        let class = class_of(address)?;
        let in_network = |rule: &Rule| matches!(rule, Rule::Network(network) if network.contains(address));
        let allowed = self.rules.iter().any(in_network) || (class.is_of_a_lan() && self.lists(host, port));
        (!allowed).then_some(class)
    }
}

impl Rule {
    fn is_host(&self, host: &str, wanted: u16) -> bool {
        matches!(self, Self::Host { name, port, .. } if name == host && port.is_none_or(|port| port == wanted))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "public addresses over https, and {} rules", self.rules.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[&str]) -> Policy {
        Policy::new(rules).unwrap()
    }

    #[test]
    fn network_allows_its_addresses_and_a_host_those_of_a_lan() {
        let allowed = |policy: &Policy, host: &str, port, address: &str| {
            policy.objection(host, port, address.parse().unwrap()).is_none()
        };
        let none = Policy::default();
        assert!(allowed(&none, "a.example", 443, "9.9.9.9") && !allowed(&none, "a.example", 443, "10.0.0.1"));
        let network = policy(&["10.1.0.0/16", "169.254.169.254"]);
        assert!(allowed(&network, "a.example", 443, "10.1.2.3") && !allowed(&network, "a.example", 443, "10.2.0.1"));
        assert!(!allowed(&network, "a.example", 443, "::ffff:10.1.2.3"), "a network has one way to be written");
        assert!(allowed(&network, "a.example", 443, "169.254.169.254"), "the operator says so");
        let host = policy(&["IDP.lan", "db.lan:8443"]);
        assert!(allowed(&host, "idp.lan", 443, "10.9.9.9") && allowed(&host, "idp.lan", 8443, "fd00::1"));
        assert!(!allowed(&host, "other.lan", 443, "10.9.9.9"), "another host");
        assert!(!allowed(&host, "idp.lan", 443, "169.254.169.254"), "no name leads to a cloud's credentials");
        assert!(allowed(&host, "db.lan", 8443, "10.9.9.9") && !allowed(&host, "db.lan", 443, "10.9.9.9"));
    }

    #[test]
    fn plain_http_needs_a_rule_of_its_own() {
        let policy = policy(&["10.0.0.0/8", "idp.lan", "http://hooks.lan:80", "http://[fd00::1]:8080"]);
        assert!(!policy.allows_plain("idp.lan", 80) && policy.allows_plain("hooks.lan", 80));
        assert!(!policy.allows_plain("hooks.lan", 8080) && policy.allows_plain("fd00::1", 8080));
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for wrong in
            ["", "https://a.example", "10.0.0.1/8", "http://a.example/path", "a b", "http://", "http://u@a.example"]
        {
            assert!(Policy::new([wrong]).is_err(), "{wrong}");
        }
        assert_eq!(Policy::new(vec!["a.example"; RULES_MAX + 1]).unwrap_err(), InvalidRule::TooMany);
    }
}
