//! `/problems`: what each type of refusal means. Types are URLs that lead here.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use node::problem::Type;
use serde_json::{Value, json};

use super::problem::Problem;
use super::respond;

/// All types of problems.
#[utoipa::path(
    get, path = "/api/v1/problems", tag = "problems", security(()),
    responses((status = 200, description = "All types")),
)]
pub(crate) async fn list() -> Response {
    let types: Vec<Value> = Type::ALL.iter().map(|known| known.described()).collect();
    respond(StatusCode::OK, &json!({ "items": types, "next_cursor": null }))
}

/// A type of problems.
#[utoipa::path(
    get, path = "/api/v1/problems/{type}", tag = "problems", security(()), params(("type" = String, Path, description = "Last part of the type")),
    responses((status = 200, description = "What it means"), (status = 404, description = "There is no such type")),
)]
pub(crate) async fn show(Path(name): Path<String>) -> Result<Response, Problem> {
    let known = Type::named(&name).ok_or_else(Problem::not_found)?;
    Ok(respond(StatusCode::OK, &known.described()))
}
