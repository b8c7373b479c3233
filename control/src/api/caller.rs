//! Who asks: the credential of a request, and what it may do: an API key, the cookie of somebody who is signed in (`person`), a token
//! (JWT) of an issuer, or the certificate of a control node. Another kind of credential only has to make a [`Principal`].

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use catalogue::{ApiSecret, SecretKind, Tenant};
use issuers::{Refusal, Use};
use media::UnixMillis;
use messages::Role;
use node::http::Peer;
use node::problem::Type;
use std::sync::Arc;
use std::time::Duration;

use super::idempotency::Replay;
use super::problem::Problem;
use super::scopes::Scopes;
use super::signed_in::SignedIn;
use crate::ControlState;
use crate::restored::ensure_not_restored;

/// How exactly the last use of a key is noted: more often would write into the catalogue with each request.
const USE_NOTED: Duration = Duration::from_secs(60);
/// Most characters of a token's `sub` in the audit.
const SUBJECT_CHARS_MAX: usize = 64;
/// Header of an API key.
const API_KEY: &str = "x-api-key";
/// Header with which an operator says in whose name it acts.
pub(crate) const TENANT: &str = "x-sealcast-tenant";

/// What kind of credential a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    ApiKey,
    /// The session of a person.
    Cookie,
    /// A token of an issuer.
    Jwt,
    /// The certificate of a control node, on the listener for mutual TLS.
    Certificate,
}

impl CredentialKind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Cookie => "cookie",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

/// A credential that was recognised.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) kind: CredentialKind,
    /// Its identity; never a secret.
    pub(crate) credential: String,
    /// What people call it.
    pub(crate) name: String,
    /// The tenant that it belongs to.
    pub(crate) home: Tenant,
    pub(crate) scopes: Scopes,
    pub(crate) expires_at: Option<UnixMillis>,
    /// Whose session it is, if it is one.
    pub(crate) person: Option<Arc<SignedIn>>,
}

/// A request with the right to be answered.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The tenant that it is about.
    pub(crate) tenant: Tenant,
    pub(crate) request_id: String,
    /// `https://HOST` as the client spells it; empty where it comes past no load balancer.
    pub(crate) base_url: String,
    /// What the audit calls it, such as `streams.create`.
    pub(crate) action: String,
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// Set when the answer has to be kept for whoever repeats the request.
    pub(crate) replay: Option<Replay>,
}

/// The caller, for handlers.
#[derive(Debug, Clone)]
pub(crate) struct Call(pub(crate) Arc<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unguarded = || Problem::new(Type::Internal, "this route is open to nobody");
        parts.extensions.get::<Self>().cloned().ok_or_else(unguarded)
    }
}

impl std::ops::Deref for Call {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Caller {
    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `include` names a part of the answer.
    pub(crate) fn includes(&self, part: &str) -> bool {
        self.parameter("include").is_some_and(|parts| parts.split(',').any(|known| known == part))
    }

    /// Refuses to make a credential that may do more than its maker.
    pub(crate) fn ensure_has(&self, scopes: Scopes) -> Result<(), Problem> {
        if self.principal.scopes.contains(scopes) {
            return Ok(());
        }
        Err(Problem::new(Type::ScopeMissing, "a key may not do more than whoever makes or changes it"))
    }

    /// Refuses a request that names another version than the row has (RFC 9110, 13.1.1).
    pub(crate) fn ensure_version(&self, version: i64) -> Result<(), Problem> {
        let Some(wanted) = self.headers.get(header::IF_MATCH) else { return Ok(()) };
        let own = etag(version);
        let wanted = wanted.to_str().unwrap_or_default();
        if wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == own) {
            return Ok(());
        }
        Err(Problem::new(Type::VersionMismatch, format!("it has version {own} now")))
    }

    /// Whether a change that another one overtook has to be refused, and not made on top of the other.
    pub(crate) fn is_conditional(&self) -> bool {
        self.headers.contains_key(header::IF_MATCH)
    }

    /// Whether the client has this version already.
    pub(crate) fn has_version(&self, version: i64) -> bool {
        let known = self.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let own = etag(version);
        known.is_some_and(|tags| {
            tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == own)
        })
    }
}

/// The entity tag of a version of a row.
pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// A response whose change the audit has already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audited;

/// Marks a response as one that the audit has.
pub(crate) fn audited(mut response: Response) -> Response {
    response.extensions_mut().insert(Audited);
    response
}

