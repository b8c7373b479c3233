//! The audit: what is recorded of changes and refusals, and the routes that show it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use catalogue::{Break, Id, Kind, Record};
use node::problem::Type;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::caller::{Call, Principal};
use super::limits::{ANONYMOUS, Buckets, REFUSED};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::Problem;
use super::respond;
use super::scopes::Scopes;
use crate::ControlState;

/// What the routes of the two planes begin with whose requests are recorded.
const PLANES: [&str; 3] = ["/api/v1/", "/cluster/v1/admin/", "/cluster/v1/"];

/// What the audit calls a request, by its route: its resource, and what is done.
pub(crate) fn action(method: &Method, route: &str) -> String {
    let below = PLANES.iter().find_map(|plane| route.strip_prefix(plane)).unwrap_or(route);
    let parts: Vec<&str> = below.split('/').collect();
    // What is below a row of its own kind.
    let nested = parts.get(2).copied().filter(|part| ["messages", "bans"].contains(part));
    let resource = nested.or(parts.first().copied()).unwrap_or_default();
    let verb = match (method.as_str(), parts.last().copied()) {
        ("POST", Some(last)) if last.starts_with('{') => "add",
        ("POST", Some(last)) if parts.len() > 1 && last != resource => last,
        ("POST", _) => "create",
        ("PATCH" | "PUT", _) => "update",
        ("DELETE", _) => "delete",
        _ => "read",
    };
    format!("{resource}.{verb}")
}

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

/// How many refusals are recorded: without a bound of their own, whoever has an address could have the oldest records forgotten.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    buckets: Buckets,
    /// Refusals since the last one that was recorded.
    unrecorded: BTreeMap<String, u64>,
}

/// Most callers whose unrecorded refusals are counted apart.
const CALLERS_MAX: usize = 10_000;

impl Refusals {
    /// Whether to record a refusal of this caller, and how many of it went before without a record. All who show no valid credential are
    /// one caller.
    fn take(&mut self, caller: Option<&Principal>, now: Duration) -> Option<u64> {
        let (rate, who) = caller.map_or((ANONYMOUS, ""), |caller| (REFUSED, caller.credential.as_str()));
        if self.buckets.take(rate, who, 1.0, now).is_ok() {
            return Some(self.unrecorded.remove(who).unwrap_or(0));
        }
        if self.unrecorded.len() < CALLERS_MAX || self.unrecorded.contains_key(who) {
            *self.unrecorded.entry(who.to_owned()).or_default() += 1;
        }
        None
    }
}

/// Records a refusal, unless there are too many.
pub(crate) async fn note_refusal(shared: &ControlState, who: Option<&Principal>, tenant: Option<Id>, mut what: What) {
    let now = shared.node.clock.elapsed();
    let taken = shared.api.refusals.lock().unwrap_or_else(PoisonError::into_inner).take(who, now);
    let Some(unrecorded) = taken else { return };
    if unrecorded > 0 {
        what.changes = json!({ "refused_before_without_a_record": unrecorded });
    }
    note(shared, who, tenant, what).await;
}

/// A change, or a refusal.
#[derive(Debug, Serialize, ToSchema)]
struct AuditRecord {
    id: String,
    created_at: i64,
    /// The kind of credential, or `anonymous`.
    actor: String,
    /// Identity of the credential.
    credential: String,
    /// What was done, such as `streams.create`.
    action: String,
    /// What it was done to.
    object: String,
    /// What changed, without secrets.
    changes: Value,
    /// `done`, or the type of the problem.
    result: String,
    request_id: String,
    /// For operators: the record's place in the chain of all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64)]
    sequence: Option<i64>,
    /// For operators: whose record it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    tenant: Option<Option<String>>,
}

fn view(sequence: i64, record: &Record, is_operator: bool) -> AuditRecord {
    AuditRecord {
        id: record.id.to_string(),
        created_at: record.at.0,
        actor: record.actor.clone(),
        credential: record.credential.clone(),
        action: record.action.clone(),
        object: record.object.clone(),
        changes: serde_json::from_str(&record.changes).unwrap_or_default(),
        result: record.result.clone(),
        request_id: record.request_id.clone(),
        // Of other tenants, only the operator knows how much they do.
        sequence: is_operator.then_some(sequence),
        tenant: is_operator.then(|| record.tenant.as_ref().map(Id::to_string)),
    }
}

/// Where the chain of records does not hold.
#[derive(Debug, Serialize, ToSchema)]
struct AuditBreak {
    sequence: i64,
    id: String,
    why: &'static str,
}

/// Whether the chain of records holds.
#[derive(Debug, Serialize, ToSchema)]
struct AuditCheck {
    records: i64,
    newest: i64,
    /// None in a sound one.
    breaks: Vec<AuditBreak>,
}

/// Changes and refusals, newest first.
///
/// Operators see those of all tenants with `all=true`.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "records", params(ListParameters, ("all" = Option<bool>, Query, description = "Those of all tenants; for operators.")),
    responses((status = 200, description = "A page of records", body = Rows<AuditRecord>)),
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
    responses((status = 200, description = "Where the chain does not hold; nowhere in a sound one", body = AuditCheck)),
)]
pub(crate) async fn check(State(shared): State<Arc<ControlState>>, _: Call) -> Result<Response, Problem> {
    let checked = shared.catalogue.check_audit().await?;
    let broken = |one: Break| AuditBreak { sequence: one.sequence, id: one.id, why: one.why };
    let breaks = checked.breaks.into_iter().map(broken).collect();
    let answer = AuditCheck { records: checked.records, newest: checked.newest, breaks };
    Ok(respond(StatusCode::OK, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_names_what_was_asked_for() {
        for (method, route, wanted) in [
            (Method::POST, "/api/v1/streams", "streams.create"),
            (Method::PATCH, "/api/v1/streams/{stream}", "streams.update"),
            (Method::DELETE, "/api/v1/api-keys/{key}", "api-keys.delete"),
            (Method::POST, "/api/v1/streams/{stream}/rotate-key", "streams.rotate-key"),
            (Method::PATCH, "/api/v1/tenant", "tenant.update"),
            (Method::POST, "/api/v1/streams/{stream}/bans", "bans.create"),
            (Method::DELETE, "/api/v1/streams/{stream}/messages/{message}", "messages.delete"),
            (Method::POST, "/cluster/v1/admin/streams", "streams.create"),
            (Method::DELETE, "/cluster/v1/admin/streams/{stream}", "streams.delete"),
            (Method::POST, "/cluster/v1/admin/streams/{stream}/rotate-key", "streams.rotate-key"),
            (Method::POST, "/cluster/v1/admin/nodes/{node}/revoke", "nodes.revoke"),
            (Method::POST, "/cluster/v1/admin/streamers/{node}", "streamers.add"),
            (Method::POST, "/cluster/v1/admin/metadata/branch", "metadata.branch"),
        ] {
            assert_eq!(action(&method, route), wanted, "{method} {route}");
        }
    }

    #[test]
    fn refusals_beyond_the_bound_are_counted_in_the_next_record() {
        let (mut refusals, begin) = (Refusals::default(), Duration::from_secs(1_000));
        for _ in 0..100 {
            assert_eq!(refusals.take(None, begin), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(refusals.take(None, begin), None);
        }
        assert_eq!(refusals.take(None, begin + Duration::from_secs(870)), Some(7), "a hundred a day");
        assert_eq!(refusals.take(None, begin + Duration::from_secs(870)), None);
    }
}
