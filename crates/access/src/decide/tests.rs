use std::collections::BTreeSet;
use std::sync::Arc;

use media::ClusterId;
use metadata::{RevokedTokens, TokenId, Verifier, ViewerDigest};
use proptest::prelude::*;

use super::*;
use crate::rules::Facts;
use crate::token::{Claims, Named, Streams, audience};
use crate::{Checked, TokenKey};

const NOW_S: u64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn key() -> TokenKey {
    TokenKey::from_seed(&testkit::viewer_tokens::SEED).unwrap()
}

/// A key of the tenant `acme`.
fn acme_key() -> TokenKey {
    TokenKey::from_seed(&[9; 32]).unwrap()
}

fn key_of(key: &TokenKey, tenant: Option<&str>) -> Verifier {
    let until = UnixMillis(NOW.0 + 7_200_000);
    Verifier { key: key.public(), from: NOW, until, tenant: tenant.map(str::to_owned) }
}

fn claims() -> Claims {
    Claims {
        sub: Some("u81".to_owned()),
        aud: audience(&ClusterId::new("town").unwrap()),
        exp: NOW_S + 3_600,
        nbf: NOW_S,
        jti: TokenId([5; 8]),
        streams: Streams::Some(vec![Named::from(&stream("hall")), Named::from(&stream("open"))]),
        admit_by: None,
        ver: 2,
        origins: Vec::new(),
        strict: false,
        max_viewers: None,
        chat: false,
    }
}

/// `hall` and `vault` need a token, `club` is for members, `attic` is not listed.
fn rules_with(revoked: &[RevokedTokens]) -> Rules {
    let visibility = [
        ("hall", Visibility::Token),
        ("vault", Visibility::Token),
        ("club", Visibility::Members),
        ("attic", Visibility::Unlisted),
    ];
    Rules::from_facts(Facts {
        cluster: ClusterId::new("town").unwrap(),
        visibility: visibility.iter().map(|(name, visibility)| (stream(name), *visibility)).collect(),
        keys: vec![key_of(&key(), None), key_of(&acme_key(), Some("acme"))],
        revoked: revoked.to_vec(),
        of_default: [stream("two.halls")].into(),
        ..Facts::of(ClusterId::new("town").unwrap())
    })
}

fn rules() -> Rules {
    rules_with(&[])
}

fn verified(rules: &Rules, claims: &Claims) -> Verified {
    Verified::read(&claims.sign(&key()).unwrap(), |id| rules.key(id)).unwrap()
}

struct Asked<'a> {
    class: Class,
    stream: &'a str,
    origin: Option<&'a str>,
    at: UnixMillis,
}

const HALL: Asked<'_> = Asked { class: Class::Stream, stream: "hall", origin: None, at: NOW };

fn with_token(rules: &Rules, claims: &Claims, asked: &Asked<'_>) -> Result<Allowed, Refusal> {
    let (token, stream) = (verified(rules, claims), StreamId::new(asked.stream).ok());
    let Asked { class, origin, at, .. } = *asked;
    rules.decide(&Ask { class, stream: stream.as_ref(), token: Some(Ok(&token)), origin, at })
}

fn anonymous(rules: &Rules, class: Class, name: &str) -> Result<Allowed, Refusal> {
    let stream = StreamId::new(name).ok();
    rules.decide(&Ask { class, stream: stream.as_ref(), token: None, origin: None, at: NOW })
}

#[test]
fn without_a_token_what_is_not_public_is_not_there() {
    let rules = rules();
    for class in [Class::Admission, Class::Stream] {
        for (name, allowed) in [("open", true), ("attic", true), ("hall", false), ("club", false), (".", false)] {
            let expected = if allowed { Ok(Allowed::Everybody) } else { Err(Refusal::Absent) };
            assert_eq!(anonymous(&rules, class, name), expected, "{name}");
        }
    }
    assert_eq!(anonymous(&rules, Class::Open, "hall"), Ok(Allowed::Everybody));
    assert!(
        rules.is_listed(&stream("open"))
            && ["attic", "hall", "club"].iter().all(|name| !rules.is_listed(&stream(name)))
    );
    assert_eq!(Refusal::Absent.status(), 404);
}

