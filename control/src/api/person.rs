//! People who are signed in: what their cookie makes of a request, and the cookie that follows.

use std::sync::Arc;

use access::session::{LIFE_S, from_cookies};
use access::{Membership, Refused, Role};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use catalogue::{Commit, Edit, Member, People, Person, Session, Tenant};
use media::UnixMillis;
use metadata::SessionToken;
use node::http::Peer;
use node::problem::Type;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::{self, What};
use super::caller::{self, CredentialKind, Principal, TENANT};
use super::problem::Problem;
use super::scopes::Scopes;
use super::signed_in::SignedIn;
use super::visit::Visitor;
use crate::ControlState;
use crate::people::{SESSION_IDLE_MAX, SESSION_LIFE, draw_session};
use crate::restored::ensure_not_restored;

/// Label of the key that makes the secrets of pages.
const CSRF_KEY: &str = "sealcast/csrf";

/// The session token of a request.
pub(crate) fn token_in(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    from_cookies(cookies.filter_map(|value| value.to_str().ok())).filter(|token| !token.is_empty())
}

/// Recognises the credential of a request, whatever it is. A secret in a header counts before a cookie.
///
/// # Errors
/// With 401, and the kind of secret where it belongs at another door.
pub(crate) async fn recognise_any(
    shared: &Arc<ControlState>,
    peer: Option<&Peer>,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    match token_in(headers) {
        Some(token) if !caller::shows_secret(headers) => recognise(shared, token, headers).await,
        _ => caller::recognise(shared, peer, headers).await,
    }
}

/// Recognises a cookie. Its signature only says which session it is: whether that goes on, and what the person may do, is in the catalogue.
///
/// # Errors
/// With 401.
pub(crate) async fn recognise(shared: &ControlState, text: &str, headers: &HeaderMap) -> Result<Principal, Problem> {
    let (rules, now) = (shared.session_rules(), shared.node.clock.wall());
    let refused = |why: Refused| Problem::new(Type::Unauthenticated, why.to_string());
    let verified = rules.verify(text).map_err(refused)?;
    let is_due = match rules.check(&verified, now) {
        Ok(()) => u64::try_from(now.0 / 1_000).unwrap_or(0) >= verified.claims.iat.saturating_add(LIFE_S / 2),
        // Control makes another for the same session.
        Err(Refused::Expired | Refused::Ended) => true,
        Err(why) => return Err(refused(why)),
    };
    let over = || Problem::new(Type::Expired, "you are not signed in any more: sign in again");
    // A backup still has the members and sessions that have ended after it.
    ensure_not_restored(shared).await?;
    let token = verified.claims.session;
    let session = shared.catalogue.session(&token.to_string(), now).await?.ok_or_else(over)?;
    if now.since(session.seen_at) > SESSION_IDLE_MAX {
        return Err(over());
    }
    let memberships = shared.catalogue.memberships(&session.person).await?;
    let wanted = headers.get(TENANT).map(|wanted| wanted.to_str().unwrap_or_default());
    let (member, home) = chosen(shared, &memberships, wanted).await?.ok_or_else(over)?;
    let csrf = csrf(shared, &session);
    let signed_in = SignedIn { session, token, memberships, member, csrf, is_due };
    Ok(principal(signed_in, home))
}

fn principal(person: SignedIn, home: Tenant) -> Principal {
    Principal {
        kind: CredentialKind::Cookie,
        credential: person.member.id.to_string(),
        name: person.member.name.clone(),
        home,
        scopes: Scopes::of_role(&person.member.role).unwrap_or_default(),
        expires_at: Some(person.session.until),
        person: Some(Arc::new(person)),
    }
}

/// The membership that counts: that of the tenant which the request names. An operator acts in all tenants as one, and any person without a
/// name in the first.
async fn chosen(
    shared: &ControlState,
    memberships: &[Member],
    wanted: Option<&str>,
) -> Result<Option<(Member, Tenant)>, Problem> {
    let operator = memberships.iter().find(|member| member.role == "operator");
    let named = match wanted.filter(|_| operator.is_none()) {
        None => None,
        Some(wanted) => shared.catalogue.find_tenant(wanted).await?,
    };
    let in_named = named.and_then(|tenant| {
        let member = memberships.iter().find(|member| member.tenant == tenant.id)?;
        Some((member.clone(), tenant))
    });
    if in_named.is_some() {
        return Ok(in_named);
    }
    let Some(member) = operator.or_else(|| memberships.first()) else { return Ok(None) };
    let home = shared.catalogue.find_tenant(member.tenant.as_str()).await?;
    Ok(home.map(|home| (member.clone(), home)))
}

fn csrf(shared: &ControlState, session: &Session) -> String {
    shared.pepper.key_for(CSRF_KEY).mac(&session.id).to_string()
}

/// Gives a person whose token is old, or does not count on nodes any more, another one with the response.
pub(crate) async fn renew(shared: &Arc<ControlState>, person: &SignedIn, response: &mut Response) {
    // Whoever signs out has a cookie in the response already.
    if !person.is_due || response.headers().contains_key(header::SET_COOKIE) {
        return;
    }
    let (id, now) = (person.session.id.clone(), shared.node.clock.wall());
    let made = async {
        let cookie = cookie(shared, person.token, &person.session, &person.memberships).await?;
        shared.catalogue.session_seen(&id, now).await?;
        Ok::<_, Problem>(cookie)
    };
    match made.await {
        Ok(cookie) => _ = response.headers_mut().append(header::SET_COOKIE, cookie),
        Err(problem) => tracing::warn!(why = problem.detail, "a session was not renewed"),
    }
}

