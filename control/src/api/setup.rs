//! `/setup`: somebody with a set-up link becomes a member, with a name and a password.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use catalogue::{Member, MemberEdit, MemberState, NewPassword, People, Person, SetUpSecret};
use node::problem::Type;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::{self, Settings, check_text};
use super::limits::SIGN_IN_ADDRESS;
use super::person::{self, SessionView};
use super::problem::{Invalid, Problem};
use super::session::{SIGN_IN_CHARS_MAX, begun_with, limit};
use super::visit::Visit;
use crate::ControlState;
use crate::people::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};

/// Longest code in characters; a valid one has 62.
const CODE_CHARS_MAX: usize = 128;

/// Who somebody wants to be.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SetUp {
    /// What stands behind `#` in the set-up link.
    #[schema(required)]
    code: String,
    /// Name for signing in, 1 to 100 characters. Whoever has a new password made keeps the name.
    name: String,
    /// At least 12 characters, and 256 bytes at most.
    #[schema(required)]
    password: String,
}

impl Settings for SetUp {
    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/code", &self.code, (1, CODE_CHARS_MAX), errors);
        check_text("#/name", &self.name, (0, SIGN_IN_CHARS_MAX), errors);
        let mut note = |code| errors.push(Invalid { pointer: "#/password".to_owned(), code });
        match () {
            () if self.password.len() > PASSWORD_BYTES_MAX => note("too_long"),
            () if self.password.chars().count() < PASSWORD_CHARS_MIN => note("too_short"),
            () => {}
        }
    }
}

/// A link that is none, was used, or whose time is over: nobody is told which.
pub(crate) fn used() -> Problem {
    Problem::new(Type::Gone, "this link was used, or its time is over: ask whoever gave it to you for another")
}

/// The member that a link is for.
pub(crate) async fn member_of(shared: &ControlState, code: &str) -> Result<Member, Problem> {
    let secret = SetUpSecret::parse(code).ok_or_else(used)?;
    let member = shared.catalogue.invited_member(&secret.digest()).await?.ok_or_else(used)?;
    let counts = member.invite.is_some_and(|(_, until)| shared.node.clock.wall() < until);
    if counts && member.state != MemberState::Suspended { Ok(member) } else { Err(used()) }
}

/// Makes somebody a member who has a set-up link, and signs in; or gives a member a new password.
#[utoipa::path(
    post, path = "/api/v1/setup", tag = "self", security(()), request_body = SetUp,
    responses((status = 201, description = "The session, with its cookie", body = SessionView), (status = 401, description = "A problem: unauthenticated"), (status = 409, description = "A problem: name-taken"), (status = 410, description = "A problem: gone")),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, visit: Visit) -> Result<Response, Problem> {
    let SetUp { code, name, password } = body::read(&visit.body)?;
    let (code, password) = (Zeroizing::new(code), Zeroizing::new(password));
    shared.api.take(SIGN_IN_ADDRESS, &visit.network(), shared.node.clock.elapsed())?;
    let member = member_of(&shared, &code).await?;
    let (who, password) = match &member.person {
        Some(who @ Person::Named(_)) => {
            let hash = shared.passwords.hash(password).await?;
            (who.clone(), Some(NewPassword { person: who.key(), hash, is_first: false }))
        }
        // An issuer knows this person, and no password does.
        Some(Person::Issued { .. }) => return Err(used()),
        None => {
            let who = Person::named(&name);
            if who.subject().is_empty() {
                return Err(Problem::invalid("#/name", "required", "give the name with which you want to sign in"));
            }
            let password = first_password(&shared, &visit, &who, password).await?;
            (who, password)
        }
    };
    let is_reset = member.person.is_some();
    let display = if member.name.is_empty() { name.trim().to_owned() } else { member.name.clone() };
    let member = Member {
        name: display,
        person: Some(who.clone()),
        state: MemberState::Active,
        invite: None,
        version: member.version + 1,
        ..member
    };
    let people = People {
        member: Some(MemberEdit::Update(member.clone())),
        password,
        end_all_of: is_reset.then(|| who.key()),
        ..People::default()
    };
    if is_reset {
        // Before the new session, whose token counts.
        shared.forget_tokens_of(&who).await;
    }
    let begun = person::sign_in(&shared, &visit, &who, (people, Some(&member))).await;
    // Somebody else has used the link at the same moment.
    let begun = begun.map_err(|problem| if problem.is_mismatch() { used() } else { problem })?;
    begun_with(&shared, begun).await
}

/// The password of somebody who is no member here yet. Who has one already shows it, and so becomes a member of another tenant.
async fn first_password(
    shared: &ControlState,
    visit: &Visit,
    who: &Person,
    password: Zeroizing<String>,
) -> Result<Option<NewPassword>, Problem> {
    limit(shared, visit, who)?;
    let Some(kept) = shared.catalogue.password_of(&who.key()).await? else {
        let hash = shared.passwords.hash(password).await?;
        return Ok(Some(NewPassword { person: who.key(), hash, is_first: true }));
    };
    if shared.passwords.is_right(password, Some(kept)).await? {
        return Ok(None);
    }
    Err(catalogue::Error::NameInUse.into())
}
