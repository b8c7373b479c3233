//! `/webhooks/{webhook}/deliveries`: what was sent to an endpoint, what waits, and what was given up.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Delivery, Edit, Kind};
use node::problem::Type;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::caller::Call;
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::Problem;
use super::webhooks::{ensure_active, find};
use super::{Change, respond};
use crate::ControlState;

/// States of deliveries.
const STATES: [&str; 4] = ["pending", "delivered", "failed", "dropped"];

/// An event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryView {
    id: String,
    event: String,
    r#type: String,
    sequence: i64,
    #[schema(extensions(("x-extensible-enum" = json!(["pending", "delivered", "failed", "dropped"]))))]
    state: String,
    attempts: i64,
    /// When it is tried next.
    #[schema(required)]
    due_at: Option<i64>,
    #[schema(required)]
    answered_at: Option<i64>,
    /// What the receiver answered.
    #[schema(required)]
    status: Option<i64>,
    #[schema(required)]
    error: Option<String>,
    created_at: i64,
}

/// An event that is sent once more.
#[derive(Debug, Serialize, ToSchema)]
struct Queued {
    event: String,
    queued_count: usize,
}

fn view(delivery: &Delivery) -> DeliveryView {
    let waits = delivery.state == "pending";
    DeliveryView {
        id: delivery.id.to_string(),
        event: delivery.event.clone(),
        r#type: delivery.kind.clone(),
        sequence: delivery.sequence,
        state: delivery.state.clone(),
        attempts: delivery.attempts,
        due_at: waits.then_some(delivery.due_at.0),
        answered_at: delivery.answered_at.map(|at| at.0),
        status: delivery.status,
        error: delivery.error.clone(),
        created_at: delivery.created_at.0,
    }
}

/// Deliveries to a webhook, newest first. Those that were given up have the state `failed`.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(
        ("webhook" = String, Path, description = "Identity"),
        ListParameters,
        ("state" = Option<String>, Query, description = "`pending`, `delivered`, `failed` or `dropped`"),
    ),
    responses((status = 200, description = "A page of deliveries", body = Rows<DeliveryView>)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let webhook = find(&shared, &call, &id).await?;
    let page = listing::page(&call, Kind::Delivery, Order::NewestFirst)?;
    let state = call.parameter("state").unwrap_or_default();
    if !state.is_empty() && !STATES.contains(&state) {
        return Err(Problem::new(Type::Malformed, format!("state has to be one of {}", STATES.join(", "))));
    }
    let deliveries = shared.catalogue.deliveries(&webhook.id, state, &page).await?;
    let key = |delivery: &Delivery| (delivery.created_at, delivery.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(deliveries, &page, key, view)))
}

/// Delivers an event once more, while it is kept.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{webhook}/deliveries/{delivery}/redeliver", tag = "webhooks",
    params(
        ("webhook" = String, Path, description = "Identity"),
        ("delivery" = String, Path, description = "Identity of a delivery"),
    ),
    responses((status = 200, description = "It is sent", body = Queued), (status = 410, description = "A problem: gone")),
)]
pub(crate) async fn redeliver(
    State(shared): State<Arc<ControlState>>,
    Path((id, delivery)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    let webhook = find(&shared, &call, &id).await?;
    let delivery = shared.catalogue.find_delivery(&webhook.id, &delivery).await?.ok_or_else(Problem::not_found)?;
    ensure_active(&webhook)?;
    if delivery.state == "pending" {
        return Err(Problem::new(Type::State, "this delivery waits already: deliveries says when it is tried next"));
    }
    let gone = || Problem::new(Type::Gone, "the event is not kept any more");
    let event = shared.catalogue.find_event(&call.tenant.id, &delivery.event).await?.ok_or_else(gone)?;
    let change = Change {
        object: webhook.id.to_string(),
        changes: json!({ "delivery": delivery.id.as_str(), "event": delivery.event }),
        edit: Edit::Replay(webhook, vec![event]),
        status: StatusCode::OK,
        answer: json!(Queued { event: delivery.event, queued_count: 1 }),
    };
    call.commit(&shared, change).await
}
