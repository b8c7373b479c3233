//! What all answers have in common, refusals included: who answered, who may read it, and that it is counted.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use media::{RenditionId, StreamId};
use node::http::ELSEWHERE;

use super::respond;
use super::routes::{Kind, Site};
use super::traffic::Metered;

/// Longest path and query in bytes: the longest of ours, with three names of 64 bytes and two numbers, has some 300.
const URL_BYTES_MAX: usize = 1024;
/// Methods there are.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// How long a browser may remember that it may ask, in seconds: the most that any browser takes.
const PREFLIGHT_AGE_S: HeaderValue = HeaderValue::from_static("86400");
/// Headers that a player on another site may read, apart from those that it always may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("accept-ranges, age, content-length, content-range, date, etag, x-sealcast-node");

/// Goes around all routes.
pub(super) async fn envelope(State(site): State<Arc<Site>>, request: Request<Body>, next: Next) -> Response {
    if !is_probe(&request) {
        site.traffic.count_request();
    }
    let mut response = if url_length(&request) > URL_BYTES_MAX {
        respond::refuse(StatusCode::URI_TOO_LONG, "the URL is longer than any of ours\n")
    } else if request.method() == Method::OPTIONS {
        options()
    } else {
        let stream = asked_for(request.uri().path());
        if let Some((stream, rendition)) = &stream
            && let Some(coming) = site.shelf.attend(stream, rendition.as_ref())
        {
            coming.await;
        }
        let mut response = next.run(request).await;
        if let Some((stream, _)) = stream.filter(|_| response.status() == StatusCode::NOT_FOUND) {
            if site.shelf.is_interrupted(&stream) {
                response = respond::unavailable("the stream was interrupted, and is about to go on\n");
            }
            if site.shelf.is_elsewhere(&stream) {
                response.headers_mut().insert(ELSEWHERE, HeaderValue::from_static(""));
            }
        }
        response
    };
    let kind = response.extensions().get::<Kind>().copied().unwrap_or(Kind::Refusal);
    count(kind, response.status());
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    common(response.headers_mut(), &site);
    response.map(|body| Body::new(Metered::new(body, site.traffic.clone())))
}

/// What balancers ask to see whether the node answers; browsers ask for the page itself.
fn is_probe(request: &Request<Body>) -> bool {
    request.method() == Method::HEAD && request.uri().path() == "/"
}

/// The stream that a path is about, and its rendition, if it is about one.
fn asked_for(path: &str) -> Option<(StreamId, Option<RenditionId>)> {
    let rest = path.strip_prefix("/live/").or_else(|| path.strip_prefix("/api/v1/streams/"))?;
    let mut names = rest.split('/');
    let (stream, rendition) = (names.next()?, names.next());
    let rendition = rendition.filter(|_| names.next().is_some()).and_then(|name| RenditionId::new(name).ok());
    Some((StreamId::new(stream).ok()?, rendition))
}

fn url_length(request: &Request<Body>) -> usize {
    request.uri().path_and_query().map_or(0, |text| text.as_str().len())
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

/// Everything is public and the same for everybody, without cookies, so every site may read it.
fn common(headers: &mut HeaderMap, site: &Site) {
    headers.insert(HeaderName::from_static("x-sealcast-node"), site.node.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
}

/// Labels are of closed sets: what was answered, and the class of the status.
fn count(kind: Kind, status: StatusCode) {
    let class = match status.as_u16() {
        ..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("viewers_requests_total", "answer" => kind.label(), "status" => class).increment(1);
}
