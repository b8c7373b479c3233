use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW_S: u64 = 1_800_000_000;

fn at(s: u64) -> UnixMillis {
    UnixMillis(i64::try_from(s * 1_000).unwrap())
}

fn key(seed: u8) -> TokenKey {
    TokenKey::from_seed(&[seed; 32]).unwrap()
}

fn town() -> ClusterId {
    ClusterId::new("town").unwrap()
}

fn claims() -> SessionClaims {
    SessionClaims {
        aud: audience(&town()),
        session: SessionToken([5; 16]),
        person: PersonDigest::of("name:ada"),
        iat: NOW_S,
        tenants: vec![
            Membership { tenant: "default".to_owned(), role: Role::Operator },
            Membership { tenant: "choir".to_owned(), role: Role::Viewer },
        ],
    }
}

fn key_row(seed: u8) -> SessionRow {
    row(SessionRule::Key { key: key(seed).public(), from: at(NOW_S - 100) })
}

fn row(says: SessionRule) -> SessionRow {
    SessionRow { says, until: at(NOW_S + 10_000) }
}

fn rules(rows: &[SessionRow]) -> SessionRules {
    SessionRules::from_rows(rows, &town())
}

/// What comes of a token at this second.
fn outcome(rules: &SessionRules, token: &str, now_s: u64) -> Result<SessionClaims, Refused> {
    let verified = rules.verify(token)?;
    rules.check(&verified, at(now_s))?;
    Ok(verified.claims)
}

#[test]
fn tenant_that_is_gone_or_was_made_later_with_the_name_counts_for_nothing() {
    let of = |tenants: &[(&str, UnixMillis)]| {
        let tenants = tenants.iter().map(|(slug, at)| ((*slug).to_owned(), *at)).collect();
        let rules = rules(&[key_row(1)]).within(tenants);
        rules.memberships(&claims()).into_iter().map(|one| one.tenant).collect::<Vec<_>>()
    };
    let before = at(NOW_S - 9);
    assert_eq!(of(&[]), ["default", "choir"], "a log of before tenants were in it");
    assert_eq!(of(&[("default", before), ("choir", at(NOW_S))]), ["default", "choir"]);
    assert_eq!(of(&[("default", before)]), ["default"]);
    assert_eq!(of(&[("default", before), ("choir", at(NOW_S + 1))]), ["default"]);
}

#[test]
fn token_counts_for_ten_minutes_with_the_key_of_the_log() {
    let (rules, token) = (rules(&[key_row(1)]), claims().sign(&key(1)).unwrap());
    assert!(token.starts_with("scs_") && token.len() < 300, "{}", token.len());
    assert_eq!(outcome(&rules, &token, NOW_S).unwrap(), claims());
    assert!(outcome(&rules, &token, NOW_S + LIFE_S - 1).is_ok());
    assert_eq!(outcome(&rules, &token, NOW_S + LIFE_S), Err(Refused::Expired));
    // Clocks that are 30 s apart pass, and 90 s do not.
    assert!(outcome(&rules, &token, NOW_S - 30).is_ok());
    assert_eq!(outcome(&rules, &token, NOW_S - 90), Err(Refused::NotYet));
    // The key's own time.
    assert_eq!(outcome(&rules, &token, NOW_S + 10_000), Err(Refused::UnknownKey));
}

#[test]
fn forged_foreign_and_mixed_up_tokens_are_refused() {
    let rules = rules(&[key_row(1)]);
    assert_eq!(outcome(&rules, &claims().sign(&key(2)).unwrap(), NOW_S), Err(Refused::UnknownKey), "another key");
    let other = SessionClaims { aud: audience(&ClusterId::new("village").unwrap()), ..claims() };
    assert_eq!(outcome(&rules, &other.sign(&key(1)).unwrap(), NOW_S), Err(Refused::Elsewhere));
    // The id of the cluster's key over a signature of another one.
    let payload = claims().encode();
    let signature = key(2).sign(&to_be_signed(key(1).id(), EXTERNAL, &payload));
    let forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope(key(1).id(), &payload, &signature)));
    assert_eq!(outcome(&rules, &forged, NOW_S), Err(Refused::Signature));
    // A key that signs viewer tokens, too, has signed these bytes for viewers only.
    let signature = key(1).sign(&to_be_signed(key(1).id(), &[], &payload));
    let viewers = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope(key(1).id(), &payload, &signature)));
    assert_eq!(outcome(&rules, &viewers, NOW_S), Err(Refused::Signature));
    let viewer = crate::Claims {
        sub: None,
        aud: audience(&town()),
        exp: NOW_S + 60,
        nbf: NOW_S,
        jti: metadata::TokenId([1; 8]),
        streams: crate::Streams::All,
        admit_by: None,
        ver: 0,
        origins: Vec::new(),
        strict: false,
        max_viewers: None,
        chat: false,
    };
    let viewer = viewer.sign(&key(1)).unwrap();
    assert_eq!(outcome(&rules, &viewer, NOW_S), Err(Refused::Form));
    assert_eq!(outcome(&rules, &viewer.replace("scv_", "scs_"), NOW_S), Err(Refused::Signature));
    let session = claims().sign(&key(1)).unwrap().replace("scs_", "scv_");
    let known = VerifyingKey::new(&key(1).public()).unwrap();
    assert!(crate::Verified::read(&session, |_| Some(&known)).is_err());
    for text in ["", "scs_", "scs_!", "sc_x", &format!("scs_{}", "A".repeat(5_000))] {
        assert_eq!(outcome(&rules, text, NOW_S), Err(Refused::Form), "{text:.20}");
    }
    assert_eq!(outcome(&SessionRules::default(), &claims().sign(&key(1)).unwrap(), NOW_S), Err(Refused::UnknownKey));
}

