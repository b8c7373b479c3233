//! `/problems`: what each type of refusal means. Types are URLs that lead here.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use node::problem::Type;
use serde::Serialize;
use utoipa::ToSchema;

use super::listing::Rows;
use super::problem::Problem;
use super::respond;

/// What a type of refusals means.
#[derive(Debug, Serialize, ToSchema)]
struct ProblemType {
    /// Its URL.
    r#type: String,
    /// The status of answers of this type.
    status: u16,
    /// What it means, and what a client can do.
    title: &'static str,
}

fn view(known: Type) -> ProblemType {
    ProblemType { r#type: known.url(), status: known.status(), title: known.meaning() }
}

/// All types of problems.
#[utoipa::path(
    get, path = "/api/v1/problems", tag = "problems", security(()),
    responses((status = 200, description = "All types", body = Rows<ProblemType>)),
)]
pub(crate) async fn list() -> Response {
    let items = Type::ALL.iter().copied().map(view).collect();
    respond(StatusCode::OK, &Rows { items, next_cursor: None })
}

/// A type of problems.
#[utoipa::path(
    get, path = "/api/v1/problems/{type}", tag = "problems", security(()), params(("type" = String, Path, description = "Last part of the type")),
    responses((status = 200, description = "What it means", body = ProblemType)),
)]
pub(crate) async fn show(Path(name): Path<String>) -> Result<Response, Problem> {
    let known = Type::named(&name).ok_or_else(Problem::not_found)?;
    Ok(respond(StatusCode::OK, &view(known)))
}
