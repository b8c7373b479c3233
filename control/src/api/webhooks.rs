//! `/webhooks`: a tenant's endpoints, to which its events are sent.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Edit, Id, Kind, REPLAY_MAX, Salt, Webhook};
use media::UnixMillis;
use node::problem::Type;
use outbound::Target;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use webhooks::{Outcome, Secret};

use super::body::{self, Settings};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::scopes::Scopes;
use super::{Change, overtaking, respond};
use crate::ControlState;
use crate::hooks::{KINDS, needs, post};

/// For how long the secret before signs, too, in seconds, unless the client says otherwise, and at most.
const OVERLAP_S: u32 = 86_400;
const OVERLAP_MAX_S: u32 = 7 * 86_400;
/// Most names of kinds: as many as there are, and room for groups.
const KINDS_MAX: usize = 40;
/// Tests of endpoints at once.
pub(crate) const TESTS_MAX: usize = 8;

/// Whether an endpoint gets events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebhookState {
    #[default]
    Active,
    Disabled,
}

/// A new endpoint.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewWebhook {
    /// Where events go: `https://…`, with a public address.
    #[schema(required)]
    url: String,
    /// Kinds of events: `stream.live`, `stream.*`, or `*` for all.
    types: Vec<String>,
}

impl Default for NewWebhook {
    fn default() -> Self {
        Self { url: String::new(), types: vec!["*".to_owned()] }
    }
}

const READ_ONLY: &[&str] =
    &["id", "version", "created_at", "secret", "failing_since_at", "disabled_reason", "overlap_until_at"];

impl Settings for NewWebhook {
    const READ_ONLY: &'static [&'static str] =
        &["id", "version", "created_at", "secret", "failing_since_at", "disabled_reason", "overlap_until_at", "state"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check(&self.url, &self.types, errors);
    }
}

/// What may be changed of an endpoint.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct WebhookSettings {
    url: String,
    types: Vec<String>,
    /// One that was disabled gets events again once it is `active`.
    state: WebhookState,
}

impl WebhookSettings {
    fn of(webhook: &Webhook) -> Self {
        let state = if webhook.disabled.is_some() { WebhookState::Disabled } else { WebhookState::Active };
        Self { url: webhook.url.clone(), types: kinds(webhook), state }
    }

    /// The same without the path of the URL, which may hold a secret.
    fn for_audit(&self) -> Self {
        Self { url: origin(&self.url), types: self.types.clone(), state: self.state }
    }
}

impl Settings for WebhookSettings {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;

    fn check(&self, errors: &mut Vec<Invalid>) {
        check(&self.url, &self.types, errors);
    }
}

fn check(url: &str, types: &[String], errors: &mut Vec<Invalid>) {
    let mut note = |pointer: String, code| errors.push(Invalid { pointer, code });
    if url.is_empty() {
        note("#/url".to_owned(), "required");
    }
    if types.is_empty() {
        note("#/types".to_owned(), "required");
    }
    if types.len() > KINDS_MAX {
        return note("#/types".to_owned(), "too_long");
    }
    let is_alone = types.len() == 1;
    for (at, name) in types.iter().enumerate() {
        let is_group = name.strip_suffix(".*").is_some_and(|group| KINDS.iter().any(|kind| group_of(kind) == group));
        if !(KINDS.contains(&name.as_str()) || is_group || (name == "*" && is_alone)) {
            note(format!("#/types/{at}"), "unknown");
        }
    }
}

fn group_of(kind: &str) -> &str {
    kind.split('.').next().unwrap_or_default()
}

/// How a secret is rotated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SecretRotation {
    /// For how long the secret before signs, too, in seconds: a day unless you say otherwise, at most a week.
    #[schema(maximum = 604_800)]
    overlap_s: u32,
    /// Also while an overlap lasts; the older secret then ends at once.
    force: bool,
}

impl Default for SecretRotation {
    fn default() -> Self {
        Self { overlap_s: OVERLAP_S, force: false }
    }
}

impl Settings for SecretRotation {
    fn check(&self, errors: &mut Vec<Invalid>) {
        if self.overlap_s > OVERLAP_MAX_S {
            errors.push(Invalid { pointer: "#/overlap_s".to_owned(), code: "out_of_range" });
        }
    }
}

/// Which events go to an endpoint once more.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Replay {
    /// From then on, in Unix milliseconds.
    #[schema(required)]
    from_at: Option<i64>,
    /// Until before then; null: until now.
    to_at: Option<i64>,
}

