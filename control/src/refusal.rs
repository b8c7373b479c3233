//! What a caller is told that gets nothing: one line for a person, and the status that says whose fault it is.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::delegations;
use crate::grants;
use crate::members::NotAdmitted;

/// A refusal: one line for a person, and the status that says whose fault it is.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl From<catalogue::Error> for Refusal {
    fn from(error: catalogue::Error) -> Self {
        use catalogue::Error as E;
        let status = match &error {
            E::NoStream(_) => StatusCode::NOT_FOUND,
            E::MisleadingName(_) => StatusCode::BAD_REQUEST,
            E::StreamExists(_) | E::KeyTaken(_) => StatusCode::CONFLICT,
            E::Full => StatusCode::INSUFFICIENT_STORAGE,
            E::LeaseLost => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error = &error as &dyn std::error::Error, "the catalogue failed");
        }
        Self(status, error.to_string())
    }
}

impl From<grants::Error> for Refusal {
    fn from(error: grants::Error) -> Self {
        use grants::Error as E;
        let status = match &error {
            E::Log(error) => return not_logged(error),
            E::Revoked(_) | E::NodeRevoked(_) | E::NoMember(_) | E::OtherNode { .. } | E::NoStream(_) => {
                StatusCode::FORBIDDEN
            }
            E::TooManyKeys { .. } => StatusCode::TOO_MANY_REQUESTS,
            E::Unknown(_) => StatusCode::NOT_FOUND,
            E::Seal(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

impl From<delegations::Error> for Refusal {
    fn from(error: delegations::Error) -> Self {
        use delegations::Error as E;
        let status = match &error {
            E::Log(error) => return not_logged(error),
            E::NoStreamer(_) | E::NoGrant(_) | E::OtherStream { .. } | E::Signature => StatusCode::FORBIDDEN,
            E::OtherCluster(_) | E::Times { .. } | E::Malformed(_) => StatusCode::BAD_REQUEST,
            E::NoIngest(_) => StatusCode::NOT_FOUND,
            E::Used(_) => StatusCode::CONFLICT,
            E::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        };
        Self(status, error.to_string())
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Self {
        if let NotAdmitted::Log(error) = &why {
            tracing::error!(error = format!("{error:#}"), "the metadata log was not written");
            return Self(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}"));
        }
        tracing::warn!(%why, "a node is no member");
        metrics::counter!("control_not_admitted_total").increment(1);
        Self(StatusCode::FORBIDDEN, why.to_string())
    }
}

/// The metadata log could not be written.
pub(crate) fn not_logged(error: &anyhow::Error) -> Refusal {
    tracing::error!(error = format!("{error:#}"), "the metadata log was not written");
    Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}"))
}

/// A file could not be written.
pub(crate) fn not_kept(error: &anyhow::Error) -> Refusal {
    tracing::error!(error = format!("{error:#}"), "the file of a stream key was not written");
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
}
