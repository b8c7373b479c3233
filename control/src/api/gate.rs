//! What every request passes, in this order: its credential (401), its scope (403), how often it may ask (429), the tenant that it is
//! about, its parameters, and whether it was answered before. Handlers look things up only after that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use catalogue::{Id, Kind, Tenant};
use metadata::EntrySequence;
use node::http::Peer;
use node::problem::{self, Type, is_request_id};
use node::wait::{self, METADATA};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::answer::Answer;
use super::audit::{self, What};
use super::auth::CALLBACK;
use super::caller::{self, Audited, Call, Caller, Principal};
use super::idempotency::{self, Asked, UnderWay};
use super::limits::{ADDRESS, Buckets, CREDENTIAL, FAILED_COST, Rate, Standing, TENANT};
use super::person;
use super::problem::Problem;
use super::scopes::{Rule, Scopes, rule};
use super::visit::{self, Visit, Visitor};
use crate::ControlState;
use crate::restored::ensure_not_restored;

/// Longest body of a request in bytes: a description of a stream has some thousand.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most parameters of a request.
const PARAMETERS_MAX: usize = 32;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What all requests of the API share.
pub(crate) struct ApiState {
    pub(crate) under_way: UnderWay,
    /// Places of webhooks that are being tested.
    pub(crate) webhook_tests: Semaphore,
    /// Places of listeners, and how many each tenant has.
    pub(crate) listeners: Arc<Semaphore>,
    listeners_of: Mutex<BTreeMap<Id, usize>>,
    buckets: Mutex<Buckets>,
    /// Those of writers in chats.
    pub(super) chat_buckets: Mutex<Buckets>,
    pub(super) refusals: Mutex<audit::Refusals>,
    /// Parameters of each route, as the document declares them.
    declared: std::sync::OnceLock<Declared>,
}

type Declared = BTreeMap<(String, String), Vec<String>>;

impl Default for ApiState {
    fn default() -> Self {
        Self {
            under_way: UnderWay::default(),
            webhook_tests: Semaphore::new(super::webhooks::TESTS_MAX),
            listeners: Arc::new(Semaphore::new(super::listening::LISTENERS_MAX)),
            listeners_of: Mutex::default(),
            buckets: Mutex::default(),
            chat_buckets: Mutex::default(),
            refusals: Mutex::default(),
            declared: std::sync::OnceLock::default(),
        }
    }
}

impl ApiState {
    /// Takes a place among the tenant's own listeners.
    pub(crate) fn count_listener(&self, tenant: &Id, most: usize) -> bool {
        let mut listeners = self.listeners_of.lock().unwrap_or_else(PoisonError::into_inner);
        let own = listeners.entry(tenant.clone()).or_default();
        let is_free = *own < most;
        if is_free {
            *own = own.saturating_add(1);
        }
        is_free
    }

    /// Gives such a place back.
    pub(crate) fn forget_listener(&self, tenant: &Id) {
        let mut listeners = self.listeners_of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = listeners.get_mut(tenant) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                listeners.remove(tenant);
            }
        }
    }

    /// Takes the parameters of the routes out of the document.
    pub(crate) fn declare(&self, document: &Value) {
        let mut declared = Declared::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let names = parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str());
                declared.insert((method.to_uppercase(), path.clone()), names.map(str::to_owned).collect());
            }
        }
        // Set once, when the router is made.
        let _ = self.declared.set(declared);
    }

    /// Takes one out of a bucket.
    pub(crate) fn take(&self, rate: Rate, who: &str, now: std::time::Duration) -> Result<(), Problem> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(rate, who, 1.0, now);
        taken.map(|_| ()).map_err(|exhausted| too_many(exhausted.retry_after_s))
    }

    /// Counts a request that needs no credential.
    ///
    /// # Errors
    /// When too many come from there.
    pub(crate) fn count_stranger(&self, address: IpAddr, now: std::time::Duration) -> Result<(), Problem> {
        self.take(ADDRESS, &acceptor::network(address).to_string(), now)
    }

    fn parameters_of(&self, method: &Method, path: &str) -> Option<&Vec<String>> {
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.declared.get()?.get(&(method.to_owned(), path.to_owned()))
    }

    fn has_route(&self, method: &Method, path: &str) -> bool {
        self.parameters_of(method, path).is_some()
    }

    fn has_parameter(&self, method: &Method, path: &str, name: &str) -> bool {
        self.parameters_of(method, path).is_some_and(|names| names.iter().any(|known| known == name))
    }
}

