//! What decides about a token: claims against the issuer's settings, signature against its keys, rights by its rules. Pure.

use std::time::Duration;

use media::{StreamId, UnixMillis};
use serde_json::Value;

use crate::claims::Claims;
use crate::fingerprint::{Fingerprint, Signer};
use crate::identity;
use crate::jwks::{Candidates, Key, KeySet};
use crate::refusal::Refusal;
use crate::settings::{Role, Rule, Settings, Use};
use crate::token::Token;

/// Most streams that a token may name.
const STREAMS_MAX: usize = 100;
/// What a token says to name all streams.
const ALL_STREAMS: &str = "*";

/// The streams that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Streams {
    All,
    /// At most 100.
    These(Vec<StreamId>),
}

impl Streams {
    /// The stream that a publisher means. `asked` is the name that came beside the token, if one did.
    ///
    /// # Errors
    /// When the token does not name it, or several could be meant.
    pub fn one(&self, asked: Option<&str>) -> Result<StreamId, Refusal> {
        match (self, asked) {
            (Self::All, None) => Err(Refusal::SeveralStreams),
            (Self::All, Some(asked)) => StreamId::new(asked).map_err(|_| Refusal::OtherStreams),
            (Self::These(names), Some(asked)) => {
                names.iter().find(|name| name.as_str() == asked).cloned().ok_or(Refusal::OtherStreams)
            }
            (Self::These(names), None) => match names.as_slice() {
                [only] => Ok(only.clone()),
                [] => Err(Refusal::OtherStreams),
                [..] => Err(Refusal::SeveralStreams),
            },
        }
    }
}

/// A token that is good, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The issuer, as its settings name it.
    pub issuer: String,
    /// Who it is about, to the issuer.
    pub subject: Option<String>,
    pub role: Role,
    /// For publishing: at least one.
    pub streams: Streams,
    /// What it opened ends then: `exp` and the leeway.
    pub ends_at: UnixMillis,
    /// The key that it is signed with.
    pub key: Fingerprint,
    /// Issuer, settings and key of what the metadata log said; `None` of an issuer that this node asks itself.
    pub signer: Option<Signer>,
}

/// Why no key has verified a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyProblem {
    /// The key may be new, or may have changed: it is worth asking the issuer.
    Ask(Refusal),
    /// No other key of the issuer would help.
    Refuse(Refusal),
}

/// Checks issuer, audience, kind and times, and whether the issuer signs so at all. `clock_off_ms` is by how much this node's clock is
/// ahead of the issuer's, if that is known.
pub(crate) fn claims(
    settings: &Settings,
    token: &Token<'_>,
    now: UnixMillis,
    clock_off_ms: Option<i64>,
) -> Result<(), Refusal> {
    if !settings.algorithms.contains(&token.algorithm) {
        return Err(Refusal::algorithm(token.algorithm.name(), &settings.algorithms));
    }
    let Claims { audiences, authorized_party, .. } = &token.claims;
    if !is_for(settings, &token.claims) {
        return Err(Refusal::audience(audiences, authorized_party.as_deref(), &settings.audiences));
    }
    if token.claims.is_of_another_kind() {
        return Err(Refusal::Kind);
    }
    times(settings, &token.claims, now, clock_off_ms)
}

/// The same of an ID token, which is for one client, and answers one question.
pub(crate) fn id_claims(
    settings: &Settings,
    token: &Token<'_>,
    (client_id, nonce): (&str, &str),
    now: UnixMillis,
    clock_off_ms: Option<i64>,
) -> Result<(), Refusal> {
    if !settings.algorithms.contains(&token.algorithm) {
        return Err(Refusal::algorithm(token.algorithm.name(), &settings.algorithms));
    }
    identity::check_id_token(client_id, &token.claims, nonce)?;
    times(settings, &token.claims, now, clock_off_ms)
}

/// The role that the first rule gives which matches.
pub(crate) fn role(settings: &Settings, claims: &Claims) -> Option<Role> {
    settings.rules.iter().find(|rule| matches(rule, claims)).map(|rule| rule.role)
}