impl Settings for Replay {
    fn check(&self, errors: &mut Vec<Invalid>) {
        if self.from_at.is_none() {
            errors.push(Invalid { pointer: "#/from_at".to_owned(), code: "required" });
        }
        if self.from_at.zip(self.to_at).is_some_and(|(from, to)| from >= to) {
            errors.push(Invalid { pointer: "#/to_at".to_owned(), code: "out_of_range" });
        }
    }
}

fn kinds(webhook: &Webhook) -> Vec<String> {
    webhook.kinds.split(' ').map(str::to_owned).collect()
}

/// Scheme, host and port of a URL, or nothing.
fn origin(url: &str) -> String {
    let authority = url.split_once("://").map(|(scheme, rest)| (scheme, rest.split(['/', '?', '#']).next()));
    authority.map_or_else(String::new, |(scheme, authority)| format!("{scheme}://{}/…", authority.unwrap_or_default()))
}

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView {
    id: String,
    url: String,
    #[schema(max_items = 64)]
    types: Vec<String>,
    state: WebhookState,
    #[schema(required)]
    disabled_reason: Option<String>,
    #[schema(required)]
    failing_since_at: Option<i64>,
    /// Until when the secret before signs, too.
    #[schema(required)]
    overlap_until_at: Option<i64>,
    version: i64,
    created_at: i64,
    /// In the answer that makes the secret, and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    secret: Option<String>,
}

/// An endpoint, as the API shows it; its secret stands in the answers to the requests that made it, and in no other.
fn view(webhook: &Webhook, secret: Option<&Secret>) -> WebhookView {
    let WebhookSettings { url, types, state } = WebhookSettings::of(webhook);
    WebhookView {
        id: webhook.id.to_string(),
        url,
        types,
        state,
        disabled_reason: webhook.disabled.clone(),
        failing_since_at: webhook.failing_since.map(|at| at.0),
        overlap_until_at: webhook.old.as_ref().map(|(_, until)| until.0),
        version: webhook.version,
        created_at: webhook.created_at.0,
        secret: secret.map(|secret| secret.expose().as_str().to_owned()),
    }
}

/// What became of a test event.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookTest {
    /// Whether the receiver took it.
    delivered: bool,
    /// What it answered.
    #[schema(required)]
    status: Option<u16>,
    /// Why it was not delivered.
    #[schema(required)]
    error: Option<String>,
    /// Identity of the event.
    event: String,
}

/// How many events are sent once more.
#[derive(Debug, Serialize, ToSchema)]
struct Replayed {
    queued_count: usize,
    /// From when to go on, where there are more.
    #[schema(required)]
    next_from_at: Option<i64>,
}

pub(super) async fn find(shared: &ControlState, call: &Caller, id: &str) -> Result<Webhook, Problem> {
    shared.catalogue.find_webhook(&call.tenant.id, id).await?.ok_or_else(Problem::not_found)
}

fn secret(shared: &ControlState, webhook: &Webhook) -> Result<Secret, Problem> {
    let bytes = shared.catalogue.webhook_secret(&webhook.id, &webhook.salt).to_vec();
    Secret::new(bytes).map_err(|error| Problem::new(Type::Internal, error.to_string()))
}

/// Refuses URLs that lead inside as far as their text says so, and kinds that the caller may not read itself.
fn ensure_may(shared: &ControlState, call: &Caller, (url, kinds): (&str, &[String])) -> Result<(), Problem> {
    let Some(outbound) = &shared.hooks.outbound else {
        let detail = "this server trusts no other server: whoever operates it has to install ca-certificates";
        return Err(Problem::new(Type::State, detail));
    };
    if let Err(refused) = Target::parse(url, outbound.policy()) {
        let errors = vec![Invalid { pointer: "#/url".to_owned(), code: "refused" }];
        return Err(Problem { errors, ..Problem::new(Type::TargetRefused, refused.for_tenant()) });
    }
    let is_named = |kind: &str| {
        kinds.iter().any(|name| name == "*" || name == kind || name.strip_suffix(".*") == Some(group_of(kind)))
    };
    // What is the operators' goes to endpoints of their tenant that name it. A tenant hears of its own end in any case.
    let is_operators = |kind: &str| Scopes::named(needs(kind)).is_some_and(Scopes::has_operators);
    let is_asked = |kind: &str| match is_operators(kind) {
        true => call.tenant.is_default() && kinds.iter().all(|name| name != "*") && is_named(kind),
        false => is_named(kind),
    };
    let needed = KINDS.iter().filter(|kind| is_asked(kind)).filter_map(|kind| Scopes::named(needs(kind)));
    for scope in needed {
        if !call.principal.scopes.contains(scope) {
            let detail = format!("a webhook gets no events that its maker may not read: this needs the scope {scope}");
            return Err(Problem::new(Type::ScopeMissing, detail));
        }
    }
    Ok(())
}