/// The identity of a request: the client's, where it can stand in a log.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(String);

/// The identity of a request with these headers: the client's, or a new one.
pub(crate) fn request_id(shared: &ControlState, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_request_id(id));
    let drawn = || Id::draw(Kind::Request, shared.node.clock.wall()).to_string();
    given.map_or_else(drawn, str::to_owned)
}

/// The outermost layer: gives the request its identity, and each refusal its body.
pub(crate) async fn render(State(shared): State<Arc<ControlState>>, mut request: Request, next: Next) -> Response {
    let id = request_id(&shared, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = if request.method() == Method::OPTIONS { preflight() } else { next.run(request).await };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        write(&mut response, &problem, &id);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn write(response: &mut Response, problem: &Problem, request_id: &str) {
    let body = serde_json::to_string(&problem.said(request_id)).unwrap_or_default();
    if problem.kind == Type::Internal {
        tracing::error!(request_id, detail = problem.detail, "a request failed");
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if problem.kind.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sealcast\""));
    }
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
}

/// What is known of a request before anything is decided.
pub(super) struct Arrived {
    pub(super) method: Method,
    /// The route.
    pub(super) path: String,
    pub(super) request_id: String,
    pub(super) address: Option<IpAddr>,
    /// What the path names, for the audit of a refusal.
    pub(super) object: String,
}

/// Lets a request through to its handler, and records what was refused.
pub(crate) async fn attend(
    State(shared): State<Arc<ControlState>>,
    matched: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let request_id = request.extensions().get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let arrived = Arrived {
        method: request.method().clone(),
        path: matched.as_str().to_owned(),
        request_id,
        address: peer.as_ref().and_then(|peer| address_of(peer, request.headers())),
        object: params
            .as_ref()
            .ok()
            .and_then(|params| params.iter().next().map(|(_, value)| shown(value)))
            .unwrap_or_default(),
    };
    let rule = match rule(&arrived.method, &arrived.path) {
        Some(Rule::Open) => return next.run(request).await,
        // Nothing is said by that of what is there.
        _ if !shared.api.has_route(&arrived.method, &arrived.path) => return wrong_method().await.into_response(),
        None => return Problem::new(Type::ScopeMissing, "nobody may use this route").into_response(),
        Some(rule) => rule,
    };
    let mut known = Known::default();
    let admitted = if rule == Rule::Entrance {
        admit_visitor(&shared, &arrived, request, &mut known).await
    } else {
        admit(&shared, &arrived, (peer.as_ref(), rule), request, &mut known).await
    };
    let (mut response, is_recorded) = match admitted {
        // No name has other bytes than those of UTF-8.
        Ok(Admitted::Request(_)) if params.is_err() => (Problem::not_found().into_response(), false),
        Ok(Admitted::Request(request)) => {
            let mut response = next.run(*request).await;
            let is_recorded = response.extensions_mut().remove::<Audited>().is_some();
            (response, is_recorded)
        }
        Ok(Admitted::Answered(response)) => (*response, true),
        Err(problem) => (problem.into_response(), false),
    };
    if rule != Rule::Entrance && (response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED) {
        let sequence = known.sequence(&shared, &arrived.method);
        response.headers_mut().insert(METADATA, HeaderValue::from(sequence));
    }
    if let Some(standing) = known.standing {
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert(RATE_LIMIT_POLICY, value(standing.policy()));
        response.headers_mut().insert(RATE_LIMIT, value(standing.left()));
    }
    if let Some(person) = known.principal.as_ref().and_then(|principal| principal.person.as_ref()) {
        person::renew(&shared, person, &mut response).await;
    }
    let refused = response.extensions().get::<Problem>().map(|problem| problem.kind);
    if let Some(kind) = refused.filter(|_| !is_recorded) {
        record_refusal(&shared, &arrived, &known, kind).await;
    }
    response
}