fn times(settings: &Settings, claims: &Claims, now: UnixMillis, clock_off_ms: Option<i64>) -> Result<(), Refusal> {
    let Claims { expires_at, not_before, issued_at, .. } = claims;
    let leeway = Duration::from_secs(settings.leeway_s);
    let clock = || match clock_off_ms {
        Some(off) if off.unsigned_abs() > u64::try_from(leeway.as_millis()).unwrap_or(u64::MAX) => {
            format!(
                " The clock of this node is {} s {} the issuer's.",
                off.unsigned_abs() / 1_000,
                if off > 0 { "ahead of" } else { "behind" }
            )
        }
        _ => String::new(),
    };
    if expires_at.plus(leeway) <= now {
        return Err(Refusal::Expired { at: *expires_at, now, clock: clock() });
    }
    for at in [not_before, issued_at].into_iter().flatten() {
        if *at > now.plus(leeway) {
            return Err(Refusal::NotYet { at: *at, now, clock: clock() });
        }
    }
    Ok(())
}

/// Whether one of the configured audiences is in `aud` or is `azp`. Keycloak's access tokens have `account` in `aud`, and the client in
/// `azp`.
pub(crate) fn is_for(settings: &Settings, claims: &Claims) -> bool {
    let named = claims.audiences.iter().chain(&claims.authorized_party);
    named.into_iter().any(|name| settings.audiences.contains(name))
}

/// Finds the key that signed the token.
pub(crate) fn signature(keys: &KeySet, token: &Token<'_>) -> Result<Fingerprint, KeyProblem> {
    let candidates = match keys.candidates(token.key_id.as_deref(), token.algorithm) {
        Candidates::Keys(keys) => keys,
        Candidates::None => return Err(KeyProblem::Ask(Refusal::NoKey)),
        Candidates::TooMany => return Err(KeyProblem::Refuse(Refusal::KeyNotNamed)),
        Candidates::OtherAlgorithm(own) => {
            return Err(KeyProblem::Refuse(Refusal::algorithm(token.algorithm.name(), &own)));
        }
    };
    if candidates.iter().all(|key| token.signature_bytes < key.signature_bytes) {
        return Err(KeyProblem::Refuse(Refusal::Cut(token.bytes)));
    }
    let signer = candidates.into_iter().find(|key| verifies(key, token));
    signer.map(|key| key.fingerprint).ok_or(KeyProblem::Ask(Refusal::Signature))
}

fn verifies(key: &Key, token: &Token<'_>) -> bool {
    let algorithm = token.algorithm.for_verifying();
    // An error means that the key cannot be used so; then it has signed nothing.
    jsonwebtoken::crypto::verify(token.signature, token.message, &key.verifying, algorithm).unwrap_or(false)
}

/// What a token allows whose claims and signature are good.
pub(crate) fn rights(settings: &Settings, claims: &Claims, wanted: Use, key: Fingerprint) -> Result<Verified, Refusal> {
    let rule = settings.rules.iter().find(|rule| matches(rule, claims)).ok_or(Refusal::NoRole)?;
    let streams = streams(claims.get(&settings.streams_claim));
    if wanted == Use::Publish {
        if rule.role < Role::Producer {
            return Err(Refusal::Role { has: rule.role, needs: Role::Producer });
        }
        if streams == Streams::These(Vec::new()) {
            return Err(Refusal::NoStreams(settings.streams_claim.clone()));
        }
    }
    Ok(Verified {
        issuer: settings.url.clone(),
        subject: claims.subject.clone(),
        role: rule.role,
        streams,
        ends_at: claims.expires_at.plus(Duration::from_secs(settings.leeway_s)),
        key,
        signer: None,
    })
}

