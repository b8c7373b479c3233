//! The server that a connection is meant for, and the check that it is that server.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use media::NodeId;
use messages::Role;
use rustls::{CertificateError, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::node_of;
use crate::sparse::Sparse;

/// Most causes of an error that are searched.
const CAUSES_MAX: usize = 16;

/// The server that a connection is meant for: what its certificate has to say in the URI `sealcast:{role}/{node}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// This node, in this role.
    Node(Role, NodeId),
    /// Any node of this role: for control, all of whose nodes may do the same, and whose addresses are configured.
    Any(Role),
    /// A broker, which is no node.
    Broker,
}

impl Server {
    const fn role(&self) -> Option<Role> {
        match self {
            Self::Node(role, _) | Self::Any(role) => Some(*role),
            Self::Broker => None,
        }
    }

    fn is(&self, found: Option<&(NodeId, Role)>) -> bool {
        match (self, found) {
            (Self::Node(role, node), Some((its_node, its_role))) => role == its_role && node == its_node,
            (Self::Any(role), Some((_, its_role))) => role == its_role,
            (Self::Broker, found) => found.is_none(),
            (_, None) => false,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(role, node) => write!(f, "{role} {node}"),
            Self::Any(role) => write!(f, "a node of role {role}"),
            Self::Broker => f.write_str("a broker"),
        }
    }
}

/// The server has a certificate of the cluster's authority, but is not the one that was meant. The handshake fails with this.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server has to be {expected}, and its certificate belongs to {}", name_of(found.as_ref()))]
pub struct WrongServer {
    expected: Server,
    found: Option<(NodeId, Role)>,
}

/// Prints as a sentence, because rustls prints the errors of others by `Debug`.
impl fmt::Debug for WrongServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn name_of(found: Option<&(NodeId, Role)>) -> String {
    found.map_or_else(|| "no node".to_owned(), |(node, role)| format!("{role} {node}"))
}

impl WrongServer {
    /// Finds it among the causes of an error, such as that of a failed request.
    pub fn in_causes<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        for _ in 0..CAUSES_MAX {
            let cause = next?;
            if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = cause.downcast_ref() {
                return other.0.downcast_ref();
            }
            // `source` of an I/O error skips the error that it carries.
            let carried = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = match carried {
                Some(carried) => Some(carried),
                None => cause.source(),
            };
        }
        None
    }
}

/// Compares servers with those that were meant; counts wrong ones, and logs them no more often than [`Sparse`] says.
#[derive(Debug, Default)]
pub(super) struct ServerCheck {
    /// By the expected role and the found one: some twenty kinds.
    refused: Mutex<Sparse<(Option<Role>, Option<Role>)>>,
}

impl ServerCheck {
    /// Refuses a certificate of another role or node. The caller has already checked that it is of the cluster's authority.
    pub(super) fn check(
        &self,
        expected: &Server,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let found = node_of(leaf);
        if expected.is(found.as_ref()) {
            return Ok(());
        }
        let wrong = WrongServer { expected: expected.clone(), found };
        metrics::counter!("tls_wrong_servers_total", "expected" => label(expected.role())).increment(1);
        self.say(&wrong, Duration::from_secs(now.as_secs()));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong)))))
    }

    fn say(&self, wrong: &WrongServer, now: Duration) {
        let kind = (wrong.expected.role(), wrong.found.as_ref().map(|(_, role)| *role));
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        for ((expected, _), count) in refused.over(now) {
            tracing::warn!(
                expected = label(expected),
                count,
                "more servers were refused: the connections were meant for others"
            );
        }
        if refused.is_first(kind, now) {
            tracing::warn!(reason = %wrong, "a server was refused: the connection was meant for another one");
        }
    }
}

fn label(role: Option<Role>) -> String {
    role.map_or_else(|| "broker".to_owned(), |role| role.to_string())
}
