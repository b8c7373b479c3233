//! `/issuers`: whose tokens (JWT) count for a tenant. Those of the configuration stand first in the list of the tenant `default`, and only the
//! file changes them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Edit, Id, Issuer, Kind};
use media::UnixMillis;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings};
use super::caller::{Call, Caller, CredentialKind};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::scopes::Scopes;
use super::{Change, overtaking, respond, row, spread};
use crate::ControlState;
use crate::issuers::Running;
use crate::restored::ensure_not_restored;

/// Most audiences, algorithms, uses and rules.
const LIST_MAX: usize = 50;
/// Longest text of a setting, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Longest token that is tried, in characters.
const TOKEN_CHARS_MAX: usize = 4_096;

/// A claim that gives a role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSettings {
    /// Name of the claim; dots lead into objects.
    claim: String,
    /// The claim's text, one of its list, or one of the words of `scope`.
    equals: String,
    /// `viewer`, `producer`, `owner` or `operator`.
    role: String,
}

/// An issuer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct IssuerSettings {
    /// What its tokens have as `iss`, exactly.
    #[schema(required)]
    url: String,
    /// A token has one of these in `aud`, or as `azp`. At least one.
    #[schema(required)]
    audiences: Vec<String>,
    /// Asymmetric algorithms that it may sign with; `RS256`, `ES256` and `EdDSA` by default.
    algorithms: Vec<String>,
    /// Where its public keys are (JWKS).
    #[schema(required)]
    jwks_url: String,
    /// By how much clocks may differ, in seconds.
    #[schema(maximum = 60)]
    leeway_s: u64,
    /// What its tokens are good for: `api`, `publish`, `view`.
    #[schema(required)]
    uses: Vec<String>,
    /// Which role a token gives. The first that matches counts; a token that none matches is refused.
    #[schema(required)]
    rules: Vec<RuleSettings>,
    /// The claim that names streams.
    streams_claim: String,
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            audiences: Vec::new(),
            algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
            jwks_url: String::new(),
            leeway_s: 30,
            uses: Vec::new(),
            rules: Vec::new(),
            streams_claim: "streams".to_owned(),
        }
    }
}

impl Settings for IssuerSettings {
    const READ_ONLY: &'static [&'static str] =
        &["id", "version", "created_at", "stale_since_at", "failure", "keys", "fetched_at", "is_from_file"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        let mut note = |pointer: String, code| errors.push(Invalid { pointer, code });
        for (name, text) in [("url", &self.url), ("jwks_url", &self.jwks_url), ("streams_claim", &self.streams_claim)] {
            match text.len() {
                0 => note(format!("#/{name}"), "required"),
                1..=TEXT_BYTES_MAX => {}
                _ => note(format!("#/{name}"), "too_long"),
            }
        }
        for (name, length) in [
            ("audiences", self.audiences.len()),
            ("algorithms", self.algorithms.len()),
            ("uses", self.uses.len()),
            ("rules", self.rules.len()),
        ] {
            match length {
                0 => note(format!("#/{name}"), "required"),
                1..=LIST_MAX => {}
                _ => note(format!("#/{name}"), "too_long"),
            }
        }
        for (at, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() || audience.len() > TEXT_BYTES_MAX {
                note(format!("#/audiences/{at}"), "wrong_form");
            }
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if [&rule.claim, &rule.equals].iter().any(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
                note(format!("#/rules/{at}"), "wrong_form");
            }
            if Scopes::of_role(&rule.role).is_none() {
                note(format!("#/rules/{at}/role"), "unknown");
            }
        }
        if self.leeway_s > 60 {
            note("#/leeway_s".to_owned(), "out_of_range");
        }
    }
}

impl IssuerSettings {
    /// The settings as the crate `issuers` has them.
    fn read(&self, shared: &ControlState) -> Result<issuers::Settings, Problem> {
        let value = serde_json::to_value(self).unwrap_or_default();
        let read: Result<issuers::Settings, _> = serde_path_to_error::deserialize(value);
        let settings = read.map_err(|error| {
            let pointer = format!("#/{}", error.path().to_string().replace(['.', '['], "/").replace(']', ""));
            Problem::invalid(&pointer, "unknown", error.into_inner().to_string())
        })?;
        let policy = shared.issuers.policy().map_err(|error| Problem::new(Type::Internal, format!("{error:#}")))?;
        match settings.check(&policy) {
            Ok(_) => Ok(settings),
            Err(error) => {
                let text = error.to_string();
                let kind = if text.contains("jwks_url: ") { Type::TargetRefused } else { Type::Invalid };
                Err(Problem::new(kind, text))
            }
        }
    }

