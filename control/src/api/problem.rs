//! How handlers refuse. The problem travels in the response's extensions, and becomes a body where the request id is known
//! ([`super::gate`]).

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use node::problem::Type;
use serde::Serialize;

use crate::lead::{Away, RETRY_AFTER_S};
use crate::refusal::Refusal;

/// Why a member of a request's body is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Invalid {
    /// Where, as a JSON pointer in a URI fragment (RFC 6901, section 6).
    pub(crate) pointer: String,
    /// What is wrong, such as `too_long`, `unknown` or `read_only`.
    pub(crate) code: &'static str,
}

/// A refusal as it is answered (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Said<'a> {
    /// What kind it is; the URL says what that means.
    r#type: String,
    status: u16,
    /// The meaning of the type.
    title: &'static str,
    /// What happened.
    detail: &'a str,
    /// Identity of the request, also in the log and the audit.
    request_id: &'a str,
    /// Members of the body that are not possible.
    #[serde(skip_serializing_if = "<[Invalid]>::is_empty")]
    errors: &'a [Invalid],
    /// Further members, such as what would go with a tenant.
    #[serde(flatten)]
    #[schema(ignore)]
    more: Option<&'a serde_json::Value>,
}

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Type,
    pub(crate) detail: String,
    pub(crate) errors: Vec<Invalid>,
    pub(crate) retry_after_s: Option<u64>,
    /// Further members, such as what would go with a tenant.
    pub(crate) more: Option<serde_json::Value>,
}

impl Problem {
    pub(crate) fn new(kind: Type, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after_s: None, more: None }
    }

    /// The one answer for what is not there and for what is another tenant's.
    pub(crate) fn not_found() -> Self {
        Self::new(Type::NotFound, "there is nothing of this name or identity here")
    }

    /// One member of the body is not possible.
    pub(crate) fn invalid(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        let errors = vec![Invalid { pointer: pointer.to_owned(), code }];
        Self { errors, ..Self::new(Type::Invalid, detail) }
    }

    /// What is answered.
    pub(crate) fn said<'a>(&'a self, request_id: &'a str) -> Said<'a> {
        Said {
            r#type: self.kind.url(),
            status: self.kind.status(),
            title: self.kind.meaning(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
            more: self.more.as_ref(),
        }
    }

    /// Another change came first.
    pub(crate) fn is_mismatch(&self) -> bool {
        self.kind == Type::VersionMismatch
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<catalogue::Error> for Problem {
    fn from(error: catalogue::Error) -> Self {
        use catalogue::Error as E;
        let kind = match &error {
            E::NoStream(_) => return Self::not_found(),
            E::MisleadingName(_) => return Self::invalid("#/name", "misleading", error.to_string()),
            E::StreamExists(_) | E::KeyTaken(_) | E::SigningKeyTaken | E::SlugTaken(_) | E::SlugOfStream { .. } => {
                Type::NameTaken
            }
            E::Quota { .. } | E::FullOf(_) => Type::Quota,
            E::Full => Type::StorageFull,
            E::LastOwner => Type::LastOwner,
            E::MemberExists | E::NameInUse => Type::NameTaken,
            E::Gone => Type::NotFound,
            E::VersionMismatch => Type::VersionMismatch,
            E::Repeated => Type::Running,
            E::LeaseLost => Type::ControlAway,
            E::ChatBanned { .. } => Type::Banned,
            E::ChatSlow { wait_ms } => {
                let retry_after_s = Some(wait_ms.div_ceil(1_000));
                return Self { retry_after_s, ..Self::new(Type::RateLimited, error.to_string()) };
            }
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "the catalogue failed");
                return Self::new(Type::Internal, "the catalogue failed; the log of control says why");
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Away> for Problem {
    fn from(away: Away) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..Self::new(Type::ControlAway, away.detail) }
    }
}

impl From<Refusal> for Problem {
    /// What the older plane of administration would say.
    fn from(Refusal(status, detail): Refusal) -> Self {
        let kind = match status {
            StatusCode::NOT_FOUND => return Self::not_found(),
            StatusCode::SERVICE_UNAVAILABLE => Type::ControlAway,
            StatusCode::CONFLICT => Type::State,
            StatusCode::BAD_REQUEST => Type::Malformed,
            _ => Type::Internal,
        };
        Self::new(kind, detail)
    }
}
