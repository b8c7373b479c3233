//! Who may have what: the one layer before routing, metrics and logs. It takes the token off the path, brings the path into its normal
//! form, and asks for the decision ([`access::Rules::decide`]). What comes after it sees no token.
//!
//! Deliberately refuses nothing by a text of its own where a stream is hidden: such a request goes on as one for a stream that nobody has,
//! so that its answer is that of one.

use std::sync::{Arc, Mutex, PoisonError};

use access::{
    Allowed, Ask, Checked, Class, Invalid, OriginUse, Place, Refusal, RequestPath, Rules, Verified, normalised,
};
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::response::Response;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, ORIGIN, VARY};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use media::StreamId;
use node::Redacted;
use node::clock::Clock;

use super::caching;
use super::respond;

/// Most tokens whose signature is remembered: more than a node has viewers. Each takes some 400 bytes.
const CHECKED_MAX: usize = 65_536;
/// A name that no stream has: nobody can make one that begins with a hyphen.
const NO_STREAM: &str = "-nobody-has-this-stream";
/// Longest URL below a token in bytes.
const UNDER_TOKEN_BYTES_MAX: usize = 2_048;
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a node knows of rights, and the tokens that it has verified.
#[derive(Debug)]
pub struct AccessControl {
    rules: ArcSwap<Rules>,
    checked: Mutex<Checked>,
    clock: Clock,
}

impl AccessControl {
    /// Everything is public, and no token counts, until somebody says otherwise.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { rules: ArcSwap::default(), checked: Mutex::new(Checked::new(CHECKED_MAX)), clock })
    }

    /// From now on these rules count, also for requests that wait.
    pub fn obey(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Whether lists for everybody show a stream.
    pub(super) fn is_listed(&self, stream: &StreamId) -> bool {
        self.rules.load().is_listed(stream)
    }

    fn verified(&self, rules: &Rules, text: &str) -> Result<Arc<Verified>, Invalid> {
        let digest = Checked::digest(text);
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = checked().get(&digest) {
            return Ok(known);
        }
        let verified = Arc::new(Verified::read(text, |id| rules.key(id))?);
        checked().put(digest, Arc::clone(&verified));
        Ok(verified)
    }
}

/// The path of the token that a request came with, for the few URIs that are absolute. Nobody prints it.
#[derive(Clone)]
pub(super) struct Prefix(Redacted<String>);

impl Prefix {
    /// What stands before the path of everything that the request's answer leads to; empty without a token.
    pub(super) fn of(request: &Request<Body>) -> &str {
        request.extensions().get::<Self>().map_or("", |prefix| prefix.0.expose())
    }
}

/// A request that may go on, without its token.
pub(super) struct Entered {
    pub(super) request: Request<Body>,
    pub(super) pass: Pass,
}

/// With what right a request went on.
pub(super) struct Pass {
    place: Place,
    /// Only of a holder.
    token: Option<Arc<Verified>>,
    origin: Option<HeaderValue>,
    origin_use: Option<OriginUse>,
    rules: Arc<Rules>,
}

/// Whether a URL is longer than any of ours; without its token, it may have `plain_max` bytes.
pub(super) fn is_too_long(uri: &Uri, plain_max: usize) -> bool {
    let whole = uri.path_and_query().map_or(0, |text| text.as_str().len());
    let target = RequestPath::of(uri.path());
    let taken = uri.path().len().saturating_sub(target.rest.len());
    whole.saturating_sub(taken) > plain_max || (taken > 0 && whole > UNDER_TOKEN_BYTES_MAX)
}

impl AccessControl {
    /// Lets a request in, or says what it is answered.
    pub(super) fn enter(&self, mut request: Request<Body>) -> Result<Entered, Box<Response>> {
        let target = RequestPath::of(request.uri().path());
        let token = target.token.map(|text| Redacted::new(text.to_owned()));
        let Some(path) = normalised(target.rest) else {
            return Err(Box::new(match token {
                Some(token) => {
                    let rules = self.rules.load();
                    let why =
                        self.verified(&rules, token.expose()).map_or_else(Refusal::Invalid, |_| Refusal::Elsewhere);
                    refused(why)
                }
                None => super::site::not_found(),
            }));
        };
        let mut path = path.into_owned();
        let place = Place::of(&path);
        if token.is_none()
            && let Some(redirect) = to_token_path(&request, &place, &path)
        {
            return Err(Box::new(redirect));
        }
        let rules = self.rules.load_full();
        let verified = token.as_ref().map(|token| self.verified(&rules, token.expose()));
        let origin = request.headers().get(ORIGIN).cloned();
        let mut pass = Pass { place, token: None, origin, origin_use: None, rules };
        match self.decide(&pass, verified.as_ref()) {
            Ok(Allowed::Everybody) => {}
            Ok(Allowed::Holder(origin_use)) => pass.origin_use = Some(origin_use),
            Err(Refusal::Absent) => path = hidden(&path, &pass.place),
            Err(why) => return Err(Box::new(refused(why))),
        }
        pass.token = verified.and_then(Result::ok);
        if let Some(token) = token.filter(|_| pass.token.is_some()) {
            let prefix = RequestPath::path_of(token.expose(), "");
            request.extensions_mut().insert(Prefix(Redacted::new(prefix)));
        }
        if path != request.uri().path() {
            *request.uri_mut() = with_path(request.uri(), &path).ok_or_else(|| Box::new(super::site::not_found()))?;
        }
        Ok(Entered { request, pass })
    }

