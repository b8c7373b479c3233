//! `/session`: who somebody is, signing in with a name and a password, and signing out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use catalogue::{Edit, People, Person, sha256};
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Principal, audited};
use super::limits::{SIGN_IN, SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS};
use super::person::{self, SessionView};
use super::problem::{Invalid, Problem};
use super::visit::{Visit, Visitor};
use super::{Change, respond};
use crate::ControlState;
use crate::people::{Busy, PASSWORD_BYTES_MAX, no_cookie};

/// Most characters of a name for signing in.
pub(crate) const SIGN_IN_CHARS_MAX: usize = 100;

/// A name and a password.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Credentials {
    /// Upper and lower case are one.
    #[schema(required)]
    name: String,
    #[schema(required)]
    password: String,
}

impl Settings for Credentials {
    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (1, SIGN_IN_CHARS_MAX), errors);
        if self.password.len() > PASSWORD_BYTES_MAX {
            errors.push(Invalid { pointer: "#/password".to_owned(), code: "too_long" });
        }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(Type::RateLimited, busy.to_string()) }
    }
}

/// Counts a guess at a person's password, right or wrong, before anything is looked up.
pub(crate) fn limit(shared: &ControlState, visitor: &Visitor, person: &Person) -> Result<(), Problem> {
    let (now, network) = (shared.node.clock.elapsed(), visitor.network());
    let account = sha256(person.key().as_bytes()).to_string();
    shared.api.take(SIGN_IN_ADDRESS, &network, now)?;
    shared.api.take(SIGN_IN, &format!("{account} {network}"), now)?;
    shared.api.take(SIGN_IN_ACCOUNT, &account, now)
}

/// Who the caller is, and what it may do.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "self",
    responses((status = 200, description = "The session", body = SessionView)),
)]
pub(crate) async fn show(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    Ok(respond(StatusCode::OK, &person::view(&shared, &call.principal, &call.tenant).await?))
}

/// Signs somebody in with a name and a password.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "self", security(()), request_body = Credentials,
    responses((status = 201, description = "The session, with its cookie", body = SessionView), (status = 401, description = "A problem: unauthenticated")),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, visit: Visit) -> Result<Response, Problem> {
    let Credentials { name, password } = body::read(&visit.body)?;
    let (who, password) = (Person::named(&name), Zeroizing::new(password));
    limit(&shared, &visit, &who)?;
    let kept = shared.catalogue.password_of(&who.key()).await?;
    let is_right = shared.passwords.is_right(password, kept).await?;
    if !is_right && !shared.catalogue.has_operator().await? {
        return Err(Problem::new(
            Type::NotSetUp,
            "nobody has set up this server: open the link that its start has printed",
        ));
    }
    if !is_right {
        return Err(person::wrong());
    }
    let begun = person::sign_in(&shared, &visit, &who, (People::default(), None)).await?;
    begun_with(&shared, begun).await
}

/// The answer to somebody who is signed in now.
pub(crate) async fn begun_with(
    shared: &ControlState,
    (who, cookie): (Principal, HeaderValue),
) -> Result<Response, Problem> {
    let mut response = respond(StatusCode::CREATED, &person::view(shared, &who, &who.home).await?);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(audited(response))
}

/// Signs out: the session is over everywhere.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "self",
    responses((status = 204, description = "It is over")),
)]
pub(crate) async fn delete(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let Some(person) = &call.principal.person else {
        return Err(Problem::new(Type::State, "only people have sessions: delete the API key in place of one"));
    };
    let change = Change {
        edit: Edit::People(People { end: Some(person.session.id.clone()), ..People::default() }),
        object: person.member.id.to_string(),
        changes: json!({}),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let mut response = call.commit(&shared, change).await?;
    if let Err(error) = shared.end_session(person.token).await {
        // Control has ended it, and nodes show at most what the person could read.
        tracing::error!(error = format!("{error:#}"), "nodes believe an ended session for ten minutes more");
    }
    response.headers_mut().append(header::SET_COOKIE, HeaderValue::try_from(no_cookie()).map_err(|_| person::wrong())?);
    Ok(response)
}
