//! `/auth`: signing in at an issuer (OpenID Connect, code flow with PKCE). A browser goes there with a question that only its own cookie can
//! answer, and comes back with a code.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use catalogue::{Id, Kind, Member, MemberEdit, MemberState, People, Person};
use issuers::{Identity, Role};
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::{self, What};
use super::body::{self, Settings, check_text};
use super::limits::SIGN_IN_ADDRESS;
use super::problem::{Invalid, Problem};
use super::visit::{Visit, Visitor};
use super::{person, respond, setup};
use crate::ControlState;
use crate::people::{FLOW_COOKIE, Flow, SignIns, no_flow, return_to};

/// Where issuers send browsers back to.
pub(crate) const CALLBACK: &str = "/api/v1/auth/callback";
/// The page that says what was wrong.
const SIGN_IN_PAGE: &str = "/sign-in";
/// Longest text of a request to sign in.
const TEXT_CHARS_MAX: usize = 512;

/// How somebody wants to sign in.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Login {
    /// URL of the issuer, as `GET /auth` names it.
    #[schema(required)]
    issuer: String,
    /// Path of this server to which the browser returns; `/studio` by default.
    return_to: Option<String>,
    /// Code of a set-up link, for whoever becomes a member with it.
    code: Option<String>,
}

impl Settings for Login {
    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/issuer", &self.issuer, (1, TEXT_CHARS_MAX), errors);
        for (pointer, text) in [("#/return_to", &self.return_to), ("#/code", &self.code)] {
            if let Some(text) = text {
                check_text(pointer, text, (1, TEXT_CHARS_MAX), errors);
            }
        }
    }
}

/// An issuer at which people sign in.
#[derive(Debug, Serialize, ToSchema)]
struct SignInIssuer {
    url: String,
    name: String,
}

/// How people may sign in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignIns)]
struct SignInsView {
    /// Whether there is an operator.
    is_set_up: bool,
    /// With a name and a password.
    password: bool,
    #[schema(max_items = 20)]
    issuers: Vec<SignInIssuer>,
}

/// Where a browser goes.
#[derive(Debug, Serialize, ToSchema)]
struct LoginUrl {
    url: String,
}

/// How people may sign in here.
#[utoipa::path(
    get, path = "/api/v1/auth", tag = "self", security(()),
    responses((status = 200, description = "Issuers, and whether somebody has set up the server", body = SignInsView)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, _: Visit) -> Result<Response, Problem> {
    let issuer = |known: &crate::people::Known| {
        let (url, name) = (known.url.clone(), known.sign_in.name.clone());
        SignInIssuer { url, name }
    };
    let answer = SignInsView {
        is_set_up: shared.catalogue.has_operator().await?,
        password: true,
        issuers: shared.sign_ins.all().iter().map(issuer).collect(),
    };
    Ok(respond(StatusCode::OK, &answer))
}