/// The secret that a request shows, in either of the two headers.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let malformed = || Problem::new(Type::Malformed, "the header with the credential has no valid form");
    let key = headers.get(API_KEY).map(|value| value.to_str().map_err(|_| malformed())).transpose()?;
    let bearer = match headers.get(header::AUTHORIZATION) {
        None => None,
        Some(value) => {
            let value = value.to_str().map_err(|_| malformed())?;
            let (scheme, secret) = value.split_once(' ').ok_or_else(malformed)?;
            scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
        }
    };
    match (key, bearer) {
        (Some(_), Some(_)) => {
            Err(Problem::new(Type::Malformed, "give one credential: x-api-key or Authorization, not both"))
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// Whether a request shows a secret in a header, or tries to: then no cookie counts.
pub(crate) fn shows_secret(headers: &HeaderMap) -> bool {
    !matches!(shown(headers), Ok(None))
}

/// Recognises the credential of a request, unless it is a cookie.
///
/// # Errors
/// With 401, and the kind of secret where it belongs at another door.
pub(crate) async fn recognise(
    shared: &Arc<ControlState>,
    peer: Option<&Peer>,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    let none = || Problem::new(Type::Unauthenticated, "sign in, or give an API key: x-api-key: sc_…");
    let node = peer.and_then(|peer| peer.node.as_ref());
    let Some(secret) = shown(headers)? else {
        return match node {
            Some((node, Role::Control)) => Ok(Principal {
                kind: CredentialKind::Certificate,
                credential: node.to_string(),
                name: format!("control node {node}"),
                home: shared.catalogue.find_tenant(catalogue::DEFAULT_SLUG).await?.ok_or_else(Problem::not_found)?,
                scopes: Scopes::operator(),
                expires_at: None,
                person: None,
            }),
            _ => Err(none()),
        };
    };
    // A backup still has the keys and issuers that were deleted after it.
    ensure_not_restored(shared).await?;
    match SecretKind::of(secret) {
        SecretKind::ApiKey => {}
        SecretKind::Jwt => {
            let wanted = headers.get(TENANT).and_then(|value| value.to_str().ok());
            if let Some(principal) = bearer(shared, secret, wanted).await? {
                return Ok(principal);
            }
            let detail = "that is a JWT, and no issuer is registered here whose tokens are for the API";
            return Err(Problem::new(Type::WrongKind, detail));
        }
        SecretKind::Unknown => return Err(none()),
        other => {
            let detail = format!("that is {}, and this door takes an API key", other.label());
            return Err(Problem::new(Type::WrongKind, detail));
        }
    }
    let unknown =
        || Problem::new(Type::Unauthenticated, "this API key is not known: it was mistyped, rotated or deleted");
    let (id, secret) = ApiSecret::parse(secret).ok_or_else(unknown)?;
    let now = shared.node.clock.wall();
    let key = shared.catalogue.known_api_key(&id).await?.filter(|key| key.accepts(&secret, now)).ok_or_else(unknown)?;
    if key.is_expired(now) {
        return Err(Problem::new(Type::Expired, "the time of this API key is over"));
    }
    let home = shared.catalogue.find_tenant(key.tenant.as_str()).await?.ok_or_else(unknown)?;
    if key.last_used_at.is_none_or(|at| now.since(at) >= USE_NOTED) {
        let (shared, id) = (Arc::clone(shared), key.id.clone());
        // Nobody waits for it.
        tokio::spawn(async move {
            if let Err(error) = shared.catalogue.api_key_used(&id, now).await {
                tracing::debug!(%id, %error, "the use of an API key was not noted");
            }
        });
    }
    Ok(Principal {
        kind: CredentialKind::ApiKey,
        credential: key.id.to_string(),
        name: key.name,
        home,
        scopes: Scopes::read(&key.scopes),
        expires_at: key.expires_at,
        person: None,
    })
}

/// The caller that a token (JWT) makes: the role that its issuer's rules give, in the issuer's tenant. `None` when no issuer is for the API.
///
/// # Errors
/// When no issuer takes the token.
async fn bearer(shared: &ControlState, token: &str, wanted_tenant: Option<&str>) -> Result<Option<Principal>, Problem> {
    if !shared.issuers.has(Use::Api) {
        return Ok(None);
    }
    let url = issuers::issuer_of(token).unwrap_or_default();
    let mut candidates = Vec::new();
    for (id, running) in shared.issuers.of(&url, Use::Api) {
        let Some(home) = shared.catalogue.find_tenant(running.tenant.as_str()).await? else { continue };
        candidates.push((id, running, home));
    }
    // Two tenants may have the same issuer. Whoever says which one it means is taken at its word; otherwise the older one was first.
    let is_meant = |slug: &str, id: &str| wanted_tenant.is_some_and(|wanted| wanted == slug || wanted == id);
    candidates.sort_by_key(|(_, _, home)| !is_meant(&home.slug, home.id.as_str()));
    let mut why = Refusal::NoIssuer;
    for (id, running, home) in candidates {
        match running.issuers.check(token, Use::Api).await {
            Ok(verified) => {
                let scopes = Scopes::of_role(verified.role.name()).unwrap_or(Scopes::NONE);
                // The operator's role is no tenant's to give, whatever a row says.
                let scopes = if scopes.has_operators() && !home.is_default() { Scopes::owner() } else { scopes };
                let subject: String = verified.subject.unwrap_or_default().chars().take(SUBJECT_CHARS_MAX).collect();
                return Ok(Some(Principal {
                    kind: CredentialKind::Jwt,
                    credential: format!("{id}/{subject}"),
                    name: subject,
                    home,
                    scopes,
                    expires_at: Some(verified.ends_at),
                    person: None,
                }));
            }
            Err(refusal) => why = refusal,
        }
    }
    Err(self::refused(&why))
}

fn refused(refusal: &Refusal) -> Problem {
    let kind = match refusal {
        Refusal::NoRole | Refusal::Role { .. } => Type::ScopeMissing,
        Refusal::Expired { .. } => Type::Expired,
        Refusal::KeysAway(_) | Refusal::Busy => Type::ControlAway,
        _ => Type::Unauthenticated,
    };
    Problem::new(kind, refusal.to_string())
}

/// The tenant that a request is about: the credential's own, or any for whoever may read, or change, all tenants. Foreign and absent ones
/// are the same 404.
pub(crate) async fn tenant_of(
    shared: &ControlState,
    principal: &Principal,
    (headers, is_change): (&HeaderMap, bool),
) -> Result<Tenant, Problem> {
    let Some(wanted) = headers.get(TENANT) else { return Ok(principal.home.clone()) };
    let wanted = wanted.to_str().unwrap_or_default();
    let found = shared.catalogue.find_tenant(wanted).await?;
    let may_act = |tenant: &Tenant| principal.scopes.acts_for_all(is_change) || tenant.id == principal.home.id;
    found.filter(may_act).ok_or_else(Problem::not_found)
}
