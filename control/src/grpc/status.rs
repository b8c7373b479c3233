//! Refusals as gRPC says them: a code, a sentence, and the type of the problem in `ErrorInfo`. Pure.

use std::collections::HashMap;
use std::time::Duration;

use node::problem::Type;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::api::Problem;

/// `ErrorInfo.domain`.
const DOMAIN: &str = "sealcast";

/// The code of a type of problems: for what decides by codes alone, such as retries of libraries.
fn code(kind: Type) -> Code {
    match (kind, kind.status()) {
        (Type::Quota, _) | (_, 429 | 507) => Code::ResourceExhausted,
        (Type::NameTaken, _) => Code::AlreadyExists,
        (Type::Running, _) | (_, 412) => Code::Aborted,
        (_, 400 | 413 | 422) => Code::InvalidArgument,
        (_, 401) => Code::Unauthenticated,
        (_, 403) => Code::PermissionDenied,
        (_, 404 | 410) => Code::NotFound,
        (_, 405) => Code::Unimplemented,
        (_, 409 | 428) => Code::FailedPrecondition,
        (_, 421 | 503) => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// A problem as the status of a call.
pub(super) fn of(problem: &Problem, request_id: &str) -> Status {
    if problem.kind == Type::Internal {
        tracing::error!(request_id, detail = problem.detail, "a call failed");
    }
    let mut details = ErrorDetails::new();
    let more = HashMap::from([("request_id".to_owned(), request_id.to_owned())]);
    details.set_error_info(problem.kind.name(), DOMAIN, more);
    if !problem.errors.is_empty() {
        let field = |pointer: &str| pointer.trim_start_matches("#/").replace('/', ".");
        let violations = problem.errors.iter().map(|error| FieldViolation::new(field(&error.pointer), error.code));
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(seconds) = problem.retry_after_s {
        details.set_retry_info(Some(Duration::from_secs(seconds)));
    }
    Status::with_error_details(code(problem.kind), problem.detail.clone(), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_the_type_of_the_problem_and_codes_say_whose_fault_it_is() {
        for kind in Type::ALL {
            let status = of(&Problem::new(*kind, "why"), "req_1");
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (kind.name(), DOMAIN));
            assert_eq!(info.metadata["request_id"], "req_1");
            assert!(!matches!(status.code(), Code::Ok | Code::Unknown), "{}", kind.name());
            assert_eq!(status.code() == Code::Internal, *kind == Type::Internal, "{}", kind.name());
        }
        for (kind, wanted) in [
            (Type::NotFound, Code::NotFound),
            (Type::ScopeMissing, Code::PermissionDenied),
            (Type::NameTaken, Code::AlreadyExists),
            (Type::VersionMismatch, Code::Aborted),
            (Type::RateLimited, Code::ResourceExhausted),
            (Type::ControlAway, Code::Unavailable),
        ] {
            assert_eq!(code(kind), wanted);
        }
    }

    #[test]
    fn fields_that_are_not_possible_are_named_and_so_is_when_there_is_room() {
        let status = of(&Problem::invalid("#/origins/1", "twice", "no"), "req_1");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("origins.1", "twice"));
        let busy = Problem { retry_after_s: Some(7), ..Problem::new(Type::RateLimited, "wait") };
        let retry = of(&busy, "req_1").get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(Duration::from_secs(7)));
    }
}
