//! `/members`: who belongs to a tenant, and what each may do.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Edit, Id, Kind, Member, MemberEdit, MemberState, People, Person, SetUpSecret, Tenant};
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::scopes::Scopes;
use super::{Change, overtaking, respond, row};
use crate::ControlState;
use crate::people::{new_link, viewer_of};
use crate::viewer_tokens::RevokeWanted;

/// Most characters of a member's name.
const NAME_CHARS_MAX: usize = 100;
const READ_ONLY: &[&str] = &["id", "issuer", "subject", "invite_until_at", "invite_url", "version", "created_at"];

/// A new member.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewMember {
    /// What people call it.
    #[schema(required)]
    name: String,
    /// `viewer`, `producer`, `owner` or `operator`.
    role: String,
}

impl Default for NewMember {
    fn default() -> Self {
        Self { name: String::new(), role: "viewer".to_owned() }
    }
}

impl Settings for NewMember {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;

    fn check(&self, errors: &mut Vec<Invalid>) {
        check(&self.name, &self.role, errors);
    }
}

/// What may be changed of a member.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct MemberSettings {
    name: String,
    /// `viewer`, `producer`, `owner` or `operator`. What is set here, no rule of an issuer changes any more.
    role: String,
    /// `active` or `suspended`. A suspended member does nothing, and its sessions show nothing.
    state: String,
}

impl Default for MemberSettings {
    fn default() -> Self {
        Self { name: String::new(), role: "viewer".to_owned(), state: MemberState::Active.name().to_owned() }
    }
}

impl Settings for MemberSettings {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;

    fn check(&self, errors: &mut Vec<Invalid>) {
        check(&self.name, &self.role, errors);
        if MemberState::parse(&self.state).is_none() {
            errors.push(Invalid { pointer: "#/state".to_owned(), code: "unknown" });
        }
    }
}

fn check(name: &str, role: &str, errors: &mut Vec<Invalid>) {
    check_text("#/name", name, (1, NAME_CHARS_MAX), errors);
    if Scopes::of_role(role).is_none() {
        errors.push(Invalid { pointer: "#/role".to_owned(), code: "unknown" });
    }
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    id: String,
    name: String,
    #[schema(extensions(("x-extensible-enum" = json!(["viewer", "producer", "owner", "operator"]))))]
    role: String,
    #[schema(extensions(("x-extensible-enum" = json!(["invited", "active", "suspended"]))))]
    state: &'static str,
    /// Where the person signs in; null: here, with a password.
    #[schema(required)]
    issuer: Option<String>,
    /// The name for signing in, or what the issuer calls the person.
    #[schema(required)]
    subject: Option<String>,
    #[schema(required)]
    invite_until_at: Option<i64>,
    version: i64,
    created_at: i64,
    /// In the answer that makes the link, and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    invite_url: Option<String>,
}

/// A member, as the API shows it; the link stands in the answer to the request that made it, and in no other.
fn view(member: &Member, link: Option<(&SetUpSecret, &str)>) -> MemberView {
    let person = member.person.as_ref();
    MemberView {
        id: member.id.to_string(),
        name: member.name.clone(),
        role: member.role.clone(),
        state: member.state.name(),
        issuer: person.and_then(Person::issuer).map(str::to_owned),
        subject: person.map(|person| person.subject().to_owned()),
        invite_until_at: member.invite.map(|(_, until)| until.0),
        version: member.version,
        created_at: member.created_at.0,
        invite_url: link.map(|(secret, base_url)| format!("{base_url}/setup#{}", secret.expose())),
    }
}

async fn find(shared: &ControlState, call: &Caller, id: &str) -> Result<Member, Problem> {
    shared.catalogue.find_member(&call.tenant.id, id).await?.ok_or_else(Problem::not_found)
}

fn scopes(role: &str) -> Scopes {
    Scopes::of_role(role).unwrap_or_default()
}

