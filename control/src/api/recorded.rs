//! The audit of `/cluster/v1/admin`: one record of each change that an operator makes with the certificate of a control node, refused or
//! not, and of what streamers delegate with theirs. What these routes change is not in the catalogue for the most part, so the record
//! follows the change.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use catalogue::{Id, Kind};
use media::StreamId;
use node::http::Peer;
use serde_json::Value;

use super::audit::{self, What};
use super::caller::{CredentialKind, Principal};
use super::scopes::Scopes;
use crate::ControlState;

/// What all routes of the operators' plane begin with.
const PREFIX: &str = "/cluster/v1/admin/";

/// The stream that a request has made, which its path does not name: a handler adds it to its answer.
#[derive(Debug, Clone)]
pub(crate) struct Touched(pub(crate) StreamId);

/// What a request has done, where its route does not say it: a handler adds it to its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done(pub(crate) &'static str);

/// Records a change after it was made or refused.
pub(crate) async fn record_administration(
    State(shared): State<Arc<ControlState>>,
    matched: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let node = request.extensions().get::<Peer>().and_then(|peer| peer.node.clone());
    let mut action = audit::action(request.method(), matched.as_str());
    let object = params.ok().and_then(|params| params.iter().next().map(|(_, value)| value.chars().take(64).collect()));
    let mut object: String = object.unwrap_or_default();
    // Whose a stream is has to be known before it may be gone.
    let mut tenant = match matched.as_str().contains("{stream}") {
        true => shared.catalogue.owner(&object).await.ok().flatten(),
        false => None,
    };
    let mut response = next.run(request).await;
    if let Some(Touched(stream)) = response.extensions_mut().remove() {
        object = stream.to_string();
        // What an operator does to a stream stands in its tenant's audit.
        tenant = tenant.or_else(|| tenant_of(&shared, &object));
    }
    if let Some(Done(done)) = response.extensions_mut().remove() {
        done.clone_into(&mut action);
    }
    let status = response.status();
    let result = if status.is_success() { "done".to_owned() } else { format!("refused {}", status.as_u16()) };
    let request_id = Id::draw(Kind::Request, shared.node.clock.wall()).to_string();
    let what = What { action, object, changes: Value::Null, result, request_id };
    let home = shared.catalogue.find_tenant(catalogue::DEFAULT_SLUG).await.ok().flatten();
    let who = node.zip(home).map(|((node, role), home)| Principal {
        kind: CredentialKind::Certificate,
        credential: node.to_string(),
        name: format!("{role} {node}"),
        home,
        scopes: Scopes::NONE,
        expires_at: None,
        person: None,
    });
    // A streamer is a guest: what it asks in vain has the bound that all refusals have.
    if status.is_success() || matched.as_str().starts_with(PREFIX) {
        audit::note(&shared, who.as_ref(), tenant, what).await;
    } else {
        audit::note_refusal(&shared, who.as_ref(), tenant, what).await;
    }
    response
}

/// The tenant that has a stream of this name, or had it.
fn tenant_of(shared: &ControlState, stream: &str) -> Option<Id> {
    let stream = StreamId::new(stream).ok()?;
    let id = shared.writer.log().look(|view| view.tenant_of(&stream).map(|tenant| tenant.id.clone()))?;
    Id::parse(Kind::Tenant, &id)
}