/// Waits for the entry of the metadata log that the caller has seen, so that it reads what it has written.
async fn ensure_has_seen(shared: &ControlState, headers: &HeaderMap) -> Result<(), Problem> {
    let wanted = match wait::wanted(headers) {
        Ok(None) => return Ok(()),
        Ok(Some(wanted)) => wanted,
        Err(malformed) => return Err(Problem::new(Type::Malformed, malformed)),
    };
    if shared.writer.log().reaches(EntrySequence(wanted), wait::MAX).await {
        return Ok(());
    }
    let behind = format!("this node does not have entry {wanted} of the metadata log yet: try again");
    Err(Problem { retry_after_s: Some(wait::RETRY_AFTER_S), ..Problem::new(Type::ReplicaBehind, behind) })
}

/// Records that a change was refused.
pub(super) async fn record_refusal(shared: &ControlState, arrived: &Arrived, known: &Known, kind: Type) {
    if !is_change(&arrived.method) || kind == Type::RateLimited {
        return;
    }
    let what = What {
        action: audit::action(&arrived.method, &arrived.path),
        object: arrived.object.clone(),
        changes: Value::Null,
        result: kind.name().to_owned(),
        request_id: arrived.request_id.clone(),
    };
    audit::note_refusal(shared, known.principal.as_ref(), known.tenant.clone(), what).await;
}

/// What was found out about a caller until it was refused.
#[derive(Default)]
pub(super) struct Known {
    principal: Option<Principal>,
    tenant: Option<Id>,
    pub(super) standing: Option<Standing>,
    /// Newest entry of the metadata log before anything was read.
    newest: u64,
}

impl Known {
    /// The entry of the metadata log that the answer reflects: whoever follows the log from there misses nothing. A change is in the log
    /// when it is answered; what is read may be from before an entry that came meanwhile.
    pub(super) fn sequence(&self, shared: &ControlState, method: &Method) -> u64 {
        if is_change(method) { shared.writer.place().sequence.0 } else { self.newest }
    }
}

enum Admitted {
    Request(Box<Request>),
    Answered(Box<Response>),
}

async fn admit(
    shared: &Arc<ControlState>,
    arrived: &Arrived,
    (peer, rule): (Option<&Peer>, Rule),
    request: Request,
    known: &mut Known,
) -> Result<Admitted, Problem> {
    let headers = request.headers().clone();
    let entitled = entitle(shared, arrived, (peer, rule), (request.uri(), &headers), known).await?;
    let (parts, parameters, body) = read(shared, arrived, request).await?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
    let base_url = visit::base_url(&parts.uri, &headers, peer);
    let content = Content { target, base_url, headers, parameters, body };
    let call = match begin(shared, arrived, entitled, content).await? {
        Begun::Call(call) => call,
        Begun::Answered(answer) => return Ok(Admitted::Answered(Box::new(answer.into_response()))),
    };
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(call);
    Ok(Admitted::Request(Box::new(request)))
}

