//! Repeated requests: whoever sends a POST again with the same `Idempotency-Key` gets the same answer, secrets included, though nobody
//! stores these in the clear. The answer is encrypted under a key that is made from the idempotency key, of which only a digest is kept.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::http::{HeaderMap, Method, StatusCode};
use catalogue::{Id, KeptAnswer, sha256};
use media::UnixMillis;
use node::problem::Type;
use serde_json::Value;

use super::problem::Problem;
use crate::ControlState;

/// Characters of an idempotency key: fewer could be guessed, and with it the answer that is kept.
pub(super) const KEY_CHARS_MIN: usize = 20;
pub(super) const KEY_CHARS_MAX: usize = 255;
/// Header of the key.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Requests that are being answered, by tenant and digest of the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<BTreeSet<(Id, String)>>>);

impl UnderWay {
    fn begin(&self, tenant: &Id, key: &str) -> Option<Begun> {
        let place = (tenant.clone(), key.to_owned());
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone());
        is_first.then(|| Begun { under_way: self.clone(), place })
    }
}

/// A request's place among those that are being answered; free again when this is dropped.
#[derive(Debug)]
struct Begun {
    under_way: UnderWay,
    place: (Id, String),
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// What has to be kept with the change that a request makes.
#[derive(Debug)]
pub(crate) struct Replay {
    tenant: Id,
    key: String,
    request: String,
    secret: [u8; 32],
    _begun: Begun,
}

/// What a repeated request gets.
pub(crate) enum Asked {
    /// It is the first one.
    First(Replay),
    /// It was answered.
    Again(StatusCode, Value),
}

/// Looks whether a request was answered already. `None` without an idempotency key.
pub(crate) async fn ask(
    shared: &ControlState,
    tenant: &Id,
    (method, path, body): (&Method, &str, &[u8]),
    headers: &HeaderMap,
) -> Result<Option<Asked>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY).filter(|_| method == Method::POST) else { return Ok(None) };
    let is_visible = |key: &&[u8]| key.iter().all(u8::is_ascii_graphic);
    let key =
        Some(key.as_bytes()).filter(is_visible).filter(|key| (KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&key.len()));
    let key = key.ok_or_else(|| {
        let form = format!("Idempotency-Key has to have {KEY_CHARS_MIN} to {KEY_CHARS_MAX} random visible characters");
        Problem::new(Type::Malformed, form)
    })?;
    let of = |label: &str, parts: &[&[u8]]| {
        let mut form = label.as_bytes().to_vec();
        for part in parts {
            form.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            form.extend(*part);
        }
        sha256(&form)
    };
    let tenant_bytes = tenant.as_str().as_bytes();
    let digest = of("sealcast idempotency key", &[tenant_bytes, key]).to_string();
    let request = of("sealcast request", &[method.as_str().as_bytes(), path.as_bytes(), body]).to_string();
    let secret = of("sealcast idempotency answer", &[tenant_bytes, key]).0;
    let begun = shared.api.under_way.begin(tenant, &digest);
    let begun = begun.ok_or_else(|| Problem::new(Type::Running, "a request with this key is being answered"))?;
    match shared.catalogue.kept_answer(tenant, &digest, shared.node.clock.wall()).await? {
        Some(kept) if kept.request != request => {
            Err(Problem::new(Type::KeyReused, "this Idempotency-Key was used with another request"))
        }
        Some(kept) => open(&kept, &secret).map(Some),
        None => Ok(Some(Asked::First(Replay { tenant: tenant.clone(), key: digest, request, secret, _begun: begun }))),
    }
}

impl Replay {
    /// The answer as it is kept.
    pub(crate) fn keep(&self, status: StatusCode, answer: &Value, at: UnixMillis) -> Result<KeptAnswer, Problem> {
        let failed = |_| Problem::new(Type::Internal, "the answer cannot be encrypted");
        let mut text = answer.to_string().into_bytes();
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &self.secret).map_err(failed)?;
        let nonce = cipher.seal_in_place_append_tag(Aad::from(&self.request), &mut text).map_err(failed)?;
        let sealed = hex::encode([&nonce.as_ref()[..], &text[..]].concat());
        let (tenant, key, request) = (self.tenant.clone(), self.key.clone(), self.request.clone());
        Ok(KeptAnswer { tenant, key, request, status: status.as_u16(), sealed, at })
    }
}

fn open(kept: &KeptAnswer, secret: &[u8; 32]) -> Result<Asked, Problem> {
    let opened = || {
        let mut sealed = hex::decode(&kept.sealed).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, secret).ok()?;
        let text = cipher.open_in_place(nonce, Aad::from(&kept.request), text).ok()?;
        Some(Asked::Again(StatusCode::from_u16(kept.status).ok()?, serde_json::from_slice(text).ok()?))
    };
    opened().ok_or_else(|| Problem::new(Type::Internal, "the answer that was kept cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_answer_is_the_first_one_to_the_last_bit() {
        let (tenant, key, request) = (Id::default_tenant(), "k".to_owned(), "r".to_owned());
        let begun = UnderWay::default().begin(&tenant, &key).unwrap();
        let replay = Replay { tenant, key, request, secret: [7; 32], _begun: begun };
        // A parser of numbers that is fast rather than exact takes the first of these for its neighbour.
        let answer = serde_json::json!({ "ratios": [0.393_199_310_302_734_36, 0.1, f64::MAX, f64::MIN_POSITIVE] });
        let kept = replay.keep(StatusCode::CREATED, &answer, UnixMillis(0)).unwrap();
        let Asked::Again(status, again) = open(&kept, &replay.secret).unwrap() else { panic!("it was answered") };
        assert_eq!((status, again), (StatusCode::CREATED, answer));
    }
}