    fn of(settings: &issuers::Settings) -> Self {
        serde_json::to_value(settings).and_then(serde_json::from_value).unwrap_or_default()
    }

    fn of_row(issuer: &Issuer) -> Self {
        serde_json::from_str(&issuer.settings).unwrap_or_default()
    }
}

/// A token that is tried.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Trial {
    /// A JWT. Nobody keeps it.
    #[schema(required)]
    token: String,
}

impl Settings for Trial {
    fn check(&self, errors: &mut Vec<Invalid>) {
        if !(1..=TOKEN_CHARS_MAX).contains(&self.token.len()) {
            errors.push(Invalid { pointer: "#/token".to_owned(), code: "wrong_form" });
        }
    }
}

/// An issuer as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issuer)]
struct IssuerView {
    #[serde(flatten)]
    settings: IssuerSettings,
    id: String,
    /// Whether the configuration has it; only the file changes it then.
    is_from_file: bool,
    /// How many keys it has; null: control does not ask it.
    #[schema(required)]
    keys: Option<u64>,
    /// When its keys were fetched.
    #[schema(required)]
    fetched_at: Option<i64>,
    /// Since when they could not be.
    #[schema(required)]
    stale_since_at: Option<i64>,
    /// Why not.
    #[schema(required)]
    failure: Option<String>,
    version: i64,
    created_at: i64,
}

fn view(
    shared: &ControlState,
    id: &Id,
    settings: &IssuerSettings,
    (version, created_at): (i64, UnixMillis),
) -> IssuerView {
    let live = shared.issuers.find(id).map(|running| running.issuers.status()[0].clone()).unwrap_or_default();
    IssuerView {
        settings: settings.clone(),
        id: id.to_string(),
        is_from_file: created_at.0 == 0,
        keys: live["keys"].as_u64(),
        fetched_at: live["fetched_at"].as_i64(),
        stale_since_at: live["stale_since_at"].as_i64(),
        failure: live["failure_told"].as_str().map(str::to_owned),
        version,
        created_at: created_at.0,
    }
}

/// What a token is good for in one use, or why it is refused.
#[derive(Debug, Default, Serialize, ToSchema)]
struct TriedUse {
    r#use: String,
    is_taken: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    sub: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    role: Option<&'static str>,
    /// Those that it names; `*`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>)]
    streams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64)]
    ends_at: Option<i64>,
    /// Why it is refused, for programs, and in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    detail: Option<String>,
}

/// What a token is good for, by use.
#[derive(Debug, Serialize, ToSchema)]
struct Tried {
    uses: Vec<TriedUse>,
}

fn view_of(shared: &ControlState, issuer: &Issuer) -> IssuerView {
    view(shared, &issuer.id, &IssuerSettings::of_row(issuer), (issuer.version, issuer.created_at))
}

/// An issuer of the caller's tenant.
enum Found {
    Row(Box<Issuer>),
    FromFile(Id, IssuerSettings),
}

async fn find(shared: &ControlState, call: &Caller, id: &str) -> Result<Found, Problem> {
    if call.tenant.is_default()
        && let Some((id, settings)) = shared.issuers.configured().find(|(known, _)| known.as_str() == id)
    {
        return Ok(Found::FromFile(id, IssuerSettings::of(settings)));
    }
    let found = shared.catalogue.find_issuer(&call.tenant.id, id).await?;
    found.map(|issuer| Found::Row(Box::new(issuer))).ok_or_else(Problem::not_found)
}

/// An issuer that the API may change.
async fn find_row(shared: &ControlState, call: &Caller, id: &str) -> Result<Issuer, Problem> {
    match find(shared, call, id).await? {
        Found::Row(issuer) => Ok(*issuer),
        Found::FromFile(..) => {
            Err(Problem::new(Type::FromFile, "the configuration has this issuer ([[issuers]]): change it there"))
        }
    }
}

