//! What all answers have in common, refusals included: who answered, who may read it, and that it is counted.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use node::http::{Application, ELSEWHERE, Peer, UnderWay};

use super::asked::{Asked, counted_as};
use super::caching::Kind;
use super::entrance::{self, Entered, OwnPagesOnly};
use super::readers::Held;
use super::respond;
use super::routes::Viewers;
use super::site::Site;
use super::traffic::Metered;
use crate::quotas::Account;

/// Longest path and query in bytes: the longest of ours, with three names of 64 bytes and two numbers, has some 300.
const URL_BYTES_MAX: usize = 1024;
/// Methods that all routes answer.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// How long a browser may cache the answer to a preflight, in seconds: the most that any browser takes.
const PREFLIGHT_AGE_S: HeaderValue = HeaderValue::from_static("86400");
/// Headers that a player on another site may read, besides those that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, age, content-length, content-range, date, etag, x-sealcast-metadata, x-sealcast-node",
);

impl Application for Viewers {
    type Body = Metered;

    fn answer(self, request: Request<Body>) -> impl Future<Output = http::Response<Metered>> + Send + 'static {
        enveloped(self, request)
    }
}

/// Counts the request and its answer, refuses long URLs, answers OPTIONS, and adds the headers that all answers have.
pub(super) async fn enveloped(viewers: Viewers, request: Request<Body>) -> http::Response<Metered> {
    let site = viewers.site.clone();
    let is_head = request.method() == Method::HEAD;
    let under_way = request.extensions().get::<Peer>().map(UnderWay::of);
    if !is_probe(&request) {
        site.traffic.count_request();
    }
    let mut response = if entrance::is_too_long(request.uri(), URL_BYTES_MAX) {
        respond::refuse(StatusCode::URI_TOO_LONG, "the URL is longer than any URL of this server\n")
    } else if request.method() == Method::OPTIONS {
        options()
    } else {
        entered(viewers, request).await
    };
    let kind = response.extensions().get::<Kind>().copied().unwrap_or(Kind::Refusal);
    site.traffic.count_answer(kind, response.status());
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        // The router sets 0; a 304 could only repeat the length of the 200 (RFC 9110, 8.6).
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let is_for_others = response.extensions().get::<OwnPagesOnly>().is_none();
    common(response.headers_mut(), &site, is_for_others);
    let held = response.extensions_mut().remove::<(Held, u64)>().filter(|_| !is_head);
    let place = held.zip(under_way).map(|((held, bytes), way)| site.traffic.readers().begin(held, bytes, way));
    let account = response.extensions_mut().remove::<Arc<Account>>();
    let of = (place, account);
    response.map(|body| Metered::new(if is_head { Body::empty() } else { body }, site.traffic.clone(), of))
}

/// Answers a request with its right, and not without.
async fn entered(viewers: Viewers, request: Request<Body>) -> Response {
    let site = viewers.site.clone();
    match site.settings.access.enter(request) {
        Ok(Entered { request, pass }) => site.settings.access.leave(pass, attended(viewers, request).await),
        Err(refusal) => *refusal,
    }
}

/// Waits while a stream comes from other nodes or is interrupted, and marks a 404 that another node may answer better.
async fn attended(viewers: Viewers, request: Request<Body>) -> Response {
    let site = viewers.site.clone();
    let asked = Asked::parse(request.uri().path());
    let stream = asked.as_ref().map(|asked| asked.stream.clone());
    if let Some(asked) = &asked
        && let Some(coming) = site.snapshots.attend(&asked.stream, asked.rendition.as_ref(), counted_as(&request))
    {
        coming.await;
    }
    let mut response = viewers.routed(asked, request).await;
    if let Some(stream) = stream.filter(|_| response.status() == StatusCode::NOT_FOUND) {
        if site.snapshots.is_interrupted(&stream) {
            response = respond::unavailable("the stream was interrupted, and is about to go on\n");
        }
        if site.snapshots.is_elsewhere(&stream) {
            response.headers_mut().insert(ELSEWHERE, HeaderValue::from_static(""));
        }
    }
    response
}

/// Whether a balancer probes the node; browsers ask for the page with GET.
fn is_probe(request: &Request<Body>) -> bool {
    request.method() == Method::HEAD && request.uri().path() == "/"
}

fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S);
    response
}

/// Nothing depends on cookies, so every site may read it, unless a token or the stream says which.
fn common(headers: &mut HeaderMap, site: &Site, is_for_others: bool) {
    headers.insert(HeaderName::from_static("x-sealcast-node"), site.node.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_for_others {
        headers.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(HeaderValue::from_static("*"));
    }
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
}