#[test]
fn token_opens_what_it_names_and_nothing_else_whether_it_is_there_or_not() {
    let rules = rules();
    let holder = Ok(Allowed::Holder(OriginUse::Free));
    for name in ["hall", "open"] {
        for class in [Class::Admission, Class::Stream] {
            assert_eq!(with_token(&rules, &claims(), &Asked { class, stream: name, ..HALL }), holder);
        }
    }
    for name in ["vault", "club", "attic", "nobody-has-this", "."] {
        assert_eq!(with_token(&rules, &claims(), &Asked { stream: name, ..HALL }), Err(Refusal::Elsewhere), "{name}");
    }
    assert_eq!(with_token(&rules, &claims(), &Asked { class: Class::Open, ..HALL }), Err(Refusal::Elsewhere));
    let all = Claims { streams: Streams::All, ..claims() };
    for name in ["hall", "club", "nobody-has-this"] {
        assert_eq!(with_token(&rules, &all, &Asked { stream: name, ..HALL }), holder);
    }
    let elsewhere = Claims { aud: "village".to_owned(), ..claims() };
    assert_eq!(with_token(&rules, &elsewhere, &HALL), Err(Refusal::Elsewhere));
    assert_eq!((Refusal::Elsewhere.status(), Refusal::Elsewhere.problem()), (403, "token-elsewhere"));
}

#[test]
fn token_for_all_streams_opens_those_of_the_tenant_whose_key_it_is() {
    let rules = rules();
    let all = Claims { streams: Streams::All, ..claims() };
    let with = |key: &TokenKey, claims: &Claims, name: &str| {
        let token = Verified::read(&claims.sign(key).unwrap(), |id| rules.key(id)).unwrap();
        let stream = stream(name);
        rules.decide(&Ask {
            class: Class::Stream,
            stream: Some(&stream),
            token: Some(Ok(&token)),
            origin: None,
            at: NOW,
        })
    };
    let (holder, elsewhere) = (Ok(Allowed::Holder(OriginUse::Free)), Err(Refusal::Elsewhere));
    for (name, of_default, of_acme) in [
        ("hall", holder, elsewhere),
        ("acme.hall", elsewhere, holder),
        ("zenith.hall", elsewhere, elsewhere),
        ("two.halls", holder, elsewhere),
    ] {
        assert_eq!(with(&key(), &all, name), of_default, "{name} by a key of default");
        assert_eq!(with(&acme_key(), &all, name), of_acme, "{name} by a key of acme");
        // Naming it does not help either.
        let named = Claims { streams: Streams::Some(vec![Named::from(&stream(name))]), ..claims() };
        assert_eq!(with(&acme_key(), &named, name), of_acme, "{name} by a key of acme");
    }
}

#[test]
fn revocation_of_a_tenant_takes_back_no_other_tenants_tokens() {
    let all = Claims { streams: Streams::All, ..claims() };
    for (revoked, default_is_over, acme_is_over) in [
        (RevokedTokens::Token(TokenId([5; 8])), true, false),
        (RevokedTokens::Token(TokenId([5; 8]).within(Some("acme"))), false, true),
        (RevokedTokens::Token(TokenId([5; 8]).within(Some("zenith"))), false, false),
        (RevokedTokens::Viewer { viewer: ViewerDigest::of("u81"), up_to_ver: 2 }, true, false),
        (RevokedTokens::Viewer { viewer: ViewerDigest::within(Some("acme"), "u81"), up_to_ver: 2 }, false, true),
    ] {
        let rules = rules_with(std::slice::from_ref(&revoked));
        for (key, name, is_over) in [(key(), "hall", default_is_over), (acme_key(), "acme.hall", acme_is_over)] {
            let token = Verified::read(&all.sign(&key).unwrap(), |id| rules.key(id)).unwrap();
            let stream = stream(name);
            let ask =
                Ask { class: Class::Stream, stream: Some(&stream), token: Some(Ok(&token)), origin: None, at: NOW };
            assert_eq!(rules.decide(&ask) == Err(Refusal::Revoked), is_over, "{name} {revoked:?}");
        }
    }
}