    fn decide(&self, pass: &Pass, token: Option<&Result<Arc<Verified>, Invalid>>) -> Result<Allowed, Refusal> {
        let token = token.map(|token| token.as_deref().map_err(|why| *why));
        let (class, stream, at) = (pass.place.class, pass.place.stream.as_ref(), self.clock.wall());
        // An origin that is no text is one that nobody lists.
        let origin = pass.origin.as_ref().map(|origin| origin.to_str().unwrap_or("null"));
        pass.rules.decide(&Ask { class, stream, token, origin, at })
    }

    /// The answer of a request that may have waited: with the headers that its right brings, or refused, when it has no right any more.
    pub(super) fn leave(&self, mut pass: Pass, mut response: Response) -> Response {
        let rules = self.rules.load();
        if pass.place.class != Class::Open && !Arc::ptr_eq(&rules, &pass.rules) {
            pass.rules = Arc::clone(&rules);
            let token = pass.token.clone().map(Ok);
            match self.decide(&pass, token.as_ref()) {
                Ok(_) => {}
                Err(Refusal::Absent) if response.status() == StatusCode::NOT_FOUND => {}
                Err(Refusal::Absent) => response = super::site::not_found(),
                Err(why) => return refused(why),
            }
        }
        let Some(origin_use) = pass.origin_use else { return response };
        let headers = response.headers_mut();
        if let Some(kept) = headers.get(CACHE_CONTROL).map(caching::private) {
            headers.insert(CACHE_CONTROL, kept);
        }
        if origin_use != OriginUse::Free {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if origin_use == OriginUse::Listed
            && let Some(origin) = pass.origin
        {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        response
    }
}

/// Where a token comes as a parameter or as a bearer's, the playlist leads to the path: players pass neither on to what it lists.
fn to_token_path(request: &Request<Body>, place: &Place, path: &str) -> Option<Response> {
    if place.class != Class::Admission || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let query = request.uri().query().unwrap_or_default();
    let is_token = |pair: &&str| pair.strip_prefix("token=").is_some_and(RequestPath::is_like_a_token);
    let in_query = query.split('&').find(is_token).and_then(|pair| pair.strip_prefix("token="));
    let token = in_query.or_else(|| bearer(request.headers()))?;
    let mut location = RequestPath::path_of(token, path);
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_token(pair)).collect();
    if !rest.is_empty() {
        location.push('?');
        location.push_str(&rest.join("&"));
    }
    let mut response = respond::refuse(StatusCode::TEMPORARY_REDIRECT, "the token belongs into the path\n");
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).ok()?);
    Some(response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && RequestPath::is_like_a_token(token)).then_some(token)
}

/// The same path of a stream that nobody has.
fn hidden(path: &str, place: &Place) -> String {
    let Some(stream) = &place.stream else { return path.to_owned() };
    let split = || {
        let folder = Place::folder_of(path)?;
        Some((folder, path.strip_prefix(folder)?.strip_prefix(stream.as_str())?))
    };
    split().map_or_else(|| path.to_owned(), |(folder, below)| format!("{folder}{NO_STREAM}{below}"))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// A refusal of a token, as a problem (RFC 9457). Never 401: Safari does not come back from it.
fn refused(why: Refusal) -> Response {
    metrics::counter!("viewers_token_refusals_total", "why" => why.problem()).increment(1);
    let (status, kind) = (why.status(), why.problem());
    let problem = serde_json::json!({
        "type": format!("/api/v1/problems/{kind}"), "status": status, "detail": why.to_string(),
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = respond::refuse(status, problem.to_string());
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    if why == Refusal::Origin {
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_stream_is_asked_for_as_one_that_nobody_has() {
        for (path, expected) in [
            ("/live/live/index.m3u8", "/live/-nobody-has-this-stream/index.m3u8"),
            ("/live/hall/hall/1/7.m4s", "/live/-nobody-has-this-stream/hall/1/7.m4s"),
            ("/live/hall", "/live/-nobody-has-this-stream"),
            ("/api/v1/streams/streams", "/api/v1/streams/-nobody-has-this-stream"),
            ("/api/v1/trust/v1", "/api/v1/trust/-nobody-has-this-stream"),
            ("/api/v1/trust/tru", "/api/v1/trust/-nobody-has-this-stream"),
        ] {
            assert_eq!(hidden(path, &Place::of(path)), expected);
        }
    }
}
