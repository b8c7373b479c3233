//! `/api-keys`: what programs use.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{ApiKey, ApiSecret, Edit, Id, Kind};
use media::UnixMillis;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::scopes::Scopes;
use super::{Change, overtaking, respond, row};
use crate::ControlState;
use crate::refusal::not_logged;

/// Most characters of a key's name.
const NAME_CHARS_MAX: usize = 100;
/// Longest time in which a rotated key and the one before are both accepted, in seconds: a week, for programs that are deployed by hand.
const OVERLAP_MAX_S: u32 = 7 * 86_400;

/// A new API key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewApiKey {
    /// What people call it.
    #[schema(required)]
    name: String,
    /// What it may do, such as `streams:read`.
    scopes: Vec<String>,
    /// In place of scopes: `viewer`, `producer`, `owner` or `operator`.
    role: Option<String>,
    /// When its time is over, in Unix milliseconds; null: never.
    expires_at: Option<i64>,
}

impl Settings for NewApiKey {
    const READ_ONLY: &'static [&'static str] = &["id", "version", "created_at", "last_used_at", "hint", "secret"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (1, NAME_CHARS_MAX), errors);
        check_scopes(&self.scopes, errors);
        let mut note = |pointer: &str, code| errors.push(Invalid { pointer: pointer.to_owned(), code });
        match &self.role {
            Some(_) if !self.scopes.is_empty() => note("#/role", "not_with_scopes"),
            Some(role) if Scopes::of_role(role).is_none() => note("#/role", "unknown"),
            None if self.scopes.is_empty() => note("#/scopes", "required"),
            _ => {}
        }
    }
}

/// What may be changed of a key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ApiKeySettings {
    name: String,
    scopes: Vec<String>,
    expires_at: Option<i64>,
}

impl ApiKeySettings {
    fn of(key: &ApiKey) -> Self {
        let scopes = Scopes::read(&key.scopes).names().into_iter().map(str::to_owned).collect();
        Self { name: key.name.clone(), scopes, expires_at: key.expires_at.map(|at| at.0) }
    }
}

impl Settings for ApiKeySettings {
    const READ_ONLY: &'static [&'static str] = NewApiKey::READ_ONLY;

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (1, NAME_CHARS_MAX), errors);
        check_scopes(&self.scopes, errors);
        if self.scopes.is_empty() {
            errors.push(Invalid { pointer: "#/scopes".to_owned(), code: "required" });
        }
    }
}

fn check_scopes(scopes: &[String], errors: &mut Vec<Invalid>) {
    for (at, _) in scopes.iter().enumerate().filter(|(_, name)| Scopes::named(name).is_none()) {
        errors.push(Invalid { pointer: format!("#/scopes/{at}"), code: "unknown" });
    }
}

/// How a key is rotated.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Rotation {
    /// For how long the secret before is accepted, too, in seconds; at most a week.
    #[schema(maximum = 604_800)]
    overlap_s: u32,
}

impl Settings for Rotation {
    fn check(&self, errors: &mut Vec<Invalid>) {
        if self.overlap_s > OVERLAP_MAX_S {
            errors.push(Invalid { pointer: "#/overlap_s".to_owned(), code: "out_of_range" });
        }
    }
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct ApiKeyView {
    id: String,
    name: String,
    #[schema(max_items = 64)]
    scopes: Vec<&'static str>,
    /// The end of its secret.
    hint: String,
    #[schema(required)]
    expires_at: Option<i64>,
    #[schema(required)]
    last_used_at: Option<i64>,
    /// Until when the secret before is accepted, too.
    #[schema(required)]
    overlap_until_at: Option<i64>,
    version: i64,
    created_at: i64,
    /// In the answer that makes the key, and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    secret: Option<String>,
}

/// A key, as the API shows it; the secret stands in the answer to the request that made it, and in no other.
fn view(key: &ApiKey, secret: Option<&ApiSecret>) -> ApiKeyView {
    ApiKeyView {
        id: key.id.to_string(),
        name: key.name.clone(),
        scopes: Scopes::read(&key.scopes).names(),
        hint: key.hint.clone(),
        expires_at: key.expires_at.map(|at| at.0),
        last_used_at: key.last_used_at.map(|at| at.0),
        overlap_until_at: key.old.map(|(_, until)| until.0),
        version: key.version,
        created_at: key.created_at.0,
        secret: secret.map(|secret| secret.expose().to_owned()),
    }
}

async fn find(shared: &ControlState, call: &Caller, id: &str) -> Result<ApiKey, Problem> {
    shared.catalogue.find_api_key(&call.tenant.id, id).await?.ok_or_else(Problem::not_found)
}

/// Refuses what a key of this tenant must not have.
fn ensure_may(call: &Caller, scopes: Scopes) -> Result<(), Problem> {
    call.ensure_has(scopes)?;
    if scopes.has_operators() && !call.tenant.is_default() {
        let detail = "keys of operators belong to the tenant default: make it there";
        return Err(Problem::invalid("#/scopes", "operators_only", detail));
    }
    Ok(())
}

fn expiry(shared: &ControlState, at: Option<i64>) -> Result<Option<UnixMillis>, Problem> {
    let at = at.map(UnixMillis);
    if at.is_some_and(|at| at <= shared.node.clock.wall()) {
        return Err(Problem::invalid("#/expires_at", "out_of_range", "expires_at has to be in the future"));
    }
    Ok(at)
}

/// The tenant's API keys.
#[utoipa::path(
    get, path = "/api/v1/api-keys", tag = "api-keys", params(ListParameters),
    responses((status = 200, description = "A page of keys", body = Rows<ApiKeyView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::ApiKey, Order::OldestFirst)?;
    let keys = shared.catalogue.api_keys(&call.tenant.id, &page).await?;
    let key = |key: &ApiKey| (key.created_at, key.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(keys, &page, key, |key| view(key, None))))
}