/// Refuses a role that the caller does not have, and operators of another tenant than the one of operators.
fn ensure_may(call: &Caller, role: &str) -> Result<(), Problem> {
    call.ensure_has(scopes(role))?;
    if role == "operator" && !call.tenant.is_default() {
        return Err(Problem::invalid(
            "#/role",
            "operators_only",
            "operators are members of the tenant default: invite them there",
        ));
    }
    Ok(())
}

/// The tenant's members.
#[utoipa::path(
    get, path = "/api/v1/members", tag = "members", params(ListParameters),
    responses((status = 200, description = "A page of members", body = Rows<MemberView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::Member, Order::OldestFirst)?;
    let members = shared.catalogue.members(&call.tenant.id, &page).await?;
    let key = |member: &Member| (member.created_at, member.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(members, &page, key, |member| view(member, None))))
}

/// Invites a member. The answer has the link for it, which no other answer has.
#[utoipa::path(
    post, path = "/api/v1/members", tag = "members", request_body = NewMember,
    responses((status = 201, description = "The member, with its link", body = MemberView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: NewMember = body::read(&call.body)?;
    ensure_may(&call, &new.role)?;
    let now = shared.node.clock.wall();
    let member = Member {
        id: Id::draw(Kind::Member, now),
        tenant: call.tenant.id.clone(),
        name: new.name,
        person: None,
        role: new.role,
        state: MemberState::Invited,
        is_by_rule: false,
        invite: None,
        version: 1,
        created_at: now,
    };
    let (secret, member) = new_link(member, now);
    let change = Change {
        object: member.id.to_string(),
        changes: json!(view(&member, None)),
        answer: json!(view(&member, Some((&secret, &call.base_url)))),
        edit: edit(MemberEdit::Create(member)),
        status: StatusCode::CREATED,
    };
    call.commit(&shared, change).await
}

fn edit(member: MemberEdit) -> Edit {
    Edit::People(People { member: Some(member), ..People::default() })
}

/// A member.
#[utoipa::path(
    get, path = "/api/v1/members/{member}", tag = "members", params(("member" = String, Path, description = "Identity")),
    responses((status = 200, description = "The member", body = MemberView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let member = find(&shared, &call, &id).await?;
    Ok(row(&call, member.version, view(&member, None)))
}

/// Changes a member's name, role or state (RFC 7396). What is taken away counts no more within a second.
#[utoipa::path(
    patch, path = "/api/v1/members/{member}", tag = "members", params(("member" = String, Path, description = "Identity")),
    request_body = MemberSettings,
    responses((status = 200, description = "The member", body = MemberView)),
)]
pub(crate) async fn update(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, update_once(&shared, &id, &call))
}

async fn update_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, call, id).await?;
    call.ensure_version(before.version)?;
    call.ensure_has(scopes(&before.role))?;
    let (role, state) = (before.role.clone(), before.state);
    let was = MemberSettings { name: before.name.clone(), role: role.clone(), state: state.name().to_owned() };
    let new: MemberSettings = body::patch(&was, &call.body)?;
    ensure_may(call, &new.role)?;
    let changes = body::changes(&was, &new);
    let next = MemberState::parse(&new.state).unwrap_or(state);
    if next != state && (next == MemberState::Invited || before.person.is_none()) {
        let detail = "the state of somebody who is invited changes when the link is used: delete the member, or invite once more";
        return Err(Problem::new(Type::State, detail));
    }
    let is_other = new.role != role || next != state;
    // A link that was made for another role gives nobody this one.
    let invite = before.invite.filter(|_| new.role == role);
    let member = Member {
        name: new.name,
        invite,
        is_by_rule: before.is_by_rule && new.role == role,
        role: new.role,
        state: next,
        version: before.version + 1,
        ..before
    };
    let (object, answer, person) = (member.id.to_string(), json!(view(&member, None)), member.person.clone());
    let is_out = next == MemberState::Suspended;
    let edit = edit(MemberEdit::Update(member));
    let change = Change { edit, object: object.clone(), changes, status: StatusCode::OK, answer };
    let response = call.commit(shared, change).await?;
    if let Some(person) = person.filter(|_| is_other) {
        shared.forget_tokens_of(&person).await;
    }
    if is_other && (is_out || role == "operator") {
        stop_watching(shared, (&call.tenant, &role), &object).await;
    }
    Ok(response)
}

