//! Responses, made of what a route answers and of the request's headers.
//!
//! Owns validators, ranges, encodings and lengths. The routes decide what is answered and how long it may be kept. Pure.

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use gate::{Rendered, entity_tag};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use media::ObjectName;
use node::http::STOPPING;
use node::problem::{self, Type};

use super::caching::{CacheLifetime, Kind, PRIORITY, cache_control, priority};
use super::conditions::{self, Verdict};
use super::encoding::Accepted;
use super::range::{self, Wanted};
use super::readers::Held;
use super::{NoPlace, Object};

/// Seconds after which a client that found no place, or nothing new, may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Longest range that is copied, in bytes: more than a player asks for to read a segment's index.
const COPIED_BYTES_MAX: usize = 64 * 1024;

/// What a route decides about its answer.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    pub(super) content_type: HeaderValue,
    pub(super) kept: CacheLifetime,
}

/// Text: compressed when the client takes that.
pub(super) fn text(request: &Request<Body>, rendered: &Rendered, meta: Meta) -> Response {
    let kind = meta.kind;
    of_kind(kind, negotiated(request, rendered, meta))
}

fn negotiated(request: &Request<Body>, rendered: &Rendered, meta: Meta) -> Response {
    let accepted = Accepted::of(request.headers());
    let brotli = if accepted.brotli { rendered.brotli().map(|bytes| (bytes, "br")) } else { None };
    let compressed = match brotli {
        None if accepted.gzip => rendered.gzip().map(|bytes| (bytes, "gzip")),
        brotli => brotli,
    };
    let (bytes, tag) = match compressed {
        // Another representation has to have another strong tag (RFC 9110, 8.8.3.3).
        Some((bytes, coding)) => (bytes, format!("{}-{coding}", rendered.tag())),
        None => (rendered.identity(), rendered.tag().to_owned()),
    };
    let mut headers = described(meta, &tag);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(early) = precondition(request, &headers, &tag) {
        return early;
    }
    if let Some((_, coding)) = compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    whole(headers, bytes.clone())
}

/// A media object: never compressed, because it is already; in ranges when asked.
pub(super) fn media(request: &Request<Body>, name: ObjectName, object: Object, meta: Meta) -> Response {
    let (kind, bytes) = (meta.kind, object.bytes.len());
    let mut response = of_kind(kind, ranged(request, object, meta));
    // A range that was copied holds nothing of its object.
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_copied =
        response.status() == StatusCode::PARTIAL_CONTENT && length.is_some_and(|length| is_copied(length, bytes));
    if response.status().is_success() && bytes > 0 && !is_copied {
        holds(&mut response, Held::Object(name), bytes);
    }
    response
}

/// Notes what a response keeps in memory until it is sent.
pub(super) fn holds(response: &mut Response, held: Held, bytes: usize) {
    response.extensions_mut().insert((held, u64::try_from(bytes).unwrap_or(u64::MAX)));
}

fn ranged(request: &Request<Body>, object: Object, meta: Meta) -> Response {
    let tag = entity_tag(object.digest);
    let mut headers = described(meta, &tag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(early) = precondition(request, &headers, &tag) {
        return early;
    }
    let length = object.bytes.len();
    // Ranges are defined for GET only (RFC 9110, 14.2).
    let honoured = request.method() == Method::GET && conditions::range_applies(request.headers(), &tag);
    match if honoured { range::wanted(request.headers(), length) } else { Wanted::Whole } {
        Wanted::Whole => whole(headers, object.bytes),
        Wanted::Part(part) => {
            let last = part.end - 1;
            headers.insert(CONTENT_RANGE, printed(format!("bytes {}-{last}/{length}", part.start)));
            with_status(StatusCode::PARTIAL_CONTENT, headers, slice(&object.bytes, part))
        }
        Wanted::Unsatisfiable => {
            let mut refusal = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "the object has no such bytes\n");
            refusal.headers_mut().insert(CONTENT_RANGE, printed(format!("bytes */{length}")));
            refusal.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            refusal
        }
    }
}

/// A range of an object. A small one is copied: as a slice it would keep the whole object in memory for as long as somebody reads it.
fn slice(bytes: &Bytes, part: Range<usize>) -> Bytes {
    if is_copied(part.len(), bytes.len()) {
        return bytes.get(part).map(Bytes::copy_from_slice).unwrap_or_default();
    }
    bytes.slice(part)
}