#[test]
fn ended_session_and_changed_person_count_no_more_and_newer_tokens_do() {
    let token = |iat| SessionClaims { iat, ..claims() }.sign(&key(1)).unwrap();
    let ended = rules(&[key_row(1), row(SessionRule::Ended(claims().session))]);
    assert_eq!(outcome(&ended, &token(NOW_S + 5), NOW_S + 6), Err(Refused::Ended));
    let person = claims().person;
    let changed = rules(&[key_row(1), row(SessionRule::Person { person, up_to_s: NOW_S })]);
    assert_eq!(outcome(&changed, &token(NOW_S), NOW_S), Err(Refused::Ended));
    assert_eq!(changed.first_second(&person, NOW_S), NOW_S + 1);
    assert!(outcome(&changed, &token(changed.first_second(&person, NOW_S)), NOW_S).is_ok());
    let others = rules(&[
        key_row(1),
        row(SessionRule::Ended(SessionToken([6; 16]))),
        row(SessionRule::Person { person: PersonDigest::of("name:bob"), up_to_s: NOW_S }),
    ]);
    assert!(outcome(&others, &token(NOW_S), NOW_S).is_ok());
}

#[test]
fn claims_that_a_reader_would_refuse_are_not_signed() {
    let none = SessionClaims { tenants: Vec::new(), ..claims() };
    let many = SessionClaims { tenants: vec![claims().tenants[0].clone(); TENANTS_MAX + 1], ..claims() };
    let long = Membership { tenant: "x".repeat(65), role: Role::Owner };
    let long = SessionClaims { tenants: vec![long], ..claims() };
    for wrong in [none, many, long] {
        assert_eq!(wrong.sign(&key(1)), None, "{wrong:?}");
    }
    let most = Membership { tenant: "t".repeat(24), role: Role::Owner };
    assert!(SessionClaims { tenants: vec![most; TENANTS_MAX], ..claims() }.sign(&key(1)).is_some());
}

#[test]
fn cookie_is_found_among_others_and_by_its_whole_name() {
    for (headers, expected) in [
        (&["a=1; __Host-sealcast=scs_x; b=2"][..], Some("scs_x")),
        (&["a=1", "__Host-sealcast=scs_x"], Some("scs_x")),
        (&["sealcast=scs_x; x__Host-sealcast=scs_y; __Host-sealcast-auth=z"], None),
        (&[""], None),
    ] {
        assert_eq!(from_cookies(headers.iter().copied()), expected, "{headers:?}");
    }
}

proptest! {
    #[test]
    fn no_changed_token_counts(at_byte in 0_usize..200, bit in 0_u8..8) {
        let (rules, token) = (rules(&[key_row(1)]), claims().sign(&key(1)).unwrap());
        let mut bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap()).unwrap();
        let at_byte = at_byte % bytes.len();
        bytes[at_byte] ^= 1 << bit;
        let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
        prop_assert!(outcome(&rules, &changed, NOW_S).is_err(), "byte {at_byte}");
    }

    #[test]
    fn arbitrary_text_is_no_session_and_never_panics(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let rules = rules(&[key_row(1)]);
        prop_assert!(rules.verify(&text).is_err());
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
        prop_assert!(rules.verify(&text).is_err());
        prop_assert_eq!(SessionClaims::decode(&bytes).map(|claims| claims.encode()), SessionClaims::decode(&bytes).map(|_| bytes.clone()));
    }

    #[test]
    fn token_is_taken_exactly_in_its_life(iat in NOW_S - 5_000..NOW_S + 5_000) {
        let rules = SessionRules::from_rows(&[SessionRow { says: key_row(1).says, until: at(NOW_S).plus(Duration::from_secs(100_000)) }], &town());
        let token = SessionClaims { iat, ..claims() }.sign(&key(1)).unwrap();
        let is_in_time = iat <= NOW_S + 60 && NOW_S < iat + LIFE_S;
        prop_assert_eq!(outcome(&rules, &token, NOW_S).is_ok(), is_in_time);
    }
}