/// Deletes a member. It may do nothing here from then on.
#[utoipa::path(
    delete, path = "/api/v1/members/{member}", tag = "members", params(("member" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, delete_once(&shared, &id, &call))
}

async fn delete_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let member = find(shared, call, id).await?;
    call.ensure_has(scopes(&member.role))?;
    call.ensure_version(member.version)?;
    let (id, person, role) = (member.id.to_string(), member.person.clone(), member.role.clone());
    let change = Change {
        object: id.clone(),
        changes: json!({ "name": member.name, "role": member.role }),
        edit: edit(MemberEdit::Delete(member)),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let response = call.commit(shared, change).await?;
    if let Err(error) = shared.log_gone_members().await {
        // It is written with the next change of the log.
        tracing::error!(error = format!("{error:#}"), member = id, "a restore would bring a deleted member back");
    }
    if let Some(person) = person {
        shared.forget_tokens_of(&person).await;
        stop_watching(shared, (&call.tenant, &role), &id).await;
    }
    Ok(response)
}

/// Takes the viewer tokens back that a member has got. An operator has got them from any tenant.
async fn stop_watching(shared: &ControlState, (tenant, role): (&Tenant, &str), member: &str) {
    let tenants = match role {
        "operator" => shared.catalogue.all_tenants().await.unwrap_or_else(|_| vec![tenant.clone()]),
        _ => vec![tenant.clone()],
    };
    for tenant in &tenants {
        let tokens = RevokeWanted::Viewer { sub: viewer_of(member), up_to_ver: None };
        if let Err(error) = shared.revoke_tokens(tenant, tokens).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a member that is out may watch for an hour more"
            );
        }
    }
}

/// Makes a new link for a member: for one who is invited, in place of the one before; for one with a password, to set a new one.
#[utoipa::path(
    post, path = "/api/v1/members/{member}/invite", tag = "members", params(("member" = String, Path, description = "Identity")),
    responses((status = 200, description = "The member, with its link", body = MemberView)),
)]
pub(crate) async fn invite(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    overtaking!(call, invite_once(&shared, &id, &call))
}

async fn invite_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let before = find(shared, call, id).await?;
    call.ensure_has(scopes(&before.role))?;
    call.ensure_version(before.version)?;
    match &before.person {
        None => {}
        Some(Person::Issued { .. }) => {
            return Err(Problem::new(Type::State, "this member signs in at an issuer, and has no password here"));
        }
        Some(person) => ensure_may_reset(shared, call, person).await?,
    }
    if before.state == MemberState::Suspended {
        return Err(Problem::new(Type::State, "this member is suspended: make it active first"));
    }
    let next = Member { version: before.version + 1, ..before };
    let (secret, member) = new_link(next, shared.node.clock.wall());
    let change = Change {
        object: member.id.to_string(),
        changes: json!({ "invite_until_at": member.invite.map(|(_, until)| until.0) }),
        answer: json!(view(&member, Some((&secret, &call.base_url)))),
        edit: edit(MemberEdit::Update(member)),
        status: StatusCode::OK,
    };
    call.commit(shared, change).await
}

/// Refuses a new password for a person who may do more elsewhere than the caller: whoever has the link is that person in all tenants.
async fn ensure_may_reset(shared: &ControlState, call: &Caller, person: &Person) -> Result<(), Problem> {
    let all = shared.catalogue.memberships(&person.key()).await?;
    let is_only_here = all.iter().all(|member| member.tenant == call.tenant.id);
    if !is_only_here && !call.principal.scopes.acts_for_all(true) {
        let detail = "this person is a member of other tenants, too: only an operator makes a new password possible";
        return Err(Problem::new(Type::ScopeMissing, detail));
    }
    all.iter().try_for_each(|member| call.ensure_has(scopes(&member.role)))
}