/// The tenant's webhooks.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "webhooks", params(ListParameters),
    responses((status = 200, description = "A page of webhooks", body = Rows<WebhookView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::Webhook, Order::OldestFirst)?;
    let webhooks = shared.catalogue.webhooks(&call.tenant.id, &page).await?;
    let key = |webhook: &Webhook| (webhook.created_at, webhook.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(webhooks, &page, key, |webhook| view(webhook, None))))
}

/// Makes a webhook. The answer has the secret that signs its deliveries, which no other answer has.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, description = "The webhook, with its secret", body = WebhookView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: NewWebhook = body::read(&call.body)?;
    ensure_may(&shared, &call, (&new.url, &new.types))?;
    let now = shared.node.clock.wall();
    let webhook = Webhook {
        id: Id::draw(Kind::Webhook, now),
        tenant: call.tenant.id.clone(),
        url: new.url,
        kinds: new.types.join(" "),
        disabled: None,
        salt: Salt::draw(),
        old: None,
        failing_since: None,
        version: 1,
        created_at: now,
    };
    let secret = secret(&shared, &webhook)?;
    let change = Change {
        object: webhook.id.to_string(),
        changes: json!(WebhookSettings::of(&webhook).for_audit()),
        answer: json!(view(&webhook, Some(&secret))),
        edit: Edit::CreateWebhook(webhook),
        status: StatusCode::CREATED,
    };
    call.commit(&shared, change).await
}

/// A webhook.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
    responses((status = 200, description = "The webhook", body = WebhookView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    // Without 304: whether it fails changes without the version.
    Ok(respond(StatusCode::OK, &view(&find(&shared, &call, &id).await?, None)))
}

/// Changes a webhook (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
    request_body = WebhookSettings,
    responses((status = 200, description = "The webhook", body = WebhookView)),
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
    let was = WebhookSettings::of(&before);
    let new: WebhookSettings = body::patch(&was, &call.body)?;
    ensure_may(shared, call, (&new.url, &new.types))?;
    let mut changes = body::changes(&was.for_audit(), &new.for_audit());
    if was.url != new.url && changes.get("url").is_none() {
        changes["url"] = "another path".into();
    }
    let (disabled, failing_since) = match (new.state, before.disabled.clone()) {
        (WebhookState::Active, None) => (None, before.failing_since),
        (WebhookState::Active, Some(_)) => (None, None),
        (WebhookState::Disabled, None) => (Some("its tenant disabled it".to_owned()), before.failing_since),
        (WebhookState::Disabled, reason) => (reason, before.failing_since),
    };
    let (url, kinds) = (new.url, new.types.join(" "));
    let webhook = Webhook { url, kinds, disabled, failing_since, version: before.version + 1, ..before };
    let (object, answer) = (webhook.id.to_string(), json!(view(&webhook, None)));
    call.commit(shared, Change { edit: Edit::UpdateWebhook(webhook), object, changes, status: StatusCode::OK, answer })
        .await
}

/// Deletes a webhook. What waits for it is not delivered.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
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
    let webhook = find(shared, call, id).await?;
    call.ensure_version(webhook.version)?;
    let change = Change {
        object: webhook.id.to_string(),
        changes: json!({ "url": origin(&webhook.url) }),
        edit: Edit::DeleteWebhook(webhook),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    call.commit(shared, change).await
}

/// Gives a webhook a new secret. Until the overlap ends, each delivery has the signatures of both.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{webhook}/rotate-secret", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
    request_body = SecretRotation,
    responses((status = 200, description = "The webhook, with its new secret", body = WebhookView)),
)]
pub(crate) async fn rotate_secret(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, rotate_once(&shared, &id, &call))
}

async fn rotate_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, call, id).await?;
    let rotation: SecretRotation = body::read(&call.body)?;
    let now = shared.node.clock.wall();
    if let Some((_, until)) = before.old.as_ref().filter(|(_, until)| now < *until && !rotation.force) {
        let detail =
            format!("the secret before the one in use signs until {until}: rotate again after that, or with force");
        return Err(Problem::new(Type::State, detail));
    }
    let overlap = Duration::from_secs(rotation.overlap_s.into());
    let old = (!overlap.is_zero()).then(|| (before.salt.clone(), now.plus(overlap)));
    let webhook = Webhook { salt: Salt::draw(), old, version: before.version + 1, ..before };
    let secret = secret(shared, &webhook)?;
    let change = Change {
        object: webhook.id.to_string(),
        changes: json!({ "overlap_s": rotation.overlap_s }),
        answer: json!(view(&webhook, Some(&secret))),
        edit: Edit::UpdateWebhook(webhook),
        status: StatusCode::OK,
    };
    call.commit(shared, change).await
}

