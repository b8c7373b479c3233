//! Reading an issuer's keys (JWKS, RFC 7517, section 5), as they are found in the field: what cannot be used is passed over one by one,
//! and the rest counts. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::fingerprint::Fingerprint;

/// Longest key set, in bytes: 500 RSA keys of 4,096 bits.
pub(crate) const SET_BYTES_MAX: usize = 512 * 1024;
/// Most keys of a set.
pub(crate) const KEYS_MAX: usize = 500;
/// Most keys that one token is tried with.
pub(crate) const TRIES_MAX: usize = 4;
/// Lengths of RSA moduli in bytes: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// Members of a key that are handed on, and those that nobody may hand on.
const PUBLIC: [&str; 9] = ["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid"];
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PassedOver {
    /// `use` or `key_ops` say that it is for something else.
    NotForSignatures,
    /// `oct`: whoever knows it can sign.
    Symmetric,
    /// A type, curve or algorithm that is not served.
    Unknown,
    /// Too short or too long an RSA key.
    Size,
    /// A member is missing or not valid.
    Malformed,
    /// More than [`KEYS_MAX`].
    TooMany,
}

impl PassedOver {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotForSignatures => "not_for_signatures",
            Self::Symmetric => "symmetric",
            Self::Unknown => "unknown",
            Self::Size => "size",
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
        }
    }
}

/// A public key, and what it can check.
pub(crate) struct Key {
    key_id: Option<String>,
    /// Its own `alg`, or all that its type can do. What the issuer may use is decided apart.
    algorithms: Vec<Algorithm>,
    pub(crate) fingerprint: Fingerprint,
    /// Length of its signatures.
    pub(crate) signature_bytes: usize,
    pub(crate) verifying: DecodingKey,
    /// Its public members, as it is handed on.
    pub(crate) public: Value,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    pub(crate) passed_over: BTreeMap<PassedOver, usize>,
}

/// The keys that a token may be signed with.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// At least one, at most [`TRIES_MAX`].
    Keys(Vec<&'a Key>),
    /// No key has this name.
    None,
    /// The key of this name signs otherwise.
    OtherAlgorithm(Vec<Algorithm>),
    /// The token names no key, and more than [`TRIES_MAX`] could be meant.
    TooMany,
}

impl KeySet {
    /// Reads a set. Errors when it is no JSON object with a list `keys`, or no key of it can be used: then it is taken for a fault of the
    /// server, and the keys before it stay.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let set: Map<String, Value> = serde_json::from_slice(json).map_err(|_| "its answer is no JSON object")?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("its answer has no list of keys")?;
        let mut found = Self::default();
        for key in keys {
            let read = if found.keys.len() < KEYS_MAX { Key::read(key) } else { Err(PassedOver::TooMany) };
            match read {
                Ok(key) => found.keys.push(key),
                Err(why) => *found.passed_over.entry(why).or_default() += 1,
            }
        }
        if found.keys.is_empty() { Err("none of its keys can be used for signatures") } else { Ok(found) }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys as they are handed on, at most as many.
    pub(crate) fn public(&self, keys_max: usize) -> Vec<Value> {
        self.keys.iter().take(keys_max).map(|key| key.public.clone()).collect()
    }

    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = &Fingerprint> {
        self.keys.iter().map(|key| &key.fingerprint)
    }

    pub(crate) fn has(&self, fingerprint: &Fingerprint) -> bool {
        self.keys.iter().any(|key| key.fingerprint == *fingerprint)
    }

    fn named<'a>(&'a self, name: Option<&str>) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| key.key_id.as_deref() == name)
    }

    pub(crate) fn candidates(&self, key_id: Option<&str>, algorithm: Algorithm) -> Candidates<'_> {
        let fitting: Vec<&Key> = match key_id {
            None => self.keys.iter().filter(|key| key.can(algorithm)).take(TRIES_MAX + 1).collect(),
            Some(_) => {
                let mut of_name = self.named(key_id).peekable();
                if of_name.peek().is_none() {
                    // A key without a name may be meant; its signature tells.
                    self.named(None).filter(|key| key.can(algorithm)).take(TRIES_MAX).collect()
                } else {
                    let fitting: Vec<_> = of_name.filter(|key| key.can(algorithm)).take(TRIES_MAX).collect();
                    if fitting.is_empty() {
                        return Candidates::OtherAlgorithm(
                            self.named(key_id).flat_map(|key| key.algorithms.clone()).collect(),
                        );
                    }
                    fitting
                }
            }
        };
        match fitting.len() {
            0 => Candidates::None,
            1..=TRIES_MAX => Candidates::Keys(fitting),
            _ => Candidates::TooMany,
        }
    }
}

