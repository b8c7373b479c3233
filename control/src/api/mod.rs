//! `/api/v1` as control answers it: tenants, API keys, streams, and the audit of who changed what.
//!
//! [`gate`] decides who may ask, [`scopes::rule`] what a route needs, and the other modules are one resource each. The OpenAPI document is made from
//! the handlers, so it has every route. A handler looks things up in the tenant of its caller only: what is another tenant's is not there.

mod answer;
mod api_keys;
mod asked;
mod audit;
mod auth;
mod body;
mod caller;
mod chat;
mod chat_writers;
mod deliveries;
mod describe;
mod events;
mod first_operator;
mod frame;
mod gate;
mod idempotency;
mod issuers;
mod limits;
mod listening;
mod listing;
mod members;
pub(crate) mod nodes;
mod own;
mod person;
mod problem;
mod problems;
mod recorded;
mod scopes;
mod session;
mod setup;
mod signed_in;
mod signing_keys;
mod stream_pages;
pub(crate) mod streams;
mod tenants;
mod viewer_tokens;
mod visit;
mod watch;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use catalogue::{Commit, Edit};
use messages::Role;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::answer::Answer;
pub(crate) use self::asked::{Admission, Arrival, Turn};
use self::audit::What;
pub(crate) use self::caller::{Call, Caller, TENANT, etag};
pub(crate) use self::gate::{ApiState, REQUEST_ID, request_id};
pub(crate) use self::idempotency::IDEMPOTENCY_KEY;
pub(crate) use self::limits::Standing;
pub(crate) use self::listening::{LOOK_INTERVAL, Listening, SILENCE_MAX};
pub(crate) use self::problem::Problem;
pub(crate) use self::recorded::{Done, Touched, record_administration};
use crate::ControlState;
use crate::acknowledged::acknowledged;
use crate::callers::only;
use crate::refusal::not_logged;

/// How often a change is tried again that another one overtook.
const CONFLICTS_MAX: usize = 8;

/// The document, without its routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Sealcast",
        version = "1",
        description = "What control answers below /api/v1. Give an API key as x-api-key or as a bearer token, or sign in: changes with the \
                       cookie need x-sealcast-csrf. Errors are problems (RFC 9457) with the types of /api/v1/problems.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(problem::Said<'static>)),
    modifiers(&Security),
)]
struct Document;

/// How callers show who they are.
struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{
            ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        };
        let components = document.components.get_or_insert_default();
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
        components.add_security_scheme("api_key", key);
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(access::session::COOKIE)));
        components.add_security_scheme("cookie", cookie);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let needs = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
        document.security = Some(vec![needs("api_key"), needs("bearer"), needs("cookie")]);
    }
}

/// All routes, and the document that describes them.
fn described() -> (Router<Arc<ControlState>>, Value) {
    let routes = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::show, tenants::update, tenants::delete))
        .routes(routes!(own::tenant, own::update_tenant))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::show, api_keys::update, api_keys::delete))
        .routes(routes!(api_keys::rotate))
        .routes(routes!(streams::list, streams::create))
        .routes(routes!(streams::show, streams::update, streams::delete))
        .routes(routes!(streams::rotate_key))
        .routes(routes!(frame::embed))
        .routes(routes!(chat::messages))
        .routes(routes!(chat::delete_message))
        .routes(routes!(chat::bans, chat::ban))
        .routes(routes!(chat::lift))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::replay))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::redeliver))
        .routes(routes!(events::follow))
        .routes(routes!(signing_keys::list, signing_keys::create))
        .routes(routes!(signing_keys::show, signing_keys::update, signing_keys::delete))
        .routes(routes!(viewer_tokens::create))
        .routes(routes!(viewer_tokens::revoke))
        .routes(routes!(issuers::list, issuers::create))
        .routes(routes!(issuers::show, issuers::update, issuers::delete))
        .routes(routes!(issuers::refresh))
        .routes(routes!(issuers::test))
        .routes(routes!(watch::create))
        .routes(routes!(audit::list))
        .routes(routes!(audit::check))
        .routes(routes!(own::usage))
        .routes(routes!(session::show, session::create, session::delete))
        .routes(routes!(setup::create))
        .routes(routes!(auth::list))
        .routes(routes!(auth::visit, auth::login))
        .routes(routes!(auth::callback))
        .routes(routes!(members::list, members::create))
        .routes(routes!(members::show, members::update, members::delete))
        .routes(routes!(members::invite))
        .routes(routes!(problems::list))
        .routes(routes!(problems::show));
    let (router, document) = routes.split_for_parts();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    describe::complete(&mut document);
    (router, document)
}

