//! A URL that may be asked as far as its text says. Its addresses are checked when it is asked. Pure.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::error::Refused;
use crate::limits::URL_BYTES_MAX;
use crate::policy::{Policy, name_of};

/// A checked URL. `Debug` and `Display` show scheme, host and port only: paths of webhooks may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    /// Without the dot that ends absolute names, and without brackets.
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Target {
    /// Checks what the text says: scheme, host and, when the host is an address in whatever form the URL standard knows
    /// (`0x7f000001`, `2130706433`, `127.1`), that address. For settings, so that their owner hears of it at once.
    ///
    /// # Errors
    /// When the URL may not be asked; names why.
    pub fn parse(text: &str, policy: &Policy) -> Result<Self, Refused> {
        if text.len() > URL_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let url = Url::parse(text).map_err(|_| Refused::NoUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refused::Scheme(url.scheme().chars().take(32).collect()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let (host, port) = url.host().zip(url.port_or_known_default()).ok_or(Refused::NoUrl)?;
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let host = name_of(&host);
        if url.scheme() == "http" && !policy.allows_plain(&host, port) {
            return Err(Refused::Plain { host });
        }
        match address {
            Some(address) => {
                if let Some(class) = policy.objection(&host, port, address) {
                    return Err(Refused::Address { host, address, class });
                }
            }
            None if is_local(&host) && !policy.lists(&host, port) => return Err(Refused::LocalName { host }),
            None => {}
        }
        Ok(Self { url, host, address, port })
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is one.
    pub(crate) const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Path and query, as they stand in a request.
    pub(crate) fn path(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", self.url.path())
    }

    /// Host and port, as they stand in the `host` field.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}/…)")
    }
}

/// Names that lead into the local machine or network by themselves. A name of one label depends on the search list of the resolver.
fn is_local(host: &str) -> bool {
    !host.contains('.') || host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Class;

    fn refused(url: &str) -> Option<Refused> {
        Target::parse(url, &Policy::default()).err()
    }

    /// Case E10: what tenants were seen to try, as text.
    #[test]
    fn urls_that_lead_inside_are_refused_by_their_text() {
        let addresses = [
            ("https://169.254.169.254/latest/meta-data/", Class::LinkLocal),
            ("https://[::ffff:10.0.0.1]/", Class::Ipv4InIpv6),
            ("https://[::ffff:a00:1]/", Class::Ipv4InIpv6),
            ("https://[::10.0.0.1]/", Class::Ipv4InIpv6),
            ("https://[64:ff9b::a00:1]/", Class::Nat64),
            ("https://[2002:a00:1::]/", Class::SixToFour),
            ("https://0x7f000001/", Class::Loopback),
            ("https://2130706433/", Class::Loopback),
            ("https://017700000001/", Class::Loopback),
            ("https://127.1/", Class::Loopback),
            ("https://0x7f.0.0.1:8443/", Class::Loopback),
            ("https://127.0.0.1./", Class::Loopback),
            ("https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/", Class::Loopback),
            ("https://%31%32%37.0.0.1/", Class::Loopback),
            ("https://[::1]/", Class::Loopback),
            ("https://[::]/", Class::Unspecified),
            ("https://0/", Class::Unspecified),
            ("https://10.0.0.1/", Class::Private),
            ("https://172.16.0.1/", Class::Private),
            ("https://192.168.0.1/", Class::Private),
            ("https://100.64.0.1/", Class::Shared),
            ("https://[fd00::1]/", Class::UniqueLocal),
            ("https://[fe80::1]/", Class::LinkLocal),
            ("https://224.0.0.1/", Class::Multicast),
            ("https://203.0.113.7/", Class::Documentation),
            ("https://[2001:db8::1]/", Class::Documentation),
            ("https://255.255.255.255/", Class::Reserved),
        ];
        for (url, expected) in addresses {
            match refused(url) {
                Some(Refused::Address { class, .. }) => assert_eq!(class, expected, "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        for url in [
            "https://localhost/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://a.localhost/",
            "https://postgres/",
        ] {
            assert!(matches!(refused(url), Some(Refused::LocalName { .. })), "{url}");
        }
        for url in ["file:///etc/passwd", "gopher://hooks.example/", "ftp://hooks.example/", "unix:/run/docker.sock"] {
            assert!(matches!(refused(url), Some(Refused::Scheme(_))), "{url}");
        }
        assert!(matches!(refused("http://hooks.example/"), Some(Refused::Plain { .. })));
        assert_eq!(refused("https://user:secret@hooks.example/"), Some(Refused::UserInfo));
        assert_eq!(refused("https://"), Some(Refused::NoUrl));
        assert_eq!(refused("hooks.example"), Some(Refused::NoUrl));
        assert_eq!(refused(&format!("https://hooks.example/{}", "a".repeat(URL_BYTES_MAX))), Some(Refused::TooLong));
    }

    #[test]
    fn public_hosts_pass_and_their_paths_are_not_printed() {
        let target = Target::parse("https://Hooks.Example.:8443/t/secret?a=b#c", &Policy::default()).unwrap();
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("hooks.example", 8443, "/t/secret?a=b"));
        assert_eq!(target.to_string(), "https://hooks.example:8443");
        assert!(!format!("{target:?}").contains("secret"));
        let literal = Target::parse("https://[2606:4700::1]/", &Policy::default()).unwrap();
        assert_eq!(literal.authority(), "[2606:4700::1]");
    }

    #[test]
    fn tenants_do_not_hear_which_address_a_name_has() {
        let refused = Refused::Address {
            host: "a.example".to_owned(),
            address: "10.1.2.3".parse().unwrap(),
            class: Class::Private,
        };
        assert!(refused.to_string().contains("10.1.2.3") && !refused.for_tenant().contains("10.1.2.3"));
    }
}