impl Key {
    /// A key that somebody has registered: a JWK without private members, for one algorithm.
    pub(crate) fn registered(jwk: &Value) -> Result<(Self, Algorithm), &'static str> {
        if PRIVATE.iter().any(|name| jwk.get(*name).is_some()) {
            return Err(
                "this key has private members: register the public key alone, and treat this one as known to others",
            );
        }
        let key = Self::read(jwk).map_err(
            |_| "this is no public key (JWK) of RSA from 2,048 bits, P-256, P-384 or Ed25519, for signatures",
        )?;
        match key.algorithms.as_slice() {
            [one] => {
                let one = *one;
                Ok((key, one))
            }
            _ => Err("say which algorithm the key is for: an RSA key needs alg"),
        }
    }

    fn can(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    fn read(key: &Value) -> Result<Self, PassedOver> {
        let key = key.as_object().ok_or(PassedOver::Malformed)?;
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            text(name)
                .and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok())
                .ok_or(PassedOver::Malformed)
        };
        if key.get("use").is_some_and(|purpose| purpose.as_str() != Some("sig")) {
            return Err(PassedOver::NotForSignatures);
        }
        if let Some(operations) = key.get("key_ops") {
            let verify = |operations: &Vec<Value>| operations.iter().any(|operation| operation == "verify");
            if !operations.as_array().is_some_and(verify) {
                return Err(PassedOver::NotForSignatures);
            }
        }
        let (algorithms, material, signature_bytes, verifying) = match text("kty") {
            Some("RSA") => {
                let (modulus, exponent) = (without_zeros(bytes("n")?), without_zeros(bytes("e")?));
                if !MODULUS_BYTES.contains(&modulus.len()) || exponent.is_empty() || exponent.len() > 8 {
                    return Err(PassedOver::Size);
                }
                let verifying = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
                (Algorithm::RSA.to_vec(), [modulus.clone(), exponent].concat(), modulus.len(), verifying)
            }
            Some("EC") => {
                let (algorithm, length) = match text("crv") {
                    Some("P-256") => (Algorithm::ES256, 32),
                    Some("P-384") => (Algorithm::ES384, 48),
                    _ => return Err(PassedOver::Unknown),
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != length || y.len() != length {
                    return Err(PassedOver::Malformed);
                }
                let point = [&[4][..], &x, &y].concat();
                (vec![algorithm], point.clone(), 2 * length, DecodingKey::from_ec_der(&point))
            }
            Some("OKP") if text("crv") == Some("Ed25519") => {
                let point = bytes("x")?;
                if point.len() != 32 {
                    return Err(PassedOver::Malformed);
                }
                (vec![Algorithm::EdDSA], point.clone(), 64, DecodingKey::from_ed_der(&point))
            }
            Some("oct") => return Err(PassedOver::Symmetric),
            _ => return Err(PassedOver::Unknown),
        };
        let algorithms = match key.get("alg") {
            None => algorithms,
            Some(own) => {
                let own = own.as_str().and_then(Algorithm::from_name).filter(|own| algorithms.contains(own));
                vec![own.ok_or(PassedOver::Unknown)?]
            }
        };
        let key_id = text("kid").map(str::to_owned);
        let members = PUBLIC.iter().filter_map(|name| Some(((*name).to_owned(), key.get(*name)?.clone())));
        let public = Value::Object(members.collect());
        Ok(Self { key_id, algorithms, fingerprint: Fingerprint::of(&material), signature_bytes, verifying, public })
    }
}