/// Begins to sign in at an issuer. The answer says where the browser goes.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "self", security(()), request_body = Login,
    responses((status = 200, description = "The issuer's page", body = LoginUrl), (status = 410, description = "A problem: gone")),
)]
pub(crate) async fn login(State(shared): State<Arc<ControlState>>, visit: Visit) -> Result<Response, Problem> {
    let Login { issuer, return_to: to, code } = body::read(&visit.body)?;
    let (url, cookie) = begin(&shared, &visit, &issuer, to.as_deref(), code).await?;
    let mut response = respond(StatusCode::OK, &LoginUrl { url });
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The same for a link: leads to the issuer.
#[utoipa::path(
    get, path = "/api/v1/auth/login", tag = "self", security(()),
    params(
        ("issuer" = String, Query, description = "URL of the issuer"),
        ("return_to" = Option<String>, Query, description = "Path of this server to which the browser returns"),
    ),
    responses((status = 303, description = "The issuer's page", body = LoginUrl), (status = 422, description = "A problem: invalid")),
)]
pub(crate) async fn visit(State(shared): State<Arc<ControlState>>, visit: Visit) -> Result<Response, Problem> {
    let issuer = visit.parameter("issuer").unwrap_or_default();
    let (url, cookie) = begin(&shared, &visit, issuer, visit.parameter("return_to"), None).await?;
    let mut response = leads_to(&url)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

async fn begin(
    shared: &ControlState,
    visitor: &Visitor,
    issuer: &str,
    to: Option<&str>,
    code: Option<String>,
) -> Result<(String, HeaderValue), Problem> {
    shared.api.take(SIGN_IN_ADDRESS, &visitor.network(), shared.node.clock.elapsed())?;
    let unknown = || {
        Problem::invalid(
            "#/issuer",
            "unknown",
            "nobody signs in with this issuer: GET /api/v1/auth names those that there are",
        )
    };
    let known = shared.sign_ins.find(issuer).ok_or_else(unknown)?;
    if let Some(code) = &code {
        // Whoever has a link that is over hears it before the way to the issuer.
        setup::member_of(shared, code).await?;
    }
    if visitor.base_url.is_empty() {
        return Err(Problem::new(Type::Malformed, "the request names no host"));
    }
    let redirect_url = format!("{}{CALLBACK}", visitor.base_url);
    let flow = Flow::new(&known.url, redirect_url, return_to(to), code, shared.node.clock.wall());
    let cookie = flow.cookie(&shared.pepper).and_then(|cookie| secret(&cookie));
    let cookie =
        cookie.ok_or_else(|| Problem::new(Type::Internal, "the way to the issuer does not fit into a cookie"))?;
    Ok((SignIns::url(known, &flow), cookie))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn leads_to(url: &str) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(url).map_err(|_| Problem::new(Type::Internal, "the URL is no header"))?;
    let mut response = respond(StatusCode::SEE_OTHER, &LoginUrl { url: url.to_owned() });
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where an issuer sends a browser back to: signs the person in, and leads on. What is wrong leads to the page for signing in, which says it.
#[utoipa::path(
    get, path = "/api/v1/auth/callback", tag = "self", security(()),
    params(
        ("code" = Option<String>, Query, description = "What is exchanged"), ("state" = Option<String>, Query, description = "What the browser took along"),
        ("iss" = Option<String>, Query, description = "The issuer (RFC 9207)"), ("error" = Option<String>, Query, description = "Why there is no code"),
    ),
    responses((status = 303, description = "The page to which the browser returns, or the one that says what was wrong", body = LoginUrl)),
)]
pub(crate) async fn callback(State(shared): State<Arc<ControlState>>, visit: Visit) -> Result<Response, Problem> {
    let mut response = match signed_in(&shared, &visit).await {
        Ok((to, cookie)) => {
            let mut response = leads_to(&to)?;
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(problem) => {
            // What was refused for its number leaves no record, and of the others there is a bound.
            let what = What {
                action: "auth.callback".to_owned(),
                object: String::new(),
                changes: Value::Null,
                result: problem.kind.name().to_owned(),
                request_id: visit.request_id.clone(),
            };
            if problem.kind != Type::RateLimited {
                audit::note_refusal(&shared, None, None, what).await;
            }
            leads_to(&format!("{SIGN_IN_PAGE}?problem={}", problem.kind.name()))?
        }
    };
    response.headers_mut().append(header::SET_COOKIE, secret(&no_flow()).ok_or_else(person::wrong)?);
    Ok(response)
}

async fn signed_in(shared: &ControlState, visit: &Visit) -> Result<(String, HeaderValue), Problem> {
    let now = shared.node.clock.wall();
    shared.api.take(SIGN_IN_ADDRESS, &visit.network(), shared.node.clock.elapsed())?;
    let refused = |why: &str| {
        tracing::info!(request_id = visit.request_id, why, "nobody was signed in by an issuer");
        person::wrong()
    };
    let cookies = visit.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let flow = Flow::read(cookies, &shared.pepper, now)
        .ok_or_else(|| refused(&format!("{FLOW_COOKIE} is missing, or over")))?;
    let state = visit.parameter("state").unwrap_or_default();
    if aws_lc_rs::constant_time::verify_slices_are_equal(state.as_bytes(), flow.state.as_bytes()).is_err() {
        return Err(refused("the state is another one"));
    }
    if !shared.flows_over.is_first(&flow, now) {
        return Err(refused("it came back twice"));
    }
    // Whoever has mixed up two issuers would give one the code of the other (RFC 9207).
    if visit.parameter("iss").is_some_and(|said| said != flow.issuer) {
        return Err(refused("another issuer has answered"));
    }
    let code = visit.parameter("code").ok_or_else(|| refused("the issuer gives no code"))?;
    let identity = shared.sign_ins.exchange(&flow, code).await.map_err(|error| refused(&label(&error)))?;
    let (member, people) = member_for(shared, &flow, &identity).await?;
    let person = person_of(&identity);
    if matches!(people.member, Some(MemberEdit::Update(_))) {
        shared.forget_tokens_of(&person).await;
    }
    let begun = person::sign_in(shared, visit, &person, (people, member.as_ref())).await;
    let (_, cookie) = begun.map_err(|problem| if problem.is_mismatch() { setup::used() } else { problem })?;
    Ok((flow.return_to, cookie))
}

/// Why an exchange failed, for the log: of a token, it says the kind of fault only.
fn label(error: &anyhow::Error) -> String {
    let refusal = error.downcast_ref::<issuers::Refusal>();
    refusal.map_or_else(|| format!("{error:#}"), |refusal| refusal.label().to_owned())
}

fn person_of(identity: &Identity) -> Person {
    Person::Issued { issuer: identity.issuer.clone(), subject: identity.subject.clone() }
}

/// The membership that an identity has, or gets: by a link, or by the issuer's rules.
async fn member_for(
    shared: &ControlState,
    flow: &Flow,
    identity: &Identity,
) -> Result<(Option<Member>, People), Problem> {
    let person = person_of(identity);
    if let Some(code) = &flow.code {
        let invited = setup::member_of(shared, code).await?;
        if invited.person.is_some() {
            return Err(setup::used());
        }
        let name = if invited.name.is_empty() { name_of(identity) } else { invited.name.clone() };
        let member = Member {
            name,
            person: Some(person),
            state: MemberState::Active,
            invite: None,
            version: invited.version + 1,
            ..invited
        };
        return Ok((Some(member.clone()), with(MemberEdit::Update(member))));
    }
    let tenant = shared.sign_ins.find(&flow.issuer).map_or("", |known| &known.sign_in.tenant);
    let tenant = shared.catalogue.find_tenant(tenant).await?.ok_or_else(person::wrong)?;
    let known = shared.catalogue.membership(&tenant.id, &person.key()).await?;
    // Operators are members of one tenant only.
    let role = identity.role.map(|role| if tenant.is_default() { role } else { role.min(Role::Owner) }).map(Role::name);
    match (known, role) {
        // An owner has decided.
        (Some(known), _) if known.state == MemberState::Suspended => Err(person::wrong()),
        (Some(known), Some(role)) if known.is_by_rule && known.role != role => {
            let member = Member { role: role.to_owned(), version: known.version + 1, ..known };
            Ok((Some(member.clone()), with(MemberEdit::Update(member))))
        }
        (Some(known), None) if known.is_by_rule => Err(person::wrong()),
        (Some(known), _) => Ok((Some(known), People::default())),
        (None, Some(role)) => {
            let now = shared.node.clock.wall();
            let member = Member {
                id: Id::draw(Kind::Member, now),
                tenant: tenant.id,
                name: name_of(identity),
                person: Some(person),
                role: role.to_owned(),
                state: MemberState::Active,
                is_by_rule: true,
                invite: None,
                version: 1,
                created_at: now,
            };
            Ok((Some(member.clone()), with(MemberEdit::Create(member))))
        }
        // Whoever belongs elsewhere is signed in there, and whoever belongs nowhere is not.
        (None, None) => Ok((None, People::default())),
    }
}

fn with(member: MemberEdit) -> People {
    People { member: Some(member), ..People::default() }
}

fn name_of(identity: &Identity) -> String {
    identity.name.clone().unwrap_or_else(|| identity.subject.chars().take(100).collect())
}