fn matches(rule: &Rule, claims: &Claims) -> bool {
    let equals = |value: &Value| match value {
        Value::String(text) => *text == rule.equals,
        Value::Bool(value) => value.to_string() == rule.equals,
        Value::Number(number) => number.to_string() == rule.equals,
        _ => false,
    };
    match claims.get(&rule.claim) {
        // Words between spaces (RFC 8693, section 4.2).
        Some(Value::String(scope)) if rule.claim == "scope" => scope.split(' ').any(|word| word == rule.equals),
        Some(Value::Array(list)) => list.iter().any(equals),
        Some(value) => equals(value),
        None => false,
    }
}

/// Names that no stream can have are left out.
pub(crate) fn streams(claim: Option<&Value>) -> Streams {
    let names: Vec<&str> = match claim {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if names.contains(&ALL_STREAMS) {
        return Streams::All;
    }
    Streams::These(names.into_iter().filter_map(|name| StreamId::new(name).ok()).take(STREAMS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::jwt::{SigningKey, mac, unsigned};

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::settings::tests::settings;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
    const NOW_S: i64 = NOW.0 / 1_000;

    fn claim_set() -> Value {
        json!({
            "iss": "https://idp.example/", "aud": "sealcast", "sub": "u1", "exp": NOW_S + 300, "iat": NOW_S, "role": "streamer",
            "streams": ["hall"],
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = claim_set();
        change(&mut claims);
        claims
    }

    fn set(keys: &[&SigningKey]) -> KeySet {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn check(settings: &Settings, claims: &Value, now: UnixMillis) -> Result<(), Refusal> {
        let text = SigningKey::ed25519("a").token(claims);
        super::claims(settings, &Token::parse(&text)?, now, None)
    }

    /// Case B1: an attacker has the public key in all its forms.
    #[test]
    fn public_key_is_no_secret_of_hmac_and_unsigned_is_refused() {
        let key = SigningKey::rsa("a");
        let keys = set(&[&key]);
        for form in key.public_forms() {
            for algorithm in ["HS256", "HS384", "HS512"] {
                let forged = mac(algorithm, "a", &claim_set(), &form);
                assert!(matches!(Token::parse(&forged), Err(Refusal::Algorithm { .. })), "{algorithm}");
                // The same bytes, said to be RS256.
                let renamed = mac("RS256", "a", &claim_set(), &form);
                let token = Token::parse(&renamed).unwrap();
                assert_eq!(signature(&keys, &token), Err(KeyProblem::Refuse(Refusal::Cut(renamed.len()))));
            }
        }
        assert!(matches!(Token::parse(&unsigned(&claim_set())), Err(Refusal::Algorithm { .. })));
        let other = key.token_as("RS384", &claim_set());
        let pinned = signature(&keys, &Token::parse(&other).unwrap());
        assert!(
            matches!(&pinned, Err(KeyProblem::Refuse(Refusal::Algorithm { expected, .. })) if expected == "RS256"),
            "{pinned:?}"
        );
        let not_allowed = super::claims(&settings(), &Token::parse(&other).unwrap(), NOW, None);
        assert!(matches!(not_allowed, Err(Refusal::Algorithm { .. })), "{not_allowed:?}");
        let good = key.token(&claim_set());
        assert!(signature(&keys, &Token::parse(&good).unwrap()).is_ok());
    }

    #[test]
    fn every_algorithm_is_verified_and_a_changed_token_is_not() {
        let rsa = SigningKey::rsa("rsa");
        let mut any = rsa.jwk();
        any.as_object_mut().unwrap().remove("alg");
        let others = [SigningKey::p256("p256"), SigningKey::p384("p384"), SigningKey::ed25519("ed")];
        let jwks: Vec<_> = others.iter().map(SigningKey::jwk).chain([any]).collect();
        let keys = KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap();
        let of_rsa = Algorithm::RSA.map(|algorithm| rsa.token_as(algorithm.name(), &claim_set()));
        for text in of_rsa.into_iter().chain(others.iter().map(|key| key.token(&claim_set()))) {
            let token = Token::parse(&text).unwrap();
            assert!(signature(&keys, &token).is_ok(), "{}", token.algorithm);
            let forged = testkit::jwt::with_claims(&text, &with(|c| c["sub"] = "u2".into()));
            let token = Token::parse(&forged).unwrap();
            assert_eq!(signature(&keys, &token), Err(KeyProblem::Ask(Refusal::Signature)), "{}", token.algorithm);
        }
    }

    /// Case B9.
    #[test]
    fn only_a_configured_audience_or_azp_counts_and_messages_say_expected_and_got() {
        let good = |claims: &Value| check(&settings(), claims, NOW);
        good(&claim_set()).unwrap();
        good(&with(|c| c["aud"] = json!(["account", "sealcast"]))).unwrap();
        good(&with(|c| {
            c["aud"] = "account".into();
            c["azp"] = "sealcast".into();
        }))
        .unwrap();
        good(&with(|c| c["azp"] = "another-client".into())).unwrap();
        let wrong = [
            with(|c| c["aud"] = "another-project".into()),
            with(|c| c["aud"] = "account".into()),
            with(|c| c["aud"] = json!([])),
            with(|c| {
                c.as_object_mut().unwrap().remove("aud");
            }),
            with(|c| c["aud"] = "Sealcast".into()),
            with(|c| {
                c["aud"] = "account".into();
                c["azp"] = "another-client".into();
            }),
        ];
        for claims in wrong {
            let said = good(&claims).unwrap_err();
            assert!(
                matches!(said, Refusal::Audience { .. }) && said.to_string().contains("expected is \"sealcast\""),
                "{said}"
            );
        }
        let said = good(&with(|c| c["aud"] = "account\u{1b}[2J".into())).unwrap_err().to_string();
        assert!(said.contains("\"account\\u{1b}[2J\""), "no control characters: {said}");
        for kind in [json!({"typ": "ID"}), json!({"typ": "Refresh"}), json!({"at_hash": "x"})] {
            let claims = with(|c| c.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone()));
            assert_eq!(good(&claims), Err(Refusal::Kind), "{kind}");
        }
        good(&with(|c| c["typ"] = "Bearer".into())).unwrap();
    }

    /// Case B10.
    #[test]
    fn clocks_may_be_apart_by_the_leeway_and_no_more() {
        let at = |seconds: i64| UnixMillis(NOW.0 + seconds * 1_000);
        let expired = with(|c| c["exp"] = NOW_S.into());
        check(&settings(), &expired, at(29)).unwrap();
        for late in [30, 90, 600] {
            assert!(matches!(check(&settings(), &expired, at(late)), Err(Refusal::Expired { .. })), "{late}");
        }
        for name in ["nbf", "iat"] {
            let early = with(|c| c[name] = (NOW_S + 30).into());
            check(&settings(), &early, NOW).unwrap();
            for ahead in [31, 90, 200] {
                let early = with(|c| c[name] = (NOW_S + ahead).into());
                assert!(matches!(check(&settings(), &early, NOW), Err(Refusal::NotYet { .. })), "{name} {ahead}");
            }
        }
        let none = Settings { leeway_s: 0, ..settings() };
        assert!(matches!(check(&none, &expired, NOW), Err(Refusal::Expired { .. })));
        let text = SigningKey::ed25519("a").token(&expired);
        let said =
            super::claims(&settings(), &Token::parse(&text).unwrap(), at(90), Some(95_000)).unwrap_err().to_string();
        assert!(said.contains("The clock of this node is 95 s ahead of the issuer's."), "{said}");
    }

    #[test]
    fn first_rule_that_matches_gives_the_role_and_none_is_refused() {
        let rule = |claim: &str, equals: &str, role| Rule { claim: claim.to_owned(), equals: equals.to_owned(), role };
        let rules = vec![
            rule("realm_access.roles", "banned", Role::Viewer),
            rule("realm_access.roles", "streamer", Role::Producer),
            rule("scope", "publish", Role::Owner),
            rule("email_verified", "true", Role::Viewer),
        ];
        let settings = Settings { rules, ..settings() };
        let role = |more: Value| {
            let claims = with(|c| c.as_object_mut().unwrap().extend(more.as_object().unwrap().clone()));
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            rights(&settings, &claims, Use::Api, Fingerprint::of(b"k")).map(|verified| verified.role)
        };
        assert_eq!(role(json!({"realm_access": {"roles": ["x", "streamer"]}})), Ok(Role::Producer));
        assert_eq!(role(json!({"realm_access": {"roles": ["streamer", "banned"]}})), Ok(Role::Viewer));
        assert_eq!(role(json!({"scope": "openid publish"})), Ok(Role::Owner));
        assert_eq!(role(json!({"scope": "openid publisher"})), Err(Refusal::NoRole));
        assert_eq!(role(json!({"email_verified": true})), Ok(Role::Viewer));
        assert_eq!(role(json!({"realm_access": "streamer"})), Err(Refusal::NoRole));
    }

    #[test]
    fn publishing_needs_a_role_and_names_one_stream() {
        let of = |streams: Value, role: Role| {
            let claims = Claims::parse(with(|c| c["streams"] = streams).to_string().as_bytes()).unwrap();
            let mut settings = settings();
            settings.rules[0].role = role;
            rights(&settings, &claims, Use::Publish, Fingerprint::of(b"k"))
        };
        let streams = |value: Value| of(value, Role::Producer).map(|verified| verified.streams);
        let named = |name: &str| name.parse::<StreamId>().unwrap();
        assert_eq!(streams(json!("hall")).unwrap().one(None), Ok(named("hall")));
        assert_eq!(streams(json!(["hall", "stage"])).unwrap().one(None), Err(Refusal::SeveralStreams));
        assert_eq!(streams(json!(["hall", "stage"])).unwrap().one(Some("stage")), Ok(named("stage")));
        assert_eq!(streams(json!(["hall"])).unwrap().one(Some("stage")), Err(Refusal::OtherStreams));
        assert_eq!(streams(json!(["*"])).unwrap().one(Some("stage")), Ok(named("stage")));
        assert_eq!(streams(json!(["*"])).unwrap().one(None), Err(Refusal::SeveralStreams));
        assert_eq!(streams(json!("*")).unwrap().one(Some("../x")), Err(Refusal::OtherStreams));
        for none in [json!([]), json!(7), json!(["a/b"]), Value::Null] {
            assert_eq!(streams(none.clone()), Err(Refusal::NoStreams("streams".to_owned())), "{none}");
        }
        assert!(matches!(of(json!("hall"), Role::Viewer), Err(Refusal::Role { .. })));
    }

    /// Tokens as Supabase and Keycloak document them, with the settings that docs/guide/issuers.md shows.
    #[test]
    fn tokens_of_supabase_and_keycloak_give_the_roles_that_the_guide_says() {
        let cases = [
            (
                testkit::jwt::supabase("https://abc.supabase.co/auth/v1", NOW_S),
                "app_metadata.role",
                "app_metadata.streams",
                "authenticated",
            ),
            (
                testkit::jwt::keycloak("https://idp.example/realms/live", NOW_S),
                "realm_access.roles",
                "sealcast_streams",
                "obs",
            ),
        ];
        for (claims, role, streams_claim, audience) in cases {
            let settings = Settings {
                url: claims["iss"].as_str().unwrap().to_owned(),
                audiences: vec![audience.to_owned()],
                rules: vec![Rule { claim: role.to_owned(), equals: "streamer".to_owned(), role: Role::Producer }],
                streams_claim: streams_claim.to_owned(),
                ..settings()
            };
            check(&settings, &claims, NOW).unwrap_or_else(|why| panic!("{}: {why}", settings.url));
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let verified = rights(&settings, &claims, Use::Publish, Fingerprint::of(b"k")).unwrap();
            assert_eq!(verified.streams.one(None).unwrap().as_str(), "hall", "{}", settings.url);
        }
        let id_token = testkit::jwt::keycloak_id_token("https://idp.example/realms/live", NOW_S);
        let settings = Settings {
            url: "https://idp.example/realms/live".to_owned(),
            audiences: vec!["obs".to_owned()],
            ..settings()
        };
        assert_eq!(check(&settings, &id_token, NOW), Err(Refusal::Kind));
    }
}
