//! What a handler answers, whatever door the request came by: HTTP's routes make a response of it, gRPC a message.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::caller::{Caller, audited};
use super::respond;

/// Header of an answer that was kept for whoever repeats the request.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer, as JSON.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Entry of the metadata log that it reflects; the door says it.
    pub(crate) sequence: Option<u64>,
    /// Whether the audit has the change.
    is_audited: bool,
    /// Whether the same was answered before.
    is_replayed: bool,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, sequence: None, is_audited: false, is_replayed: false }
    }

    /// What reads something answers.
    pub(crate) fn read(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// A row that is read: 304 to a client that has this version.
    pub(crate) fn row(call: &Caller, version: i64, body: Value) -> Self {
        let is_known = super::has_tag(&body) && call.has_version(version);
        Self::new(if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }, body)
    }

    /// The answer to a change that the audit has.
    pub(crate) fn audited(status: StatusCode, body: Value) -> Self {
        Self { is_audited: true, ..Self::new(status, body) }
    }

    /// An answer that was kept.
    pub(crate) fn replayed(status: StatusCode, body: Value) -> Self {
        Self { is_audited: true, is_replayed: true, ..Self::new(status, body) }
    }

    pub(crate) fn reflecting(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = if self.status == StatusCode::NO_CONTENT {
            self.status.into_response()
        } else {
            respond(self.status, &self.body)
        };
        if self.status == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        if self.is_replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if self.is_audited { audited(response) } else { response }
    }
}