/// Decides who asks, how often it may, and about which tenant. The request is not read before.
pub(super) async fn entitle(
    shared: &Arc<ControlState>,
    arrived: &Arrived,
    (peer, rule): (Option<&Peer>, Rule),
    (uri, headers): (&Uri, &HeaderMap),
    known: &mut Known,
) -> Result<(Principal, Tenant), Problem> {
    let recognised = person::recognise_any(shared, peer, headers).await;
    let cost = if recognised.is_ok() { 1.0 } else { FAILED_COST };
    limit(shared, arrived, (recognised.as_ref().ok(), cost), known)?;
    let principal = recognised?;
    known.tenant = Some(principal.home.id.clone());
    known.principal = Some(principal.clone());
    let is_change = is_change(&arrived.method);
    if let Some(person) = principal.person.as_ref().filter(|_| is_change) {
        visit::ensure_own_page(uri, headers, &person.csrf)?;
    }
    let needed = if let Rule::Scope(scope) = rule { scope } else { Scopes::NONE };
    if !principal.scopes.contains(needed) {
        return Err(Problem::new(Type::ScopeMissing, format!("this needs the scope {needed}")));
    }
    if is_change {
        // The log would undo it.
        ensure_not_restored(shared).await?;
    }
    let tenant = caller::tenant_of(shared, &principal, (headers, is_change)).await?;
    known.tenant = Some(tenant.id.clone());
    if tenant.is_suspended && is_change && !principal.scopes.acts_for_all(is_change) {
        return Err(Problem::new(Type::State, "the operator has suspended this tenant"));
    }
    ensure_has_seen(shared, headers).await?;
    known.newest = shared.writer.place().sequence.0;
    Ok((principal, tenant))
}

/// What a request says.
pub(super) struct Content {
    /// Path and query: with the body, what tells it from others.
    pub(super) target: String,
    pub(super) base_url: String,
    pub(super) headers: HeaderMap,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) body: bytes::Bytes,
}

/// What becomes of a request that may be answered.
pub(super) enum Begun {
    Call(Call),
    /// It was answered before.
    Answered(Answer),
}

/// Looks whether a request was answered already.
pub(super) async fn begin(
    shared: &ControlState,
    arrived: &Arrived,
    (principal, tenant): (Principal, Tenant),
    content: Content,
) -> Result<Begun, Problem> {
    let Content { target, base_url, headers, parameters, body } = content;
    let replay = match idempotency::ask(shared, &tenant.id, (&arrived.method, &target, &body), &headers).await? {
        None => None,
        Some(Asked::First(replay)) => Some(replay),
        Some(Asked::Again(status, answer)) => return Ok(Begun::Answered(Answer::replayed(status, answer))),
    };
    Ok(Begun::Call(Call(Arc::new(Caller {
        principal,
        tenant,
        request_id: arrived.request_id.clone(),
        base_url,
        action: audit::action(&arrived.method, &arrived.path),
        headers,
        parameters,
        body,
        replay,
    }))))
}

/// Lets somebody to a route by which people get a credential.
async fn admit_visitor(
    shared: &Arc<ControlState>,
    arrived: &Arrived,
    request: Request,
    known: &mut Known,
) -> Result<Admitted, Problem> {
    let cost = if is_change(&arrived.method) { FAILED_COST } else { 1.0 };
    limit(shared, arrived, (None, cost), known)?;
    let headers = request.headers().clone();
    if is_change(&arrived.method) {
        visit::ensure_no_foreign_page(request.uri(), &headers)?;
    }
    let (parts, parameters, body) = read(shared, arrived, request).await?;
    let visitor = Visitor {
        request_id: arrived.request_id.clone(),
        action: audit::action(&arrived.method, &arrived.path),
        address: arrived.address,
        base_url: visit::own_origin(&parts.uri, &headers).unwrap_or_default(),
        headers,
        parameters,
        body,
    };
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(Visit(Arc::new(visitor)));
    Ok(Admitted::Request(Box::new(request)))
}

type Read = (axum::http::request::Parts, Vec<(String, String)>, bytes::Bytes);

/// Reads a request whole: its parameters, which the document has to declare, and its body.
async fn read(shared: &ControlState, arrived: &Arrived, request: Request) -> Result<Read, Problem> {
    let parameters = parameters(request.uri().query().unwrap_or_default())?;
    for (at, (name, _)) in parameters.iter().enumerate() {
        let is_twice = parameters.iter().take(at).any(|(other, _)| other == name);
        // An issuer says more than the client has asked for.
        let is_known = arrived.path == CALLBACK || shared.api.has_parameter(&arrived.method, &arrived.path, name);
        if is_twice || !is_known {
            return Err(Problem::new(
                Type::UnknownParameter,
                format!("{} is unknown here, or given twice", shown(name)),
            ));
        }
    }
    let (parts, body) = request.into_parts();
    let too_large = |_| Problem::new(Type::TooLarge, format!("a body may have {BODY_BYTES_MAX} bytes"));
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(too_large)?;
    Ok((parts, parameters, body))
}