#[test]
fn token_begins_and_ends_when_it_says() {
    let rules = rules();
    let at = |seconds: i64| Asked { at: UnixMillis(NOW.0 + seconds * 1_000), ..HALL };
    let ask = |claims: &Claims, seconds| with_token(&rules, claims, &at(seconds));
    assert!(ask(&claims(), 3_599).is_ok());
    assert_eq!(ask(&claims(), 3_600), Err(Refusal::Expired));
    assert!(ask(&claims(), -30).is_ok(), "clocks that are 30 s apart pass");
    assert_eq!(ask(&claims(), -90), Err(Refusal::Invalid(Invalid::UnknownKey)), "and 90 s do not");
    let later = Claims { nbf: NOW_S + 90, ..claims() };
    assert_eq!(ask(&later, 0), Err(Refusal::Invalid(Invalid::NotYet)));
    let long = Claims { exp: NOW_S + 8_000, ..claims() };
    assert_eq!(ask(&long, 7_200), Err(Refusal::Invalid(Invalid::UnknownKey)), "the key has ended");
}

#[test]
fn who_was_admitted_goes_on() {
    let rules = rules();
    let claims = Claims { admit_by: Some(NOW_S + 30), ..claims() };
    let at = |seconds: i64, class| Asked { at: UnixMillis(NOW.0 + seconds * 1_000), class, ..HALL };
    assert!(with_token(&rules, &claims, &at(29, Class::Admission)).is_ok());
    assert_eq!(with_token(&rules, &claims, &at(30, Class::Admission)), Err(Refusal::AdmissionOver));
    assert!(with_token(&rules, &claims, &at(30, Class::Stream)).is_ok());
    assert_eq!(Refusal::AdmissionOver.problem(), "token-expired");
}

#[test]
fn token_is_taken_back_by_its_id_its_viewer_or_its_stream() {
    let viewer = ViewerDigest::of("u81");
    let token = |id: u8| RevokedTokens::Token(TokenId([id; 8]));
    let up_to = |up_to_ver| RevokedTokens::Viewer { viewer, up_to_ver };
    let of = |name: &str, up_to_nbf_s| RevokedTokens::Stream { stream: stream(name), up_to_nbf_s };
    for (revoked, is_over) in [
        (token(5), true),
        (token(6), false),
        (up_to(2), true),
        (up_to(1), false),
        (RevokedTokens::Viewer { viewer: ViewerDigest::of("u82"), up_to_ver: 9 }, false),
        (of("hall", NOW_S), true),
        (of("hall", NOW_S - 1), false),
        (of("open", NOW_S), false),
    ] {
        let rules = rules_with(std::slice::from_ref(&revoked));
        let answer = with_token(&rules, &claims(), &HALL);
        assert_eq!(answer == Err(Refusal::Revoked), is_over, "{revoked:?} {answer:?}");
        let all = Claims { streams: Streams::All, ..claims() };
        assert_eq!(with_token(&rules, &all, &HALL) == Err(Refusal::Revoked), is_over, "{revoked:?}");
    }
}