/// No issuer makes anybody more than whoever registers it, and operators belong to the tenant `default`.
fn ensure_may(call: &Caller, settings: &IssuerSettings) -> Result<(), Problem> {
    for (at, rule) in settings.rules.iter().enumerate() {
        let scopes = Scopes::of_role(&rule.role).unwrap_or(Scopes::operator());
        call.ensure_has(scopes)?;
        if scopes.has_operators() && !call.tenant.is_default() {
            let detail = "issuers of operators belong to the tenant default: register it there";
            return Err(Problem::invalid(&format!("#/rules/{at}/role"), "operators_only", detail));
        }
    }
    Ok(())
}

/// The tenant's issuers. Those of the configuration come first, on the first page.
#[utoipa::path(
    get, path = "/api/v1/issuers", tag = "issuers", params(ListParameters),
    responses((status = 200, description = "A page of issuers", body = Rows<IssuerView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::Issuer, Order::OldestFirst)?;
    let rows = shared.catalogue.issuers_of(&call.tenant.id, &page).await?;
    let key = |issuer: &Issuer| (issuer.created_at, issuer.id.clone());
    let mut answer = listing::answer(rows, &page, key, |issuer| view_of(&shared, issuer));
    if call.tenant.is_default() && page.after.is_none() {
        let of_file = shared.issuers.configured();
        let of_file =
            of_file.map(|(id, settings)| view(&shared, &id, &IssuerSettings::of(settings), (1, UnixMillis(0))));
        answer.items.splice(..0, of_file.collect::<Vec<_>>());
    }
    Ok(respond(StatusCode::OK, &answer))
}

/// Registers an issuer. Its keys are fetched at once.
#[utoipa::path(
    post, path = "/api/v1/issuers", tag = "issuers", request_body = IssuerSettings,
    responses((status = 201, description = "The issuer", body = IssuerView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: IssuerSettings = body::read(&call.body)?;
    ensure_may(&call, &new)?;
    let settings = new.read(&shared)?;
    ensure_not_restored(&shared).await?;
    let now = shared.node.clock.wall();
    let issuer = Issuer {
        id: Id::draw(Kind::Issuer, now),
        tenant: call.tenant.id.clone(),
        url: settings.url.clone(),
        settings: serde_json::to_string(&settings).unwrap_or_default(),
        version: 1,
        created_at: now,
    };
    let change = Change {
        object: issuer.id.to_string(),
        changes: serde_json::to_value(&new).unwrap_or_default(),
        answer: json!(view_of(&shared, &issuer)),
        edit: Edit::CreateIssuer(issuer),
        status: StatusCode::CREATED,
    };
    let response = call.commit(&shared, change).await?;
    spread(&shared).await?;
    Ok(response)
}

/// An issuer, and since when its keys could not be fetched.
#[utoipa::path(
    get, path = "/api/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path, description = "Identity")),
    responses((status = 200, description = "The issuer", body = IssuerView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    match find(&shared, &call, &id).await? {
        Found::Row(issuer) => Ok(row(&call, issuer.version, view_of(&shared, &issuer))),
        Found::FromFile(id, settings) => Ok(row(&call, 1, view(&shared, &id, &settings, (1, UnixMillis(0))))),
    }
}

/// Changes an issuer (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path, description = "Identity")),
    request_body = IssuerSettings,
    responses((status = 200, description = "The issuer", body = IssuerView)),
)]
pub(crate) async fn update(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let response = overtaking!(call, update_once(&shared, &id, &call))?;
    spread(&shared).await?;
    Ok(response)
}

async fn update_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find_row(shared, call, id).await?;
    call.ensure_version(before.version)?;
    let was = IssuerSettings::of_row(&before);
    // Neither before nor after: whoever has the issuer's key would gain by it.
    ensure_may(call, &was)?;
    let new: IssuerSettings = body::patch(&was, &call.body)?;
    ensure_may(call, &new)?;
    let settings = new.read(shared)?;
    ensure_not_restored(shared).await?;
    let changes = body::changes(&was, &new);
    let text = serde_json::to_string(&settings).unwrap_or_default();
    let issuer = Issuer { url: settings.url, settings: text, version: before.version + 1, ..before };
    let (object, answer) = (issuer.id.to_string(), json!(view_of(shared, &issuer)));
    call.commit(shared, Change { edit: Edit::UpdateIssuer(issuer), object, changes, status: StatusCode::OK, answer })
        .await
}

