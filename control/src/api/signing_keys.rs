//! `/signing-keys`: keys of viewer tokens. Control has the private part of those that it makes; a tenant registers the public part of its own.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::{Edit, Id, Kind, PublicKey, SigningKey};
use media::UnixMillis;
use metadata::TokenKeyId;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::{Change, overtaking, respond, row, spread};
use crate::ControlState;
use crate::restored::ensure_not_restored;
use crate::viewer_tokens::KEY_LIFE;

/// Most characters of a key's name.
const NAME_CHARS_MAX: usize = 100;
/// Longest registered key in bytes: an RSA key of 8,192 bits has some 1,500.
const JWK_BYTES_MAX: usize = 4_096;

/// A new key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewSigningKey {
    /// What people call it.
    name: String,
    /// The public key that the tenant signs with: a JWK (RFC 7517) for one algorithm. Without one, control makes a key and keeps it.
    public_key: Option<Value>,
    /// When its tokens count no more, in Unix milliseconds; at most 400 days from now, and that by default.
    expires_at: Option<i64>,
}

impl Settings for NewSigningKey {
    const READ_ONLY: &'static [&'static str] = &["id", "kid", "origin", "algorithm", "version", "created_at"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (0, NAME_CHARS_MAX), errors);
        let mut note = |pointer: &str, code| errors.push(Invalid { pointer: pointer.to_owned(), code });
        if self.public_key.as_ref().is_some_and(|jwk| jwk.to_string().len() > JWK_BYTES_MAX) {
            note("#/public_key", "too_long");
        }
        if self.expires_at.is_some() && self.public_key.is_none() {
            note("#/expires_at", "only_with_public_key");
        }
    }
}

/// What may be changed of a key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SigningKeySettings {
    /// What people call it.
    name: String,
}

impl Settings for SigningKeySettings {
    const READ_ONLY: &'static [&'static str] =
        &["id", "kid", "origin", "algorithm", "public_key", "expires_at", "version", "created_at"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check_text("#/name", &self.name, (0, NAME_CHARS_MAX), errors);
    }
}

/// A key, as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKey)]
struct SigningKeyView {
    id: String,
    name: String,
    /// `control`, which signs with it, or `registered`: the tenant does.
    #[schema(extensions(("x-extensible-enum" = json!(["control", "registered"]))))]
    origin: &'static str,
    kid: String,
    #[schema(required)]
    algorithm: Option<&'static str>,
    /// A JWK (RFC 7517).
    public_key: Value,
    expires_at: i64,
    version: i64,
    created_at: i64,
}

fn view(key: &SigningKey) -> SigningKeyView {
    let (origin, kid, public_key) = match &key.public_key {
        PublicKey::Control(public) => {
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(public) });
            ("control", TokenKeyId::of(public).to_string(), jwk)
        }
        PublicKey::Registered(text) => {
            let jwk: Value = serde_json::from_str(text).unwrap_or_default();
            ("registered", jwk["kid"].as_str().unwrap_or_default().to_owned(), jwk)
        }
    };
    let algorithm = match &key.public_key {
        PublicKey::Control(_) => Some("EdDSA"),
        PublicKey::Registered(_) => issuers::registered(&public_key).ok().map(|(algorithm, _)| algorithm.name()),
    };
    SigningKeyView {
        id: key.id.to_string(),
        name: key.name.clone(),
        origin,
        kid,
        algorithm,
        public_key,
        expires_at: key.not_after.0,
        version: key.version,
        created_at: key.created_at.0,
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

async fn find(shared: &ControlState, call: &Caller, id: &str) -> Result<SigningKey, Problem> {
    shared.catalogue.find_signing_key(&call.tenant.id, id).await?.ok_or_else(Problem::not_found)
}

/// The tenant's keys of viewer tokens.
#[utoipa::path(
    get, path = "/api/v1/signing-keys", tag = "tokens", params(ListParameters),
    responses((status = 200, description = "A page of keys", body = Rows<SigningKeyView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let page = listing::page(&call, Kind::SigningKey, Order::OldestFirst)?;
    let keys = shared.catalogue.signing_keys_of(&call.tenant.id, &page).await?;
    let key = |key: &SigningKey| (key.created_at, key.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(keys, &page, key, view)))
}

/// Makes a key, which signs the tenant's next tokens, or registers the public part of one that the tenant has.
#[utoipa::path(
    post, path = "/api/v1/signing-keys", tag = "tokens", request_body = NewSigningKey,
    responses((status = 201, description = "The key", body = SigningKeyView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let new: NewSigningKey = body::read(&call.body)?;
    ensure_not_restored(&shared).await?;
    let key = match new.public_key {
        None => {
            let drawn = shared.draw_token_key(&call.tenant, new.name);
            drawn.map_err(|error| Problem::new(Type::Internal, format!("{error:#}")))?.0
        }
        Some(jwk) => registered(&shared, &call, (new.name, jwk, new.expires_at))?,
    };
    let change = Change {
        object: key.id.to_string(),
        changes: json!(view(&key)),
        answer: json!(view(&key)),
        edit: Edit::CreateSigningKey(key.clone()),
        status: StatusCode::CREATED,
    };
    let done = call.commit(&shared, change).await;
    if done.is_err() {
        // Its row is not there: nobody will ever use the file.
        shared.forget_token_key(&key).await.map_err(|error| Problem::new(Type::Internal, format!("{error:#}")))?;
    }
    let response = done?;
    spread(&shared).await?;
    Ok(response)
}

/// The SHA-256 of what a public key is (RFC 7638), in base64url.
fn thumbprint(jwk: &Value) -> String {
    // In the order of the alphabet, as `Map` keeps them.
    let members = ["crv", "e", "kty", "n", "x", "y"].into_iter();
    let required: Map<String, Value> =
        members.filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone()))).collect();
    base64url(digest(&SHA256, Value::Object(required).to_string().as_bytes()).as_ref())
}

