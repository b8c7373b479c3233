//! What a caller reads of itself: its tenant, its session, and what it uses of its quota.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Edit, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::problem::{Invalid, Problem};
use super::tenants::{NAME_CHARS_MAX, QuotaSettings, TenantView, view};
use super::{Change, overtaking, respond, row};
use crate::ControlState;
use crate::usage::Usage;

/// What a tenant may change of itself.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct OwnSettings {
    /// What people call it.
    name: String,
}

impl Settings for OwnSettings {
    const READ_ONLY: &'static [&'static str] = &["id", "slug", "state", "quota", "version", "created_at"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (0, NAME_CHARS_MAX), errors);
    }
}

/// The caller's tenant.
#[utoipa::path(
    get, path = "/api/v1/tenant", tag = "tenants",
    responses((status = 200, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn tenant(call: Call) -> Response {
    row(&call, call.tenant.version, view(&call.tenant))
}

/// Changes the caller's tenant (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/tenant", tag = "tenants", request_body = OwnSettings,
    responses((status = 200, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn update_tenant(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    overtaking!(call, update_once(&shared, &call))
}

async fn update_once(shared: &ControlState, call: &Caller) -> Result<Response, Problem> {
    let before = shared.catalogue.find_tenant(call.tenant.id.as_str()).await?.ok_or_else(Problem::not_found)?;
    call.ensure_version(before.version)?;
    let was = OwnSettings { name: before.name.clone() };
    let new: OwnSettings = body::patch(&was, &call.body)?;
    let changes = body::changes(&was, &new);
    let name = if new.name.is_empty() { before.slug.clone() } else { new.name };
    let tenant = Tenant { name, version: before.version + 1, ..before };
    let (object, answer) = (tenant.id.to_string(), json!(view(&tenant)));
    call.commit(shared, Change { edit: Edit::UpdateTenant(tenant), object, changes, status: StatusCode::OK, answer })
        .await
}

/// What a tenant uses now. Rates are means over some ten seconds, and storage has all copies of recordings.
#[derive(Debug, Serialize, ToSchema)]
struct Used {
    streams: i64,
    api_keys: i64,
    publishers: u64,
    input_bps: u64,
    egress_bps: u64,
    storage_bytes: u64,
}

/// What a tenant may use, and what it uses.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
struct QuotaUsage {
    quota: QuotaSettings,
    used: Used,
}

/// What the tenant may use, and what it uses now.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "records",
    responses((status = 200, description = "Quota and use", body = QuotaUsage)),
)]
pub(crate) async fn usage(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let rows = shared.catalogue.belongings(&call.tenant.id).await?;
    let Usage { publishers, input_bps, egress_bps, storage_bytes } =
        shared.usage().remove(&call.tenant.slug).unwrap_or_default();
    let used =
        Used { streams: rows.streams, api_keys: rows.api_keys, publishers, input_bps, egress_bps, storage_bytes };
    let answer = QuotaUsage { quota: QuotaSettings::of(&call.tenant.quota), used };
    Ok(respond(StatusCode::OK, &answer))
}
