//! Which nodes a data plane serves, and which balancers a viewers' port believes: those that the metadata log does not refuse.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use node::http::Peer;
use node::tls;
use tokio::sync::watch;

use crate::Log;

/// How long a request waits for the entry that makes its sender a member.
const JOINING_MAX: Duration = Duration::from_secs(2);

/// Refuses nodes that are no members, those that are revoked, and those whose certificate is not that of the member of this name: a stolen authority can sign
/// another one.
pub fn only_members(routes: Router, log: &Arc<Log>) -> Router {
    routes.layer(middleware::from_fn_with_state(Arc::clone(log), check))
}

async fn check(State(log): State<Arc<Log>>, request: Request, next: Next) -> Response {
    let refused = match request.extensions().get::<Peer>() {
        Some(peer) => why_refused(&log, peer).await,
        None => None,
    };
    let Some(why) = refused else { return next.run(request).await };
    metrics::counter!("metadata_nodes_refused_total", "reason" => why.label()).increment(1);
    (StatusCode::FORBIDDEN, format!("{}\n", why.text())).into_response()
}

/// Why a node is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Revoked,
    Removed,
    Unknown,
    OtherKey,
}

impl Why {
    const fn label(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
            Self::OtherKey => "other_key",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Revoked => "this node is revoked",
            Self::Removed => "a node of this name was removed",
            Self::Unknown => "this node is no member of the cluster, as far as is known here",
            Self::OtherKey => "this is not the certificate of the member of this name",
        }
    }
}

/// Why a node is refused; `None` when it is not, or when this node does not know the log yet. A node that joins is sometimes faster
/// than the entry that makes it a member.
async fn why_refused(log: &Log, peer: &Peer) -> Option<Why> {
    let mut changes = log.changes();
    let why = look(log, peer);
    if why != Some(Why::Unknown) {
        return why;
    }
    let known = async { while changes.changed().await.is_ok() && look(log, peer) == Some(Why::Unknown) {} };
    let _ = tokio::time::timeout(JOINING_MAX, known).await;
    look(log, peer)
}

/// A node that does not know the log yet takes a certificate at its word.
impl node::http::Members for Log {
    fn is_member(&self, peer: &Peer) -> bool {
        look(self, peer).is_none()
    }

    fn changes(&self) -> watch::Receiver<()> {
        Self::changes(self)
    }
}

fn look(log: &Log, peer: &Peer) -> Option<Why> {
    let (node, role) = peer.node.as_ref()?;
    log.look(|view| {
        view.cluster()?;
        if view.is_node_revoked(node) {
            return Some(Why::Revoked);
        }
        if view.was_member(node) {
            return Some(Why::Removed);
        }
        let Some(member) = view.member(node) else { return Some(Why::Unknown) };
        let is_its_key =
            || peer.certificate.as_deref().and_then(tls::spki_of).is_some_and(|spki| member.spki.contains(&spki));
        (member.role != *role || !is_its_key()).then_some(Why::OtherKey)
    })
}