/// The row of a key that the tenant has.
fn registered(
    shared: &ControlState,
    call: &Caller,
    (name, mut jwk, expires_at): (String, Value, Option<i64>),
) -> Result<SigningKey, Problem> {
    issuers::registered(&jwk).map_err(|why| Problem::invalid("#/public_key", "no_public_key", why))?;
    let now = shared.node.clock.wall();
    let id = Id::draw(Kind::SigningKey, now);
    if jwk.get("kid").is_none() {
        // The same key has the same name, and is there once: who deletes it ends all tokens that it has signed.
        jwk["kid"] = thumbprint(&jwk).into();
    }
    let latest = now.plus(KEY_LIFE);
    let not_after = expires_at.map_or(latest, UnixMillis);
    if not_after <= now || not_after > latest {
        let detail = "expires_at has to be in the future, and at most 400 days from now";
        return Err(Problem::invalid("#/expires_at", "out_of_range", detail));
    }
    let public_key = PublicKey::Registered(jwk.to_string());
    Ok(SigningKey { id, tenant: call.tenant.id.clone(), name, public_key, created_at: now, not_after, version: 1 })
}

/// A key.
#[utoipa::path(
    get, path = "/api/v1/signing-keys/{signing_key}", tag = "tokens",
    params(("signing_key" = String, Path, description = "Identity")),
    responses((status = 200, description = "The key", body = SigningKeyView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let key = find(&shared, &call, &id).await?;
    Ok(row(&call, key.version, view(&key)))
}

/// Changes the name of a key (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/signing-keys/{signing_key}", tag = "tokens",
    params(("signing_key" = String, Path, description = "Identity")), request_body = SigningKeySettings,
    responses((status = 200, description = "The key", body = SigningKeyView)),
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
    let was = SigningKeySettings { name: before.name.clone() };
    let new: SigningKeySettings = body::patch(&was, &call.body)?;
    let changes = body::changes(&was, &new);
    let key = SigningKey { name: new.name, version: before.version + 1, ..before };
    let (object, answer) = (key.id.to_string(), json!(view(&key)));
    call.commit(shared, Change { edit: Edit::UpdateSigningKey(key), object, changes, status: StatusCode::OK, answer })
        .await
}

/// Retires a key: no token that it has signed counts any more.
#[utoipa::path(
    delete, path = "/api/v1/signing-keys/{signing_key}", tag = "tokens",
    params(("signing_key" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let response = overtaking!(call, delete_once(&shared, &id, &call))?;
    spread(&shared).await?;
    Ok(response)
}

async fn delete_once(shared: &ControlState, id: &str, call: &Caller) -> Result<Response, Problem> {
    let key = find(shared, call, id).await?;
    call.ensure_version(key.version)?;
    ensure_not_restored(shared).await?;
    let change = Change {
        object: key.id.to_string(),
        changes: json!(view(&key)),
        edit: Edit::DeleteSigningKey(key.clone()),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let response = call.commit(shared, change).await?;
    tracing::info!(key = %key.id, "key of viewer tokens retired");
    if let Err(error) = shared.forget_token_key(&key).await {
        tracing::warn!(key = %key.id, error = format!("{error:#}"), "the file of a retired key is still there");
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638, section 3.1, and RFC 8037, appendix A.3.
    #[test]
    fn thumbprint_is_that_of_the_specification() {
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
