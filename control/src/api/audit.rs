//! The audit: what is recorded of changes and refusals, and the routes that show it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Id, Kind, Record};
use node::problem::Type;
use serde_json::{Value, json};

use super::caller::{Call, Principal};
use super::listing::{self, ListParameters, Order};
use super::problem::Problem;
use super::respond;
use super::scopes::Scopes;
use crate::ControlState;

/// What happened.
pub(crate) struct What {
    pub(crate) action: String,
    pub(crate) object: String,
    /// What changed, without secrets.
    pub(crate) changes: Value,
    /// `done`, or the type of the problem.
    pub(crate) result: String,
    pub(crate) request_id: String,
}

/// The record of what a caller did.
pub(crate) fn record(shared: &ControlState, who: Option<&Principal>, tenant: Option<Id>, what: What) -> Record {
    let now = shared.node.clock.wall();
    let (actor, credential) =
        who.map_or(("anonymous", String::new()), |who| (who.kind.label(), who.credential.clone()));
    Record {
        id: Id::draw(Kind::Event, now),
        at: now,
        tenant,
        actor: actor.to_owned(),
        credential,
        action: what.action,
        object: what.object,
        changes: if what.changes.is_null() { "{}".to_owned() } else { what.changes.to_string() },
        result: what.result,
        request_id: what.request_id,
    }
}

/// Records something by itself: a refusal, or a change outside of the catalogue. When the record cannot be written, the log has it.
pub(crate) async fn note(shared: &ControlState, who: Option<&Principal>, tenant: Option<Id>, what: What) {
    let record = record(shared, who, tenant, what);
    let (action, result) = (record.action.clone(), record.result.clone());
    if let Err(error) = shared.catalogue.note(record).await {
        tracing::error!(action, result, error = &error as &dyn std::error::Error, "the audit has no record of this");
    }
}

fn view(sequence: i64, record: &Record, is_operator: bool) -> Value {
    let changes: Value = serde_json::from_str(&record.changes).unwrap_or_default();
    let mut view = json!({
        "id": record.id.as_str(),
        "created_at": record.at.0,
        "actor": record.actor,
        "credential": record.credential,
        "action": record.action,
        "object": record.object,
        "changes": changes,
        "result": record.result,
        "request_id": record.request_id,
    });
    if is_operator {
        // Of other tenants, only the operator knows how much they do.
        view["sequence"] = sequence.into();
        view["tenant"] = record.tenant.as_ref().map(Id::as_str).into();
    }
    view
}

/// Changes and refusals, newest first.
///
/// Operators see those of all tenants with `all=true`.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "records", params(ListParameters, ("all" = Option<bool>, Query, description = "Those of all tenants; for operators.")),
    responses((status = 200, description = "A page of records"), (status = "4XX", description = "A problem")),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let cluster = Scopes::named("cluster:read").unwrap_or_default();
    let is_operator = call.principal.scopes.contains(cluster);
    let is_all = match call.parameter("all") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::new(Type::Malformed, "all has to be true or false")),
    };
    if is_all && !is_operator {
        return Err(Problem::new(Type::ScopeMissing, format!("this needs the scope {cluster}")));
    }
    let page = listing::page(&call, Kind::Event, Order::NewestFirst)?;
    let tenant = (!is_all).then_some(&call.tenant.id);
    let records = shared.catalogue.records(tenant, &page).await?;
    let key = |(_, record): &(i64, Record)| (record.at, record.id.clone());
    let answer = listing::answer(records, &page, key, |(sequence, record)| view(*sequence, record, is_operator));
    Ok(respond(StatusCode::OK, &answer))
}

/// Checks the chain of all records.
#[utoipa::path(
    get, path = "/api/v1/audit/check", tag = "records",
    responses((status = 200, description = "Where the chain does not hold; nowhere in a sound one"), (status = "4XX", description = "A problem")),
)]
pub(crate) async fn check(State(shared): State<Arc<ControlState>>, _: Call) -> Result<Response, Problem> {
    let checked = shared.catalogue.check_audit().await?;
    let broken = checked.breaks.iter().map(|one| json!({ "sequence": one.sequence, "id": one.id, "why": one.why }));
    let answer = json!({ "records": checked.records, "newest": checked.newest, "breaks": broken.collect::<Vec<_>>() });
    Ok(respond(StatusCode::OK, &answer))
}