#[test]
fn pages_are_bound_where_they_begin_and_everything_where_the_token_is_strict() {
    let (rules, site) = (rules(), "https://site.example");
    let lax = Claims { origins: vec![AllowedOrigin::parse(site).unwrap()], ..claims() };
    let strict = Claims { strict: true, ..lax.clone() };
    let (refused, listed, other) =
        (Err(Refusal::Origin), Ok(Allowed::Holder(OriginUse::Listed)), Ok(Allowed::Holder(OriginUse::Other)));
    for (claims, class, origin, expected) in [
        (&lax, Class::Admission, Some(site), listed),
        (&lax, Class::Admission, Some("https://site.example.evil.net"), refused),
        (&lax, Class::Admission, Some("null"), refused),
        (&lax, Class::Admission, None, other),
        (&lax, Class::Stream, Some("https://evil.net"), other),
        (&strict, Class::Stream, Some(site), listed),
        (&strict, Class::Stream, Some("https://evil.net"), refused),
        (&strict, Class::Stream, None, refused),
        (&strict, Class::Admission, None, refused),
    ] {
        let answer = with_token(&rules, claims, &Asked { class, origin, ..HALL });
        assert_eq!(answer, expected, "{class:?} {origin:?} {}", claims.strict);
    }
    assert_eq!((Refusal::Origin.status(), Refusal::Origin.problem()), (403, "origin-refused"));
}

#[test]
fn stream_that_may_be_one_that_is_not_understood_is_hidden() {
    let known: BTreeSet<StreamId> = [stream("open")].into();
    let facts = Facts { known: Some(known), ..Facts::of(ClusterId::new("town").unwrap()) };
    let rules = Rules::from_facts(facts);
    assert!(anonymous(&rules, Class::Stream, "open").is_ok());
    assert_eq!(anonymous(&rules, Class::Stream, "newer"), Err(Refusal::Absent));
}

#[test]
fn token_that_was_verified_is_verified_no_more_and_counts_no_longer_than_its_key() {
    let rules = rules();
    let token = claims().sign(&key()).unwrap();
    let mut checked = Checked::new(4);
    let digest = Checked::digest(&token);
    assert!(checked.get(&digest).is_none());
    checked.put(digest, Arc::new(verified(&rules, &claims())));
    let kept = checked.get(&digest).unwrap();
    let hall = stream("hall");
    let ask = Ask { class: Class::Stream, stream: Some(&hall), token: Some(Ok(&kept)), origin: None, at: NOW };
    assert!(rules.decide(&ask).is_ok());
    let without = Rules::from_facts(Facts::of(ClusterId::new("town").unwrap()));
    assert_eq!(without.decide(&ask), Err(Refusal::Invalid(Invalid::UnknownKey)));
    for n in 0..100_u8 {
        checked.put([n; 32], Arc::clone(&kept));
        assert!(checked.len() <= 4, "bounded");
        assert!(checked.get(&digest).is_some(), "what is used stays");
    }
}

proptest! {
    /// Whatever is asked, only who may watch a stream that is not public is let in, and every refusal of a token is 403.
    #[test]
    fn nobody_gets_what_is_not_theirs(
        class in prop_oneof![Just(Class::Admission), Just(Class::Stream), Just(Class::Open)],
        name in prop_oneof!["hall", "vault", "open", "[a-z]{1,20}"],
        has_token in any::<bool>(),
        after in -200_i64..8_000,
        origin in prop::option::of("[a-z:/.]{0,20}"),
    ) {
        let rules = rules();
        let (token, stream) = (verified(&rules, &claims()), stream(&name));
        let at = UnixMillis(NOW.0 + after * 1_000);
        let token = has_token.then_some(Ok(&token));
        let answer = rules.decide(&Ask { class, stream: Some(&stream), token, origin: origin.as_deref(), at });
        let is_named = ["hall", "open"].contains(&name.as_str());
        match answer {
            Ok(Allowed::Everybody) => prop_assert!(!has_token && (class == Class::Open || !["hall", "vault", "club"].contains(&name.as_str()))),
            Ok(Allowed::Holder(_)) => prop_assert!(has_token && is_named && class != Class::Open && (-60..3_600).contains(&after)),
            Err(refusal) => prop_assert_eq!(refusal.status(), if has_token { 403 } else { 404 }),
        }
    }
}
