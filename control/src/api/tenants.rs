//! `/tenants`: what operators do with tenants.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Belongings, Edit, Id, Kind, Quota, SLUG_CHARS_MAX, SLUG_CHARS_MIN, Tenant, is_slug};
use media::StreamId;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::{Change, overtaking, respond, row};
use crate::ControlState;
use crate::refusal::{not_kept, not_logged};

/// Most characters of a tenant's name.
pub(crate) const NAME_CHARS_MAX: usize = 100;

/// What a tenant may use; null: no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Quota)]
#[serde(default)]
pub(crate) struct QuotaSettings {
    /// Streams that exist.
    #[schema(minimum = 0)]
    streams: Option<i64>,
    /// Streams that are published at once.
    #[schema(minimum = 0)]
    publishers: Option<i64>,
    /// Bits per second of all publishers together.
    #[schema(minimum = 0)]
    input_bps: Option<i64>,
    /// Bits per second to all viewers together. Above it, nobody else begins to watch.
    #[schema(minimum = 0)]
    egress_bps: Option<i64>,
    /// Bytes of recordings on the disks of all nodes, copies included. Of more, the oldest go.
    #[schema(minimum = 0)]
    storage_bytes: Option<i64>,
}

impl QuotaSettings {
    pub(crate) fn of(quota: &Quota) -> Self {
        let Quota { streams, publishers, input_bps, egress_bps, storage_bytes } = *quota;
        Self { streams, publishers, input_bps, egress_bps, storage_bytes }
    }

    fn quota(&self) -> Quota {
        let Self { streams, publishers, input_bps, egress_bps, storage_bytes } = *self;
        Quota { streams, publishers, input_bps, egress_bps, storage_bytes }
    }

    fn check(&self, errors: &mut Vec<Invalid>) {
        let limits = [
            ("streams", self.streams),
            ("publishers", self.publishers),
            ("input_bps", self.input_bps),
            ("egress_bps", self.egress_bps),
            ("storage_bytes", self.storage_bytes),
        ];
        for (name, _) in limits.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| limit < 0)) {
            errors.push(Invalid { pointer: format!("#/quota/{name}"), code: "out_of_range" });
        }
    }
}

/// A new tenant.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewTenant {
    /// What the names of its streams begin with: 2 to 24 characters out of a-z, 0-9 and `-`. It stays.
    #[schema(required)]
    slug: String,
    /// What people call it; the slug by default.
    name: String,
    quota: QuotaSettings,
}

impl Settings for NewTenant {
    const READ_ONLY: &'static [&'static str] = &["id", "version", "created_at", "state"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        if !is_slug(&self.slug) {
            let code = if self.slug.is_empty() { "required" } else { "wrong_form" };
            errors.push(Invalid { pointer: "#/slug".to_owned(), code });
        }
        check_text("#/name", &self.name, (0, NAME_CHARS_MAX), errors);
        self.quota.check(errors);
    }
}

/// Whether a tenant may change anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TenantState {
    #[default]
    Active,
    /// It reads, and changes nothing.
    Suspended,
}

/// What an operator may change of a tenant.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct TenantSettings {
    name: String,
    state: TenantState,
    quota: QuotaSettings,
}

impl TenantSettings {
    fn of(tenant: &Tenant) -> Self {
        let state = if tenant.is_suspended { TenantState::Suspended } else { TenantState::Active };
        Self { name: tenant.name.clone(), state, quota: QuotaSettings::of(&tenant.quota) }
    }
}

impl Settings for TenantSettings {
    const READ_ONLY: &'static [&'static str] = &["id", "slug", "version", "created_at"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (0, NAME_CHARS_MAX), errors);
        self.quota.check(errors);
    }
}

/// A tenant, as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    id: String,
    slug: String,
    name: String,
    state: TenantState,
    quota: QuotaSettings,
    version: i64,
    created_at: i64,
}

pub(crate) fn view(tenant: &Tenant) -> TenantView {
    TenantView {
        id: tenant.id.to_string(),
        slug: tenant.slug.clone(),
        name: tenant.name.clone(),
        state: TenantSettings::of(tenant).state,
        quota: QuotaSettings::of(&tenant.quota),
        version: tenant.version,
        created_at: tenant.created_at.0,
    }
}

/// What went with a tenant, or would go.
#[derive(Debug, Serialize, ToSchema)]
struct Goes {
    streams: i64,
    api_keys: i64,
}

/// A tenant that is gone.
#[derive(Debug, Serialize, ToSchema)]
struct DeletedTenant {
    id: String,
    slug: String,
    deleted: Goes,
}

async fn find(shared: &ControlState, name: &str) -> Result<Tenant, Problem> {
    shared.catalogue.find_tenant(name).await?.ok_or_else(Problem::not_found)
}

/// All tenants.
#[utoipa::path(
    get, path = "/api/v1/tenants", tag = "tenants", params(ListParameters),
    responses((status = 200, description = "A page of tenants", body = Rows<TenantView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::Tenant, Order::OldestFirst)?;
    let tenants = shared.catalogue.tenants(&page).await?;
    let key = |tenant: &Tenant| (tenant.created_at, tenant.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(tenants, &page, key, view)))
}

/// Makes a tenant.
#[utoipa::path(
    post, path = "/api/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses((status = 201, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: NewTenant = body::read(&call.body).map_err(explained)?;
    let now = shared.node.clock.wall();
    let tenant = Tenant {
        id: Id::draw(Kind::Tenant, now),
        name: if new.name.is_empty() { new.slug.clone() } else { new.name },
        slug: new.slug,
        is_suspended: false,
        quota: new.quota.quota(),
        version: 1,
        created_at: now,
    };
    let (slug, answer) = (tenant.slug.clone(), json!(view(&tenant)));
    let change = Change {
        object: tenant.id.to_string(),
        changes: answer.clone(),
        edit: Edit::CreateTenant(tenant),
        status: StatusCode::CREATED,
        answer,
    };
    let response = call.commit(&shared, change).await?;
    spread(&shared, &slug).await?;
    Ok(response)
}

