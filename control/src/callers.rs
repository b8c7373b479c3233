//! Who may ask control what. A certificate names a node and its role; the metadata log says whether it is the certificate of that node,
//! because a stolen authority can sign any name.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use messages::Role;
use node::http::Peer;
use node::tls;

use crate::ControlState;
use crate::grants;
use crate::members::{Listed, NotAdmitted, own};
use crate::refusal::Refusal;

/// How long a request waits for the log to have what the files of control say. A control that is started again waits for the other
/// nodes for some 4 s.
pub(crate) const BEGIN_WAIT_MAX: Duration = Duration::from_millis(4_500);

/// Lets only nodes of these roles pass, by the certificate that the handshake verified.
pub(crate) async fn only(State(roles): State<&'static [Role]>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.node.as_ref());
    match peer {
        Some((_, role)) if roles.contains(role) => next.run(request).await,
        _ => Refusal(StatusCode::FORBIDDEN, "your certificate's role may not do this".to_owned()).into_response(),
    }
}

/// Refuses revoked nodes: their certificates still verify.
pub(crate) async fn not_revoked(State(shared): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.node.as_ref());
    match peer {
        Some((node, _)) if shared.is_revoked(node) => {
            metrics::counter!("control_revoked_refused_total", "node" => node.to_string()).increment(1);
            Refusal::from(grants::Error::NodeRevoked(node.clone())).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Lets only members pass whose certificate has the key and the role of their row.
pub(crate) async fn only_members(State(shared): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    match shared.ensure_member(peer).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl ControlState {
    async fn ensure_member(&self, peer: Option<Peer>) -> Result<(), Refusal> {
        let caller = peer.and_then(|peer| {
            let ((node, role), certificate) = (peer.node?, peer.certificate?);
            Some(Listed { node, role, spki: tls::spki_of(&certificate)? })
        });
        let caller = caller.ok_or_else(|| Refusal(StatusCode::FORBIDDEN, "no certificate".to_owned()))?;
        // The operator's commands come with the certificate of this control node, also while its log cannot be written.
        if own(self).is_ok_and(|own| own == caller) {
            return Ok(());
        }
        let why = || self.writer.log().look(|view| NotAdmitted::of(&view, &caller));
        if why().is_none() {
            return Ok(());
        }
        self.ensure_begun().await?;
        let Some(why) = why() else { return Ok(()) };
        metrics::counter!("metadata_nodes_refused_total", "reason" => why.label()).increment(1);
        tracing::warn!(%why, role = %caller.role, "a request of a node that is no member");
        Err(Refusal(StatusCode::FORBIDDEN, why.to_string()))
    }

    /// Waits until the log has what the files of control say.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) async fn ensure_begun(&self) -> Result<(), Refusal> {
        let begun = tokio::time::timeout(BEGIN_WAIT_MAX, self.begun.cancelled()).await;
        begun.map_err(|_| {
            let why = "this control node cannot write the metadata log yet, and so does not know who is a member: its log says why";
            Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
        })
    }
}