/// Counts a request for its address, its credential and its tenant. The operator at the control machine is never shut out.
fn limit(
    shared: &ControlState,
    arrived: &Arrived,
    (principal, cost): (Option<&Principal>, f64),
    known: &mut Known,
) -> Result<(), Problem> {
    if principal.is_some_and(|principal| principal.kind == caller::CredentialKind::Certificate) {
        return Ok(());
    }
    let now = shared.node.clock.elapsed();
    let mut buckets = shared.api.buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let mut take = |rate, who: &str, cost| match buckets.take(rate, who, cost, now) {
        Ok(standing) => {
            if known.standing.as_ref().is_none_or(|other| standing.is_tighter_than(other)) {
                known.standing = Some(standing);
            }
            Ok(())
        }
        Err(exhausted) => {
            known.standing = Some(exhausted.standing);
            Err(too_many(exhausted.retry_after_s))
        }
    };
    if let Some(address) = arrived.address {
        take(ADDRESS, &acceptor::network(address).to_string(), cost)?;
    }
    if let Some(principal) = principal {
        take(CREDENTIAL, &principal.credential, 1.0)?;
        take(TENANT, principal.home.id.as_str(), 1.0)?;
    }
    Ok(())
}

fn too_many(retry_after_s: u64) -> Problem {
    let problem = Problem::new(Type::RateLimited, "too many requests: wait as long as Retry-After says");
    Problem { retry_after_s: Some(retry_after_s), ..problem }
}

/// The address of a client: what the load balancer says of it.
pub(crate) fn address_of(peer: &Peer, headers: &HeaderMap) -> Option<IpAddr> {
    if !peer.is_balancer() {
        return peer.counted_as();
    }
    headers.get("x-forwarded-for")?.to_str().ok()?.parse().ok()
}

const fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What somebody has sent, short and harmless enough to be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The parameters of a query.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if parameters.len() >= PARAMETERS_MAX {
            return Err(Problem::new(Type::Malformed, "the query has too many parameters"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.push((decoded(name)?, decoded(value)?));
    }
    Ok(parameters)
}

/// Undoes the encoding of a query (WHATWG URL, application/x-www-form-urlencoded).
fn decoded(text: &str) -> Result<String, Problem> {
    let malformed = || Problem::new(Type::Malformed, "the query has no valid encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().ok_or_else(malformed)?, rest.next().ok_or_else(malformed)?];
                let mut one = [0];
                hex::decode_to_slice(digits, &mut one).map_err(|_| malformed())?;
                one[0]
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// The answer where there is no route.
pub(crate) async fn unknown() -> Problem {
    Problem::not_found()
}

/// The answer where the route has no such method.
pub(crate) async fn wrong_method() -> Problem {
    Problem::new(Type::MethodNotAllowed, "this route does not have this method; /api/v1/openapi.json says which it has")
}

/// The answer to a preflight: pages of any origin may ask, with a key and never with a cookie.
fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
    headers.insert(header::ALLOW, methods.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = "authorization, content-type, idempotency-key, if-match, if-none-match, x-api-key, x-request-id, x-sealcast-tenant, x-sealcast-wait";
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_decoded_or_refused() {
        let pairs = parameters("q=a%20b+c&limit=5&x").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("q", "a b c"), pair("limit", "5"), pair("x", "")]);
        for bad in ["q=%", "q=%2", "q=%zz", "q=%ff", &"a&".repeat(40)] {
            assert_eq!(parameters(bad).unwrap_err().kind, Type::Malformed, "{bad}");
        }
    }
}
