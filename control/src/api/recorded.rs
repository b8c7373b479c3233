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

/// What all routes of this plane begin with.
const PREFIX: &str = "/cluster/v1/admin/";
/// The same of what nodes ask.
const NODES_PREFIX: &str = "/cluster/v1/";

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
    let mut action = action(request.method(), matched.as_str());
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

/// What the audit calls a request: its resource, and what is done.
fn action(method: &Method, path: &str) -> String {
    let own = path.strip_prefix(PREFIX).or_else(|| path.strip_prefix(NODES_PREFIX)).unwrap_or(path);
    let parts: Vec<&str> = own.split('/').filter(|part| !part.starts_with('{')).collect();
    let resource = parts.first().copied().unwrap_or_default();
    let verb = match (method.as_str(), parts.get(1).copied()) {
        (_, Some(verb)) => verb,
        ("DELETE", None) => "delete",
        _ if path.contains('{') => "add",
        _ => "create",
    };
    format!("{resource}.{verb}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_names_what_the_operator_did() {
        for (method, path, wanted) in [
            (Method::POST, "/cluster/v1/admin/streams", "streams.create"),
            (Method::DELETE, "/cluster/v1/admin/streams/{stream}", "streams.delete"),
            (Method::POST, "/cluster/v1/admin/streams/{stream}/rotate-key", "streams.rotate-key"),
            (Method::POST, "/cluster/v1/admin/nodes/{node}/revoke", "nodes.revoke"),
            (Method::POST, "/cluster/v1/admin/streamers/{node}", "streamers.add"),
            (Method::POST, "/cluster/v1/admin/metadata/branch", "metadata.branch"),
            (Method::POST, "/cluster/v1/delegations", "delegations.create"),
        ] {
            assert_eq!(action(&method, path), wanted);
        }
    }
}