/// Makes an API key. The answer has its secret, which no other answer has.
#[utoipa::path(
    post, path = "/api/v1/api-keys", tag = "api-keys", request_body = NewApiKey,
    responses((status = 201, description = "The key, with its secret", body = ApiKeyView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: NewApiKey = body::read(&call.body)?;
    let scopes = new.role.as_deref().and_then(Scopes::of_role);
    let scopes = scopes.unwrap_or_else(|| Scopes::read(&new.scopes.join(" ")));
    ensure_may(&call, scopes)?;
    let expires_at = expiry(&shared, new.expires_at)?;
    let now = shared.node.clock.wall();
    let id = Id::draw(Kind::ApiKey, now);
    let secret = ApiSecret::draw(&id);
    let key = ApiKey {
        id: id.clone(),
        tenant: call.tenant.id.clone(),
        name: new.name,
        scopes: scopes.to_string(),
        digest: secret.digest(),
        hint: secret.hint(),
        old: None,
        expires_at,
        last_used_at: None,
        version: 1,
        created_at: now,
    };
    let change = Change {
        object: key.id.to_string(),
        changes: json!(view(&key, None)),
        answer: json!(view(&key, Some(&secret))),
        edit: Edit::CreateApiKey(key),
        status: StatusCode::CREATED,
    };
    let response = call.commit(&shared, change).await?;
    spread(&shared, &id).await?;
    Ok(response)
}

/// Brings a key into the metadata log, so that no backup brings back what is gone.
async fn spread(shared: &ControlState, id: &Id) -> Result<(), Problem> {
    shared.log_api_key(id).await.map_err(|error| Problem::from(not_logged(&error)))
}

/// An API key.
#[utoipa::path(
    get, path = "/api/v1/api-keys/{key}", tag = "api-keys", params(("key" = String, Path, description = "Identity")),
    responses((status = 200, description = "The key", body = ApiKeyView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let key = find(&shared, &call, &id).await?;
    Ok(row(&call, key.version, view(&key, None)))
}

/// Changes an API key (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/api-keys/{key}", tag = "api-keys", params(("key" = String, Path, description = "Identity")),
    request_body = ApiKeySettings,
    responses((status = 200, description = "The key", body = ApiKeyView)),
)]
pub(crate) async fn update(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, update_once(&shared, &id, &call))
}

async fn update_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, call, id).await?;
    call.ensure_version(before.version)?;
    // Neither before nor after: whoever has the secret would gain by it.
    call.ensure_has(Scopes::read(&before.scopes))?;
    let was = ApiKeySettings::of(&before);
    let new: ApiKeySettings = body::patch(&was, &call.body)?;
    let scopes = Scopes::read(&new.scopes.join(" "));
    ensure_may(call, scopes)?;
    let expires_at = if new.expires_at == was.expires_at { before.expires_at } else { expiry(shared, new.expires_at)? };
    let changes = body::changes(&was, &new);
    let key = ApiKey { name: new.name, scopes: scopes.to_string(), expires_at, version: before.version + 1, ..before };
    let (id, object, answer) = (key.id.clone(), key.id.to_string(), json!(view(&key, None)));
    let change = Change { edit: Edit::UpdateApiKey(key), object, changes, status: StatusCode::OK, answer };
    let response = call.commit(shared, change).await?;
    spread(shared, &id).await?;
    Ok(response)
}

/// Deletes an API key. It opens nothing from then on.
#[utoipa::path(
    delete, path = "/api/v1/api-keys/{key}", tag = "api-keys", params(("key" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, delete_once(&shared, &id, &call))
}

async fn delete_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let key = find(shared, call, id).await?;
    call.ensure_has(Scopes::read(&key.scopes))?;
    call.ensure_version(key.version)?;
    let id = key.id.clone();
    let change = Change {
        object: key.id.to_string(),
        changes: json!({ "name": key.name }),
        edit: Edit::DeleteApiKey(key),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let response = call.commit(shared, change).await?;
    spread(shared, &id).await?;
    Ok(response)
}

/// Gives an API key a new secret. The one before is accepted for `overlap_s` more.
#[utoipa::path(
    post, path = "/api/v1/api-keys/{key}/rotate", tag = "api-keys", params(("key" = String, Path, description = "Identity")),
    request_body = Rotation,
    responses((status = 200, description = "The key, with its new secret", body = ApiKeyView)),
)]
pub(crate) async fn rotate(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, rotate_once(&shared, &id, &call))
}

async fn rotate_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, call, id).await?;
    call.ensure_has(Scopes::read(&before.scopes))?;
    let rotation: Rotation = body::read(&call.body)?;
    let now = shared.node.clock.wall();
    if let Some((_, until)) = before.old.filter(|(_, until)| now < *until) {
        let detail = format!("the secret before the one in use is accepted until {until}: rotate again after that");
        return Err(Problem::new(Type::State, detail));
    }
    let secret = ApiSecret::draw(&before.id);
    let overlap = Duration::from_secs(rotation.overlap_s.into());
    let key = ApiKey {
        old: (!overlap.is_zero()).then(|| (before.digest, now.plus(overlap))),
        digest: secret.digest(),
        hint: secret.hint(),
        version: before.version + 1,
        ..before.clone()
    };
    let change = Change {
        object: key.id.to_string(),
        changes: json!({ "hint": { "from": before.hint, "to": key.hint }, "overlap_s": rotation.overlap_s }),
        answer: json!(view(&key, Some(&secret))),
        edit: Edit::UpdateApiKey(key),
        status: StatusCode::OK,
    };
    let response = call.commit(shared, change).await?;
    spread(shared, &before.id).await?;
    Ok(response)
}