/// Whether a range of so many bytes is a copy.
const fn is_copied(length: usize, of: usize) -> bool {
    length <= COPIED_BYTES_MAX && length < of
}

/// Items one after the other, as they are: a CBOR sequence (RFC 8742).
pub(super) fn sequence(items: Vec<Bytes>, meta: Meta) -> Response {
    let length: usize = items.iter().map(Bytes::len).sum();
    let mut response = Response::new(Body::from_stream(stream::iter(items.into_iter().map(Ok::<_, axum::Error>))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, meta.content_type);
    headers.insert(CACHE_CONTROL, cache_control(meta.kept));
    headers.insert(CONTENT_LENGTH, length.into());
    of_kind(meta.kind, response)
}

/// One line for a person. The text never repeats what the client sent.
pub(super) fn refuse(status: StatusCode, line: impl Into<Bytes>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, cache_control(CacheLifetime::Never));
    of_kind(Kind::Refusal, with_status(status, headers, line.into()))
}

/// A refusal of the API (RFC 9457).
pub(super) fn problem(kind: Type, detail: &str) -> Response {
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = refuse(status, kind.said(detail, None).to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    response
}

/// A 503, for what may work in a moment.
pub(super) fn unavailable(line: &'static str) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, line);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

/// The refusal of a request that may not wait, or no longer; `absent` is its text when there is nothing to wait for.
pub(super) fn no_place(why: NoPlace, absent: &'static str) -> Response {
    match why {
        NoPlace::Gone => refuse(StatusCode::NOT_FOUND, absent),
        NoPlace::Taken => unavailable("too many requests wait here already\n"),
        NoPlace::Displaced => {
            metrics::counter!("viewers_waiting_displaced_total").increment(1);
            unavailable("too many requests of this address wait here already\n")
        }
        NoPlace::Late => unavailable("nothing new came for three target durations\n"),
        NoPlace::Stopping => {
            let mut response = unavailable("the node is stopping\n");
            response.headers_mut().insert(STOPPING, HeaderValue::from_static(""));
            response
        }
    }
}

pub(super) fn of_kind(kind: Kind, mut response: Response) -> Response {
    response.headers_mut().insert(PRIORITY, priority(kind));
    response.extensions_mut().insert(kind);
    response
}

fn described(meta: Meta, tag: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(CONTENT_TYPE, meta.content_type);
    headers.insert(CACHE_CONTROL, cache_control(meta.kept));
    headers.insert(ETAG, printed(format!("\"{tag}\"")));
    headers
}

/// The answer that the preconditions force, if they do.
fn precondition(request: &Request<Body>, headers: &HeaderMap, tag: &str) -> Option<Response> {
    match conditions::evaluate(request.headers(), tag) {
        Verdict::Proceed => None,
        Verdict::Failed => Some(refuse(StatusCode::PRECONDITION_FAILED, "the object has no tag of if-match\n")),
        Verdict::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            // What a 304 has to repeat of the 200 (RFC 9110, 15.4.5).
            for name in [CACHE_CONTROL, ETAG, VARY] {
                if let Some(value) = headers.get(&name) {
                    response.headers_mut().insert(name, value.clone());
                }
            }
            Some(response)
        }
    }
}

fn whole(headers: HeaderMap, bytes: Bytes) -> Response {
    with_status(StatusCode::OK, headers, bytes)
}

fn with_status(status: StatusCode, mut headers: HeaderMap, bytes: Bytes) -> Response {
    headers.insert(CONTENT_LENGTH, bytes.len().into());
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn printed(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits, names and punctuation in ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_range_does_not_keep_its_object_in_memory() {
        let object = Bytes::from(vec![7; 4 * COPIED_BYTES_MAX]);
        let small = slice(&object, 1..COPIED_BYTES_MAX);
        assert!(object.is_unique() && small == object.get(1..COPIED_BYTES_MAX).unwrap());
        let large = slice(&object, 1..COPIED_BYTES_MAX + 2);
        assert!(!object.is_unique() && large == object.get(1..COPIED_BYTES_MAX + 2).unwrap());
    }
}