/// Some issuers write numbers with the zero that ASN.1 puts before them.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.split_off(zeros.min(number.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use testkit::jwt::SigningKey;

    use super::*;

    fn parse(keys: &Value) -> Result<KeySet, &'static str> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// Case B2: Entra has no `alg`, others have keys for encryption, unknown types or symmetric ones among theirs.
    #[test]
    fn keys_that_cannot_be_used_are_passed_over_one_by_one() {
        let rsa = SigningKey::rsa("a");
        let mut entra = rsa.jwk();
        entra.as_object_mut().unwrap().remove("alg");
        let mut encryption = rsa.jwk();
        encryption["use"] = "enc".into();
        let mut weak = rsa.jwk();
        weak["n"] = "AQAB".into();
        let mut pinned = rsa.jwk();
        pinned["alg"] = "HS256".into();
        let mut wrapping = rsa.jwk();
        wrapping["key_ops"] = json!(["wrapKey"]);
        let point = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
        let set = parse(&json!([
            entra, encryption, weak, pinned, wrapping, point, 7, {}, {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
            SigningKey::p384("b").jwk(), SigningKey::ed25519("c").jwk(),
        ]))
        .unwrap();
        assert_eq!(set.len(), 3);
        let counted: Vec<_> = set.passed_over.iter().map(|(why, count)| (why.name(), *count)).collect();
        let expected = [("not_for_signatures", 2), ("symmetric", 1), ("unknown", 4), ("size", 1), ("malformed", 2)];
        assert_eq!(counted, expected);
        assert!(matches!(set.candidates(Some("a"), Algorithm::PS512), Candidates::Keys(keys) if keys.len() == 1));
        assert!(parse(&json!([{"kty": "oct", "k": "c2VjcmV0"}])).is_err(), "no key at all is a fault of the server");
        for wrong in ["[]", "{}", r#"{"keys": {}}"#, "<html>", ""] {
            assert!(KeySet::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    /// Case B1: the algorithm comes from the key, not from the token.
    #[test]
    fn key_that_is_pinned_to_an_algorithm_serves_no_other() {
        let set = parse(&json!([SigningKey::rsa("a").jwk()])).unwrap();
        assert!(matches!(set.candidates(Some("a"), Algorithm::RS256), Candidates::Keys(_)));
        let other = set.candidates(Some("a"), Algorithm::RS384);
        assert!(matches!(&other, Candidates::OtherAlgorithm(own) if own == &[Algorithm::RS256]), "{other:?}");
        assert!(matches!(set.candidates(Some("b"), Algorithm::RS256), Candidates::None));
    }

    /// Case B2: two keys of one name, a key without a name, and 500 keys.
    #[test]
    fn names_may_repeat_or_be_missing_and_tries_are_bounded() {
        let (first, second) = (SigningKey::p256("a"), SigningKey::p256("a"));
        let set = parse(&json!([first.jwk(), second.jwk()])).unwrap();
        assert!(matches!(set.candidates(Some("a"), Algorithm::ES256), Candidates::Keys(keys) if keys.len() == 2));
        let mut nameless = first.jwk();
        nameless.as_object_mut().unwrap().remove("kid");
        let set = parse(&json!([nameless])).unwrap();
        for name in [None, Some("whatever")] {
            assert!(matches!(set.candidates(name, Algorithm::ES256), Candidates::Keys(keys) if keys.len() == 1));
        }
        let many: Vec<_> = (0..KEYS_MAX + 3)
            .map(|n| {
                let mut key = first.jwk();
                key["kid"] = n.to_string().into();
                key
            })
            .collect();
        let set = parse(&many.into()).unwrap();
        assert_eq!((set.len(), set.passed_over.get(&PassedOver::TooMany)), (KEYS_MAX, Some(&3)));
        assert!(matches!(set.candidates(Some("499"), Algorithm::ES256), Candidates::Keys(_)));
        assert!(matches!(set.candidates(None, Algorithm::ES256), Candidates::TooMany));
    }

    proptest! {
        /// Whatever a server says, there is an answer.
        #[test]
        fn any_answer_is_read_or_refused(text in ".{0,100}", kty in "RSA|EC|OKP|oct|.{0,5}", crv in "P-256|P-384|Ed25519|.{0,5}", value in ".{0,50}") {
            let _ = KeySet::parse(text.as_bytes());
            let _ = parse(&json!([{"kty": kty, "crv": crv, "n": value, "e": value, "x": value, "y": value, "kid": value, "alg": value}]));
        }
    }
}