/// The routes of the API, for balancers and for the commands of this machine.
pub(crate) fn router(shared: &Arc<ControlState>) -> Router<Arc<ControlState>> {
    let (router, document) = described();
    shared.api.declare(&document);
    let document = Arc::new(document.to_string());
    router
        .route("/api/v1/openapi.json", get(async move || json_text(StatusCode::OK, document.as_str())))
        .method_not_allowed_fallback(gate::wrong_method)
        .route_layer(middleware::from_fn_with_state(Arc::clone(shared), gate::attend))
        .route("/api/v1/{*rest}", any(gate::unknown))
        .route("/live/{stream}/chat", post(chat::say))
        .route("/t/{token}/live/{stream}/chat", post(chat::say_with_token))
        .route_layer(middleware::from_fn_with_state(&[Role::LoadBalancer, Role::Control][..], only))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), gate::render))
        .layer(DefaultBodyLimit::disable())
}

/// A JSON answer; a row carries its version as entity tag.
fn respond(status: StatusCode, answer: &impl Serialize) -> Response {
    let answer = &json!(answer);
    let mut response = json_text(status, &answer.to_string());
    if let Some(version) = answer["version"].as_i64().filter(|_| has_tag(answer))
        && let Ok(tag) = HeaderValue::from_str(&caller::etag(version))
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether the version of a row says all that there is to say of an answer.
fn has_tag(answer: &Value) -> bool {
    // These change without the version.
    let is_row = ["live", "input", "stale_since_at"].iter().all(|member| answer.get(member).is_none());
    is_row && answer["version"].is_i64()
}

fn json_text(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A row as the answer to a request that reads it: 304 to a client that has this version.
fn row(call: &Caller, version: i64, answer: impl Serialize) -> Response {
    Answer::row(call, version, json!(answer)).into_response()
}

/// The change that a request makes.
struct Change {
    edit: Edit,
    /// What the audit calls the row.
    object: String,
    /// What changed, without secrets.
    changes: Value,
    status: StatusCode,
    answer: Value,
}

impl Caller {
    /// Makes a change together with its audit record, and with its answer where the request may be repeated.
    async fn change(&self, shared: &ControlState, change: Change) -> Result<Answer, Problem> {
        let Change { edit, object, changes, status, answer } = change;
        let (action, request_id) = (self.action.clone(), self.request_id.clone());
        let what = What { action, object, changes, result: "done".to_owned(), request_id };
        // What an operator does to a tenant stands in that tenant's audit.
        let tenant = match &edit {
            Edit::CreateTenant(tenant) | Edit::UpdateTenant(tenant) | Edit::DeleteTenant(tenant) => tenant.id.clone(),
            _ => self.tenant.id.clone(),
        };
        let record = audit::record(shared, Some(&self.principal), Some(tenant), what);
        let kept = self.replay.as_ref().map(|replay| replay.keep(status, &answer, record.at)).transpose()?;
        shared.catalogue.commit(Commit { edit, record, answer: kept }).await?;
        Ok(Answer::audited(status, answer))
    }

    /// The same, as HTTP answers it.
    async fn commit(&self, shared: &ControlState, change: Change) -> Result<Response, Problem> {
        Ok(self.change(shared, change).await?.into_response())
    }
}

/// Brings what the catalogue has to all nodes, and waits for those that are there.
async fn spread(shared: &ControlState) -> Result<(), Problem> {
    let began = shared.node.clock.elapsed();
    let sequence = shared.write_log().await.map_err(|error| Problem::from(not_logged(&error)))?;
    acknowledged(shared, sequence, began).await;
    Ok(())
}

/// Tries a change again that another one overtook, unless the client said which version it means.
macro_rules! overtaking {
    ($call:expr, $attempt:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            match $attempt.await {
                Err(problem)
                    if problem.is_mismatch() && !$call.is_conditional() && tries < $crate::api::CONFLICTS_MAX => {}
                done => break done,
            }
        }
    }};
}
use overtaking;

#[cfg(test)]
mod tests {
    use super::scopes::{Rule, rule};
    use super::*;

    /// Broadcast nodes serve the file, so that the API can be read while control is away.
    #[test]
    fn file_in_the_source_tree_is_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&described().1).unwrap());
        if std::env::var_os("SEALCAST_UPDATE_REFERENCE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == text,
            "{path} is not what the code says: run `make reference`"
        );
    }

    #[test]
    fn every_described_operation_has_a_rule() {
        let (_, document) = described();
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_uppercase().parse().unwrap();
                let rule = rule(&method, path);
                assert!(rule.is_some(), "{method} {path} has no rule: nobody may use it");
                let is_open = rule == Some(Rule::Open);
                assert_eq!(is_open, path.starts_with("/api/v1/problems"), "{method} {path}");
                let is_entrance = rule == Some(Rule::Entrance);
                let is_for_strangers = operation["security"] == json!([{}]);
                assert_eq!(is_open || is_entrance, is_for_strangers, "{method} {path}: {operation}");
                let declared = operation["parameters"].as_array().into_iter().flatten();
                let named: Vec<&str> =
                    declared.filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect();
                let in_path: Vec<&str> =
                    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
                assert_eq!(named, in_path, "{method} {path}");
                operations += 1;
            }
        }
        assert!(operations > 20, "{operations}");
        assert_eq!(document["openapi"], "3.1.0");
    }
}