/// Removes an issuer: none of its tokens counts any more.
#[utoipa::path(
    delete, path = "/api/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let response = overtaking!(call, delete_once(&shared, &id, &call))?;
    spread(&shared).await?;
    Ok(response)
}

async fn delete_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let issuer = find_row(shared, call, id).await?;
    ensure_may(call, &IssuerSettings::of_row(&issuer))?;
    call.ensure_version(issuer.version)?;
    ensure_not_restored(shared).await?;
    let change = Change {
        object: issuer.id.to_string(),
        changes: json!({ "url": issuer.url }),
        edit: Edit::DeleteIssuer(issuer),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    call.commit(shared, change).await
}

/// The issuer that the caller means, and what it is shown as, while control fetches its keys.
async fn running(shared: &ControlState, call: &Caller, id: &str) -> Result<(Id, Running), Problem> {
    let id = match find(shared, call, id).await? {
        Found::Row(issuer) => issuer.id,
        Found::FromFile(id, _) => id,
    };
    let away = || Problem::new(Type::State, "control cannot ask this issuer: its log says why");
    let running = shared.issuers.find(&id).ok_or_else(away)?;
    Ok((id, running))
}

/// Fetches an issuer's keys now, because one of them must not count any more.
///
/// A token of the same issuer does not do: it may be signed with that key.
#[utoipa::path(
    post, path = "/api/v1/issuers/{issuer}/refresh", tag = "issuers",
    params(("issuer" = String, Path, description = "Identity")),
    responses((status = 200, description = "The issuer; `failure` says why its keys stay as they are", body = IssuerView)),
)]
pub(crate) async fn refresh(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let (id, running) = running(&shared, &call, &id).await?;
    if call.principal.kind == CredentialKind::Jwt && call.principal.credential.starts_with(id.as_str()) {
        return Err(Problem::new(
            Type::ScopeMissing,
            "a token of this issuer does not refresh its keys: use an API key",
        ));
    }
    // Whether it answers is told in the issuer's own words.
    let refreshed = running.issuers.refresh(&running.settings.url).await;
    spread(&shared).await?;
    let answer = match find(&shared, &call, id.as_str()).await? {
        Found::Row(issuer) => view_of(&shared, &issuer),
        Found::FromFile(id, settings) => view(&shared, &id, &settings, (1, UnixMillis(0))),
    };
    let change = Change {
        object: id.to_string(),
        changes: json!({ "is_fetched": refreshed.is_ok() }),
        answer: json!(answer),
        edit: Edit::Nothing,
        status: StatusCode::OK,
    };
    call.commit(&shared, change).await
}

/// Says what a token would be good for, or why it would be refused.
#[utoipa::path(
    post, path = "/api/v1/issuers/{issuer}/test", tag = "issuers", request_body = Trial,
    params(("issuer" = String, Path, description = "Identity")),
    responses((status = 200, description = "What the token gives, by use", body = Tried)),
)]
pub(crate) async fn test(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let (id, running) = running(&shared, &call, &id).await?;
    let Trial { token } = body::read(&call.body)?;
    let mut uses = Vec::new();
    for wanted in &running.settings.uses {
        let checked = running.issuers.check(&token, *wanted).await;
        let r#use =
            serde_json::to_value(wanted).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default();
        uses.push(match checked {
            Ok(verified) => TriedUse {
                r#use,
                is_taken: true,
                sub: Some(verified.subject),
                role: Some(verified.role.name()),
                streams: Some(match verified.streams {
                    issuers::Streams::All => vec!["*".to_owned()],
                    issuers::Streams::These(names) => names.iter().map(ToString::to_string).collect(),
                }),
                ends_at: Some(verified.ends_at.0),
                ..TriedUse::default()
            },
            Err(refusal) => {
                let (code, detail) = (Some(refusal.label()), Some(refusal.to_string()));
                TriedUse { r#use, code, detail, ..TriedUse::default() }
            }
        });
    }
    let change = Change {
        object: id.to_string(),
        changes: Value::Null,
        answer: json!(Tried { uses }),
        edit: Edit::Nothing,
        status: StatusCode::OK,
    };
    call.commit(&shared, change).await
}
