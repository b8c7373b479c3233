//! The audit: what is recorded of changes and refusals, and the routes that show it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Id, Kind, Record};
use node::problem::Type;
use serde_json::{Value, json};

use super::caller::{Call, Principal};
use super::limits::{ANONYMOUS, Buckets, REFUSED};
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

#[cfg(test)]
mod tests {
    use super::*;

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
