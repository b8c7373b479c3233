//! Requests that come by another door than HTTP's routes. Each names the route of HTTP whose rules hold for it, and passes the same decisions
//! ([`super::gate`]): nothing here decides anything.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use node::http::Peer;
use node::problem::Type;

use super::answer::Answer;
use super::caller::Call;
use super::gate::{self, Arrived, Begun, Content, Known};
use super::limits::Standing;
use super::problem::Problem;
use super::scopes::rule;
use crate::ControlState;
use crate::lead::ensure_leads;

/// A request, whoever sends it.
pub(crate) struct Arrival {
    pub(crate) peer: Option<Peer>,
    /// Method and path of the route whose rules hold, such as `/api/v1/streams/{stream}`.
    pub(crate) route: (Method, &'static str),
    /// What the path names, for the audit; empty when it names nothing.
    pub(crate) object: String,
    pub(crate) request_id: String,
    /// Credential, tenant, preconditions and the key of a repetition, as HTTP's headers say them.
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Vec<(String, String)>,
    /// What tells the request from others, for repetitions: with the body, all that it says.
    pub(crate) target: String,
    /// JSON.
    pub(crate) body: Bytes,
}

/// What becomes of a request that may be answered.
pub(crate) enum Turn {
    Handle(Call),
    /// It was answered before.
    Again(Answer),
}

/// A request while it is answered.
pub(crate) struct Admission {
    shared: Arc<ControlState>,
    arrived: Arrived,
    known: Known,
}

impl Admission {
    /// Lets a request through to what answers it. What is refused is recorded, unless another control node leads.
    pub(crate) async fn begin(shared: &Arc<ControlState>, arrival: Arrival) -> (Self, Result<Turn, Problem>) {
        let Arrival { peer, route: (method, path), object, request_id, headers, parameters, target, body } = arrival;
        let address = peer.as_ref().and_then(Peer::counted_as);
        let object = gate::shown(&object);
        let arrived = Arrived { method, path: path.to_owned(), request_id, address, object };
        let mut admission = Self { shared: Arc::clone(shared), arrived, known: Known::default() };
        let content = Content { target, base_url: String::new(), headers, parameters, body };
        // Before anything is written, an audit's row included.
        if let Err(away) = ensure_leads(shared, &admission.arrived.method, &admission.arrived.path).await {
            return (admission, Err(away.into()));
        }
        let begun = admission.admit(peer.as_ref(), content).await;
        if let Err(problem) = &begun {
            admission.refused(problem.kind).await;
        }
        (admission, begun)
    }

    async fn admit(&mut self, peer: Option<&Peer>, content: Content) -> Result<Turn, Problem> {
        let Some(rule) = rule(&self.arrived.method, &self.arrived.path) else {
            return Err(Problem::new(Type::ScopeMissing, "nobody may use this"));
        };
        let (shared, known) = (&self.shared, &mut self.known);
        let shows = (&Uri::default(), &content.headers);
        let entitled = gate::entitle(shared, &self.arrived, (peer, rule), shows, known).await?;
        Ok(match gate::begin(shared, &self.arrived, entitled, content).await? {
            Begun::Call(call) => Turn::Handle(call),
            Begun::Answered(answer) => Turn::Again(answer),
        })
    }

    /// Records that the request was refused.
    pub(crate) async fn refused(&mut self, kind: Type) {
        gate::record_refusal(&self.shared, &self.arrived, &self.known, kind).await;
    }

    /// The entry of the metadata log that the answer reflects.
    pub(crate) fn sequence(&self) -> u64 {
        self.known.sequence(&self.shared, &self.arrived.method)
    }

    /// What the caller is told of how often it may ask.
    pub(crate) const fn standing(&self) -> Option<&Standing> {
        self.known.standing.as_ref()
    }
}