async fn cookie(
    shared: &ControlState,
    token: SessionToken,
    session: &Session,
    memberships: &[Member],
) -> Result<HeaderValue, Problem> {
    let mut tenants = Vec::new();
    for member in memberships.iter().take(access::session::TENANTS_MAX) {
        let tenant = shared.catalogue.find_tenant(member.tenant.as_str()).await?;
        let role = Role::parse(&member.role).unwrap_or(Role::Viewer);
        tenants.extend(tenant.map(|tenant| Membership { tenant: tenant.slug, role }));
    }
    let made = shared.session_cookie(token, (&session.person, tenants), session.until).await;
    let away = |error: anyhow::Error| {
        tracing::error!(error = format!("{error:#}"), "no token was made for a session");
        Problem::new(Type::ControlAway, "control cannot sign anybody in at this moment: try again")
    };
    let mut cookie = HeaderValue::try_from(made.map_err(away)?)
        .map_err(|_| Problem::new(Type::Internal, "the cookie is no header"))?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// Signs a person in, together with what makes that possible.
///
/// # Errors
/// When the change is not possible, or the person is a member of nothing.
pub(crate) async fn sign_in(
    shared: &ControlState,
    visitor: &Visitor,
    person: &Person,
    (people, object): (People, Option<&Member>),
) -> Result<(Principal, HeaderValue), Problem> {
    ensure_not_restored(shared).await?;
    let now = shared.node.clock.wall();
    let token = draw_session();
    let session = Session {
        id: token.to_string(),
        person: person.key(),
        created_at: now,
        seen_at: now,
        until: now.plus(SESSION_LIFE),
    };
    let before = shared.catalogue.memberships(&session.person).await?;
    let member = object.or_else(|| before.first()).ok_or_else(wrong)?;
    let record = audit::record(shared, None, Some(member.tenant.clone()), signed_in(visitor, member));
    let record = catalogue::Record {
        actor: CredentialKind::Cookie.label().to_owned(),
        credential: member.id.to_string(),
        ..record
    };
    let edit = Edit::People(People { begin: Some(session.clone()), ..people });
    shared.catalogue.commit(Commit { edit, record, answer: None }).await?;
    let memberships = shared.catalogue.memberships(&session.person).await?;
    let (member, home) = chosen(shared, &memberships, None).await?.ok_or_else(wrong)?;
    let cookie = cookie(shared, token, &session, &memberships).await?;
    let csrf = csrf(shared, &session);
    let signed_in = SignedIn { session, token, memberships, member, csrf, is_due: false };
    Ok((principal(signed_in, home), cookie))
}

fn signed_in(visitor: &Visitor, member: &Member) -> What {
    What {
        action: visitor.action.clone(),
        object: member.id.to_string(),
        changes: Value::Null,
        result: "done".to_owned(),
        request_id: visitor.request_id.clone(),
    }
}

/// The one answer to whoever is not let in, for whatever reason.
pub(crate) fn wrong() -> Problem {
    Problem::new(Type::Unauthenticated, "the name or the password is wrong, or nobody may sign in with them")
}

/// A tenant that a session is about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionTenant {
    id: String,
    slug: String,
    name: String,
}

/// A tenant in which a person has a role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionMembership {
    id: String,
    slug: String,
    name: String,
    /// Null for a credential that is no person's.
    #[schema(required)]
    role: Option<String>,
}

/// Who a caller is, and what it may do.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    #[schema(extensions(("x-extensible-enum" = json!(["api_key", "cookie", "jwt", "certificate"]))))]
    kind: &'static str,
    /// Identity of the credential.
    credential: String,
    name: String,
    #[schema(required)]
    role: Option<String>,
    tenant: SessionTenant,
    #[schema(max_items = 200)]
    tenants: Vec<SessionMembership>,
    #[schema(max_items = 64)]
    scopes: Vec<&'static str>,
    /// What a change by cookie sends as x-sealcast-csrf; null for other credentials.
    #[schema(required)]
    csrf: Option<String>,
    #[schema(required)]
    expires_at: Option<i64>,
}

pub(crate) async fn view(shared: &ControlState, who: &Principal, tenant: &Tenant) -> Result<SessionView, Problem> {
    let of = |tenant: &Tenant| {
        let (id, slug, name) = (tenant.id.to_string(), tenant.slug.clone(), tenant.name.clone());
        SessionTenant { id, slug, name }
    };
    let named = |tenant: &Tenant, role: Option<&str>| {
        let SessionTenant { id, slug, name } = of(tenant);
        SessionMembership { id, slug, name, role: role.map(str::to_owned) }
    };
    let mut tenants = Vec::new();
    for member in who.person.iter().flat_map(|person| &person.memberships) {
        if let Some(tenant) = shared.catalogue.find_tenant(member.tenant.as_str()).await? {
            tenants.push(named(&tenant, Some(&member.role)));
        }
    }
    if who.person.is_none() {
        tenants.push(named(&who.home, None));
    }
    let person = who.person.as_ref();
    Ok(SessionView {
        kind: who.kind.label(),
        credential: who.credential.clone(),
        name: who.name.clone(),
        role: person.map(|person| person.member.role.clone()),
        tenant: of(tenant),
        tenants,
        scopes: who.scopes.names(),
        csrf: person.map(|person| person.csrf.clone()),
        expires_at: who.expires_at.map(|at: UnixMillis| at.0),
    })
}