/// Brings a tenant into the metadata log: ingests act on its state and quota.
async fn spread(shared: &ControlState, slug: &str) -> Result<(), Problem> {
    shared.log_tenant(slug).await.map_err(|error| Problem::from(not_logged(&error)))
}

/// Says which slugs there can be, where one was refused.
fn explained(problem: Problem) -> Problem {
    let is_slug = problem.errors.iter().any(|error| error.pointer == "#/slug");
    let form = format!(
        "slug has to have {SLUG_CHARS_MIN} to {SLUG_CHARS_MAX} characters out of a-z, 0-9 and '-', and to begin with a letter"
    );
    if is_slug { Problem { detail: form, ..problem } } else { problem }
}

/// A tenant, by slug or identity.
#[utoipa::path(
    get, path = "/api/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path, description = "Slug or identity")),
    responses((status = 200, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let tenant = find(&shared, &name).await?;
    Ok(row(&call, tenant.version, view(&tenant)))
}

/// Changes a tenant (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path, description = "Slug or identity")),
    request_body = TenantSettings,
    responses((status = 200, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn update(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, update_once(&shared, &name, &call))
}

async fn update_once(shared: &ControlState, name: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, name).await?;
    call.ensure_version(before.version)?;
    let was = TenantSettings::of(&before);
    let new: TenantSettings = body::patch(&was, &call.body)?;
    let is_suspended = new.state == TenantState::Suspended;
    if is_suspended && before.is_default() {
        return Err(Problem::new(
            Type::State,
            "the tenant default cannot be suspended: the operators' keys are its own",
        ));
    }
    let changes = body::changes(&was, &new);
    let tenant = Tenant {
        name: if new.name.is_empty() { before.slug.clone() } else { new.name },
        is_suspended,
        quota: new.quota.quota(),
        version: before.version + 1,
        ..before
    };
    let (slug, answer) = (tenant.slug.clone(), json!(view(&tenant)));
    let object = tenant.id.to_string();
    let change = Change { edit: Edit::UpdateTenant(tenant), object, changes, status: StatusCode::OK, answer };
    let response = call.commit(shared, change).await?;
    spread(shared, &slug).await?;
    Ok(response)
}

/// Deletes a tenant with all that it has. First says what that is.
#[utoipa::path(
    delete, path = "/api/v1/tenants/{tenant}", tag = "tenants",
    params(
        ("tenant" = String, Path, description = "Slug or identity"),
        ("confirm" = Option<String>, Query, description = "The tenant's slug"),
    ),
    responses(
        (status = 202, description = "What went with it", body = DeletedTenant),
        (status = 409, description = "What would go with it"),
    ),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let _turn = shared.key_files.turn().await;
    let before = shared.catalogue.signing_keys().await?;
    let (slug, streams, response) = overtaking!(call, delete_once(&shared, &name, &call))?;
    let after: BTreeSet<Id> = shared.catalogue.signing_keys().await?.into_iter().map(|key| key.id).collect();
    for key in before.iter().filter(|key| !after.contains(&key.id)) {
        if let Err(error) = shared.forget_token_key(key).await {
            // It signs nothing any more: nodes do not have it.
            tracing::error!(error = format!("{error:#}"), key = %key.id, "the file of a key stays");
        }
    }
    for stream in &streams {
        shared.key_files.forget(stream).map_err(|error| Problem::from(not_kept(&error)))?;
    }
    // Publishers of its streams are let go.
    super::streams::spread_all(&shared).await?;
    tracing::info!(tenant = slug, "tenant deleted");
    Ok(response)
}

async fn delete_once(
    shared: &ControlState,
    name: &str,
    call: &Caller,
) -> Result<(String, Vec<StreamId>, Response), Problem> {
    let tenant = find(shared, name).await?;
    call.ensure_version(tenant.version)?;
    if tenant.is_default() {
        return Err(Problem::new(Type::State, "the tenant default always exists"));
    }
    let own = shared.catalogue.streams_of(&tenant.id).await?;
    if let Some(configured) = own.iter().find(|stream| shared.key_files.is_configured(stream)) {
        let detail = format!(
            "the configuration of control has the stream {configured} of this tenant, and would make it again: take it out there first"
        );
        return Err(Problem::new(Type::FromFile, detail));
    }
    let Belongings { streams, api_keys } = shared.catalogue.belongings(&tenant.id).await?;
    let deleted = Goes { streams, api_keys };
    let goes = json!(deleted);
    let slug = tenant.slug.clone();
    if call.parameter("confirm") != Some(&slug) {
        let detail = format!(
            "{slug} has {streams} streams and {api_keys} API keys, which go with it: repeat this with ?confirm={slug} to delete them"
        );
        return Err(Problem { more: Some(json!({ "would_delete": goes })), ..Problem::new(Type::Confirm, detail) });
    }
    let change = Change {
        object: tenant.id.to_string(),
        changes: json!({ "slug": slug, "deleted": goes }),
        answer: json!(DeletedTenant { id: tenant.id.to_string(), slug: slug.clone(), deleted }),
        edit: Edit::DeleteTenant(tenant),
        status: StatusCode::ACCEPTED,
    };
    Ok((slug, own, call.commit(shared, change).await?))
}