/// Sends a test event now, and says what became of it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{webhook}/test", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
    responses((status = 200, description = "Whether the receiver took it", body = WebhookTest)),
)]
pub(crate) async fn test(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let webhook = find(&shared, &call, &id).await?;
    let busy = |_| {
        let problem = Problem::new(Type::RateLimited, "other webhooks are being tested: try again in a moment");
        Problem { retry_after_s: Some(5), ..problem }
    };
    let _turn = shared.api.webhook_tests.try_acquire().map_err(busy)?;
    let now = shared.node.clock.wall();
    let event = Id::draw(Kind::Event, now);
    let data = json!({
        "tenant": call.tenant.id.as_str(),
        "subject": { "type": "webhook", "id": webhook.id.as_str() },
        "sequence": 0,
        "object": { "id": webhook.id.as_str() },
        "current": { "sequence": 0, "state": WebhookSettings::of(&webhook).state },
    });
    let body = json!({ "type": "webhook.test", "timestamp": now.to_string(), "data": data }).to_string();
    let posted = post(&shared.hooks, &webhook, event.as_str(), body).await;
    let is_delivered = posted.outcome == Outcome::Delivered;
    let (status, error) = (posted.status, posted.error);
    let answer = WebhookTest { delivered: is_delivered, status, error, event: event.to_string() };
    let change = Change {
        edit: Edit::Nothing,
        object: webhook.id.to_string(),
        changes: json!({ "delivered": is_delivered }),
        status: StatusCode::OK,
        answer: json!(answer),
    };
    call.commit(&shared, change).await
}

/// Sends the events of a time once more, as far as they are kept: 24 hours, at most 1,000 at once. Says from when to go on where there are
/// more.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{webhook}/replay", tag = "webhooks", params(("webhook" = String, Path, description = "Identity")),
    request_body = Replay,
    responses((status = 200, description = "How many are sent", body = Replayed)),
)]
pub(crate) async fn replay(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let webhook = find(&shared, &call, &id).await?;
    let wanted: Replay = body::read(&call.body)?;
    ensure_active(&webhook)?;
    let from = UnixMillis(wanted.from_at.unwrap_or_default());
    let to = UnixMillis(wanted.to_at.unwrap_or(i64::MAX));
    let mut events = shared.catalogue.events_between(&call.tenant.id, (from, to)).await?;
    let more = (events.len() > REPLAY_MAX).then(|| events.pop()).flatten();
    let types = kinds(&webhook);
    events.retain(|event| {
        types
            .iter()
            .any(|name| name == "*" || *name == event.kind || name.strip_suffix(".*") == Some(group_of(&event.kind)))
    });
    let answer = Replayed { queued_count: events.len(), next_from_at: more.map(|event| event.created_at.0) };
    let change = Change {
        object: webhook.id.to_string(),
        changes: json!({ "from_at": from.0, "to_at": wanted.to_at, "queued_count": events.len() }),
        edit: Edit::Replay(webhook, events),
        status: StatusCode::OK,
        answer: json!(answer),
    };
    call.commit(&shared, change).await
}

/// Refuses to send to a disabled endpoint.
pub(super) fn ensure_active(webhook: &Webhook) -> Result<(), Problem> {
    match &webhook.disabled {
        None => Ok(()),
        Some(reason) => {
            let detail = format!("this webhook is disabled ({reason}): make its state active first");
            Err(Problem::new(Type::State, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_ones_their_groups_or_all() {
        let refused = |types: &[&str]| {
            let (types, mut errors): (Vec<String>, _) = (types.iter().map(ToString::to_string).collect(), Vec::new());
            check("https://hooks.example/", &types, &mut errors);
            errors.into_iter().map(|error| (error.pointer, error.code)).collect::<Vec<_>>()
        };
        for possible in [&["*"][..], &["stream.*"], &["stream.live", "api_key.*", "webhook.disabled"]] {
            assert_eq!(refused(possible), [], "{possible:?}");
        }
        assert_eq!(refused(&[]), [("#/types".to_owned(), "required")]);
        for (types, at) in
            [(&["*", "stream.live"][..], 0), (&["stream.live", "stream"], 1), (&["str*"], 0), (&[".*"], 0), (&["%"], 0)]
        {
            assert_eq!(refused(types), [(format!("#/types/{at}"), "unknown")], "{types:?}");
        }
    }

    #[test]
    fn audit_has_no_path_of_a_url() {
        assert_eq!(origin("https://hooks.example:8443/t/secret?a=b"), "https://hooks.example:8443/…");
        assert_eq!(origin("https://hooks.example?secret"), "https://hooks.example/…");
    }
}
