//! Why a request was not sent, or brought nothing. No error holds bytes of an answer.

use std::net::IpAddr;

use crate::address::Class;
use crate::limits::URL_BYTES_MAX;

/// Why a URL may not be asked. The text names what was refused and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not parse, or has no host.
    #[error("this is no URL of a server: write it as in https://hooks.example/path")]
    NoUrl,
    #[error("this URL has more than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("{0:?} is not served: use https")]
    Scheme(String),
    #[error("http://{host} is not encrypted: use https, or have the operator list \"http://{host}\" in outbound_allow")]
    Plain { host: String },
    #[error("this URL holds a user name or a password: leave them out")]
    UserInfo,
    #[error(
        "{host} is a name of this machine or its network: use a public name, or have the operator list it in outbound_allow"
    )]
    LocalName { host: String },
    #[error("{host} leads to {address}, {class}: use a public address, or have the operator list it in outbound_allow")]
    Address { host: String, address: IpAddr, class: Class },
}

impl Refused {
    /// The same for the one who chose the URL: it does not tell which address a name of the operator's own network has.
    pub fn for_tenant(&self) -> String {
        match self {
            Self::Address { host, class, .. } => format!("{host} leads to {class}: use a public address"),
            Self::LocalName { host } => format!("{host} is no public name"),
            Self::Plain { host } => format!("http://{host} is not encrypted: use https"),
            other => other.to_string(),
        }
    }
}

/// Why there is no answer. `origin` is scheme, host and port: paths may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{origin} has no address: {reason}")]
    Resolve { origin: String, reason: String },
    #[error("no connection to {origin}: {reason}")]
    Connect { origin: String, reason: String },
    #[error("{origin} cannot be trusted: {reason}")]
    Tls { origin: String, reason: String },
    #[error("{origin} does not speak HTTP as it should: {reason}")]
    Http { origin: String, reason: String },
    #[error("{origin} took longer than {limit_ms} ms")]
    TooSlow { origin: String, limit_ms: u128 },
    #[error("{origin} answers with more than {limit_bytes} bytes")]
    TooLarge { origin: String, limit_bytes: usize },
    #[error("{origin} answers {status}, and redirects are not followed: give the URL that it leads to")]
    Redirected { origin: String, status: u16 },
}

impl Error {
    /// The name of the reason, for metrics and for `errors[].code`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Http { .. } => "http",
            Self::TooSlow { .. } => "too_slow",
            Self::TooLarge { .. } => "too_large",
            Self::Redirected { .. } => "redirected",
        }
    }

    /// The text for the one who chose the URL. It keeps what only an operator should know to itself: addresses, and texts of the
    /// operating system.
    pub fn for_tenant(&self) -> String {
        match self {
            Self::Refused(refused) => refused.for_tenant(),
            Self::Resolve { origin, .. } => format!("{origin} has no address"),
            Self::Connect { origin, .. } => format!("no connection to {origin}"),
            Self::Http { origin, .. } => format!("{origin} does not speak HTTP as it should"),
            other => other.to_string(),
        }
    }
}
