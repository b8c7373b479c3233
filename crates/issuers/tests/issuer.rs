//! Tokens of a mock issuer over real sockets, with its faults: the cases B1 to B10.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use issuers::{Algorithm, Bounds, Issuers, Refusal, Role, Rule, Settings, Use, Verified};
use node::CancellationToken;
use node::clock::Clock;
use outbound::{Outbound, Policy, Trust};
use serde_json::{Value, json};
use testkit::issuer::{Fault, Issuer};
use testkit::jwt::{self, SigningKey};
use testkit::wait::{eventually, within};

/// Times that a test can wait for.
const QUICK: Bounds = Bounds {
    interval_min: Duration::from_millis(300),
    refresh: Duration::from_secs(600),
    stale_max: Duration::from_secs(3_600),
    retry_max: Duration::from_millis(300),
    fetch_time: Duration::from_secs(20),
    wait_max: Duration::from_secs(30),
};

/// One RSA key for all tests: making one takes a moment.
fn rsa() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::rsa("rsa-1"))
}

fn settings(issuer: &Issuer) -> Settings {
    Settings {
        url: issuer.url(),
        audiences: vec!["sealcast".to_owned()],
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        jwks_url: issuer.jwks_url(),
        leeway_s: 30,
        uses: vec![Use::Publish, Use::Api],
        rules: vec![Rule { claim: "role".to_owned(), equals: "streamer".to_owned(), role: Role::Producer }],
        streams_claim: "streams".to_owned(),
        sign_in: None,
    }
}

fn issuers_with(issuer: &Issuer, clock: Clock, bounds: Bounds, change: impl FnOnce(&mut Settings)) -> Arc<Issuers> {
    let trust = Trust::load(Some(&issuer.ca()), node::tls::provider()).unwrap();
    let outbound = Outbound::new(Policy::new(["127.0.0.1"]).unwrap(), &trust);
    let mut settings = settings(issuer);
    change(&mut settings);
    Issuers::load(vec![settings], &outbound, clock, bounds).unwrap()
}

fn issuers(issuer: &Issuer) -> Arc<Issuers> {
    issuers_with(issuer, Clock::new(), QUICK, |_| {})
}

fn claims(issuer: &Issuer) -> Value {
    let now_s = Clock::new().wall().0 / 1_000;
    json!({
        "iss": issuer.url(), "aud": "sealcast", "sub": "u1", "iat": now_s, "exp": now_s + 300, "role": "streamer", "streams": ["hall"],
    })
}

async fn check(issuers: &Issuers, token: &str) -> Result<Verified, Refusal> {
    within("a decision", issuers.check(token, Use::Publish)).await
}

/// Case B1.
#[tokio::test]
async fn forged_algorithms_are_refused_before_any_key_is_asked_for() {
    let issuer = Issuer::start(&[rsa()]).await;
    let issuers = issuers(&issuer);
    let claims = claims(&issuer);
    let mut forged = vec![jwt::unsigned(&claims), rsa().token_as("RS384", &claims), rsa().token_as("PS256", &claims)];
    for form in rsa().public_forms() {
        forged.extend(["HS256", "HS384", "HS512"].map(|algorithm| jwt::mac(algorithm, "rsa-1", &claims, &form)));
    }
    for token in &forged {
        let said = check(&issuers, token).await.unwrap_err();
        assert_eq!(said.label(), "token_algorithm", "{said}");
    }
    assert_eq!(issuer.requests(), 0);
    let verified = check(&issuers, &rsa().token(&claims)).await.unwrap();
    assert_eq!((verified.role, verified.subject.as_deref()), (Role::Producer, Some("u1")));
    assert_eq!(verified.streams.one(None).unwrap().as_str(), "hall");
}

/// Case B1: the issuer may sign with both, and this key with one.
#[tokio::test]
async fn key_that_is_pinned_to_one_algorithm_verifies_no_other() {
    let issuer = Issuer::start(&[rsa()]).await;
    let issuers = issuers_with(&issuer, Clock::new(), QUICK, |settings| settings.algorithms.push(Algorithm::RS384));
    let claims = claims(&issuer);
    check(&issuers, &rsa().token(&claims)).await.unwrap();
    let said = check(&issuers, &rsa().token_as("RS384", &claims)).await.unwrap_err();
    assert_eq!(
        said.to_string(),
        "The token is signed by \"RS384\", and this issuer's tokens have to be signed by RS256."
    );
    assert_eq!(issuer.requests(), 1, "no other key would help");
}

/// Case B2.
#[tokio::test]
async fn key_sets_as_found_in_the_field_work() {
    let (other, nameless) = (SigningKey::ed25519("ed"), SigningKey::p256("nobody"));
    let issuer = Issuer::start(&[]).await;
    let mut entra = rsa().jwk();
    entra.as_object_mut().unwrap().remove("alg");
    let mut unnamed = nameless.jwk();
    unnamed.as_object_mut().unwrap().remove("kid");
    let mut encryption = rsa().jwk();
    encryption["use"] = "enc".into();
    let oct = json!({"kty": "oct", "kid": "rsa-1", "k": "c2VjcmV0"});
    let twin = SigningKey::p256("ed").jwk();
    issuer.publish([oct, encryption, json!({"kty": "AKP", "kid": "x"}), twin, entra, other.jwk(), unnamed]);
    let issuers = issuers(&issuer);
    let claims = claims(&issuer);
    for key in [rsa(), &other] {
        check(&issuers, &key.token(&claims)).await.unwrap();
    }
    check(&issuers, &nameless.signed(&json!({"alg": "ES256"}), &claims.to_string())).await.unwrap();
    let status = issuers.status();
    assert_eq!((&status[0]["keys"], &status[0]["keys_passed_over"]["symmetric"]), (&json!(4), &json!(1)), "{status}");
}

/// Case B3, signed.
#[tokio::test]
async fn good_signature_does_not_mend_claims_of_another_type() {
    let issuer = Issuer::start(&[rsa()]).await;
    let issuers = issuers(&issuer);
    let url = issuer.url();
    let header = json!({"alg": "RS256", "kid": "rsa-1"});
    for exp in ["\"9999999999\"", "9999999999.5", "-1", "9223372036854775808", "[9999999999]", "null"] {
        let text =
            format!(r#"{{"iss": "{url}", "aud": "sealcast", "exp": {exp}, "role": "streamer", "streams": "hall"}}"#);
        let said = check(&issuers, &rsa().signed(&header, &text)).await.unwrap_err();
        assert_eq!(said.label(), "token_claim", "{exp}: {said}");
    }
    let missing = format!(r#"{{"iss": "{url}", "aud": "sealcast", "role": "streamer", "streams": "hall"}}"#);
    assert_eq!(check(&issuers, &rsa().signed(&header, &missing)).await.unwrap_err().label(), "token_claim");
    let twice = format!(
        r#"{{"iss": "{url}", "aud": "sealcast", "exp": 9999999999, "role": "streamer", "streams": "hall", "exp": 1}}"#
    );
    assert_eq!(check(&issuers, &rsa().signed(&header, &twice)).await.unwrap_err().label(), "token_malformed");
}

/// Case B4.
#[tokio::test]
async fn new_key_works_within_one_fetch_and_a_flood_of_invented_ones_holds_nobody_back() {
    let issuer = Issuer::start(&[rsa()]).await;
    let bounds = Bounds { interval_min: Duration::from_secs(2), ..QUICK };
    let clock = Clock::new();
    let issuers = issuers_with(&issuer, clock, bounds, |_| {});
    let claims = claims(&issuer);
    check(&issuers, &rsa().token(&claims)).await.unwrap();
    assert_eq!(issuer.requests(), 1);
    let new = SigningKey::p256("new");
    issuer.publish([rsa().jwk(), new.jwk()]);
    check(&issuers, &new.token(&claims)).await.unwrap();
    assert_eq!(issuer.requests(), 2, "one fetch for the new key");
    // Ten thousand tokens with a key id each; they wait for the next fetch, or are refused at once.
    let (begun, before) = (clock.elapsed(), issuer.requests());
    let stranger = SigningKey::p256("stranger");
    let flood: Vec<_> = (0..10_000)
        .map(|n| {
            let token = stranger.signed(&json!({"alg": "ES256", "kid": format!("k{n}")}), &claims.to_string());
            let issuers = Arc::clone(&issuers);
            tokio::spawn(async move { issuers.check(&token, Use::Publish).await })
        })
        .collect();
    for key in [rsa(), &new].into_iter().cycle().take(100) {
        check(&issuers, &key.token(&claims)).await.unwrap();
    }
    for decided in flood {
        let said = within("the flood", decided).await.unwrap().unwrap_err();
        assert!(matches!(said, Refusal::NoKey | Refusal::Busy), "{said}");
    }
    let intervals = (clock.elapsed() - begun).as_secs() / 2;
    let fetches = u64::try_from(issuer.requests() - before).unwrap();
    assert!(fetches >= 1 && fetches <= intervals + 1, "{fetches} fetches in {intervals} intervals");
}

/// Case B5.
#[tokio::test]
async fn changed_key_under_the_same_name_is_fetched_once_and_the_old_one_stays_while_the_issuer_is_away() {
    let issuer = Issuer::start(&[rsa()]).await;
    let issuers = issuers(&issuer);
    let claims = claims(&issuer);
    check(&issuers, &rsa().token(&claims)).await.unwrap();
    let changed = SigningKey::rsa("rsa-1");
    issuer.set(Fault::Down);
    assert_eq!(check(&issuers, &changed.token(&claims)).await, Err(Refusal::Signature));
    check(&issuers, &rsa().token(&claims)).await.unwrap();
    issuer.set(Fault::None);
    issuer.publish([changed.jwk()]);
    let before = issuer.requests();
    check(&issuers, &changed.token(&claims)).await.unwrap();
    assert_eq!(issuer.requests(), before + 1);
    assert_eq!(check(&issuers, &rsa().token(&claims)).await, Err(Refusal::Signature), "the old key is gone");
}

/// Case B6.
#[tokio::test]
async fn thousand_tokens_at_a_cold_start_share_one_fetch() {
    let issuer = Issuer::start(&[rsa()]).await;
    issuer.set(Fault::Slow);
    let issuers = issuers(&issuer);
    let token = rsa().token(&claims(&issuer));
    let viewers: Vec<_> = (0..1_000)
        .map(|_| {
            let (issuers, token) = (Arc::clone(&issuers), token.clone());
            tokio::spawn(async move { issuers.check(&token, Use::Publish).await })
        })
        .collect();
    eventually("the fetch", || (issuer.requests() == 1).then_some(())).await;
    issuer.set(Fault::None);
    for viewer in viewers {
        within("a viewer", viewer).await.unwrap().unwrap();
    }
    assert_eq!(issuer.requests(), 1);
}

/// Case B7.
#[tokio::test]
async fn keys_outlive_every_fault_of_their_issuer_and_the_status_says_since_when() {
    let issuer = Issuer::start(&[rsa()]).await;
    let bounds = Bounds { fetch_time: Duration::from_secs(2), ..QUICK };
    let issuers = issuers_with(&issuer, Clock::new(), bounds, |_| {});
    let token = rsa().token(&claims(&issuer));
    check(&issuers, &token).await.unwrap();
    let url = issuer.url();
    let faults = [
        (Fault::Down, "answers 503"),
        (Fault::Html, "is no JSON object"),
        (Fault::NoKeys, "none of its keys"),
        (Fault::Huge, "more than 524288 bytes"),
        (Fault::RedirectToHttp, "answers 302, and redirects are not followed"),
        (Fault::Reset, "does not speak HTTP as it should"),
        (Fault::Slow, "took longer than 2000 ms"),
    ];
    for (fault, expected) in faults {
        issuer.set(fault);
        let before = issuer.connections();
        let said = within("the fetch", issuers.refresh(&url)).await.unwrap_err().to_string();
        assert!(said.contains(expected) && !said.contains("secret of the server"), "{fault:?}: {said}");
        assert_eq!(issuer.connections(), before + 1, "{fault:?}");
        check(&issuers, &token).await.unwrap();
        assert!(issuers.status()[0]["stale_since_at"].is_i64(), "{fault:?}: {}", issuers.status());
    }
    issuer.set(Fault::None);
    issuers.refresh(&url).await.unwrap();
    let status = issuers.status();
    assert_eq!((&status[0]["stale_since_at"], &status[0]["issuer_max_age_s"]), (&Value::Null, &json!(0)), "{status}");
    // `no-cache` does not mean a fetch for each token.
    let before = issuer.requests();
    for _ in 0..50 {
        check(&issuers, &token).await.unwrap();
    }
    assert_eq!(issuer.requests(), before);
}

/// Case B7: the bound.
#[tokio::test]
async fn keys_that_are_too_old_count_no_more_and_the_refusal_says_that_it_may_pass_later() {
    let issuer = Issuer::start(&[rsa()]).await;
    let bounds = Bounds { stale_max: Duration::ZERO, ..QUICK };
    let issuers = issuers_with(&issuer, Clock::new(), bounds, |_| {});
    let said = check(&issuers, &rsa().token(&claims(&issuer))).await.unwrap_err();
    assert!(matches!(said, Refusal::KeysAway(_)) && said.may_pass_later(), "{said}");
}

/// Case B7: keys come back without a token that needs them.
#[tokio::test]
async fn keys_are_fetched_ahead_of_the_first_token_and_again_after_failures() {
    let issuer = Issuer::start(&[rsa()]).await;
    issuer.set(Fault::Down);
    let issuers = issuers(&issuer);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (issuers, shutdown) = (Arc::clone(&issuers), shutdown.clone());
        async move { issuers.run(shutdown).await }
    });
    eventually("two tries", || (issuer.requests() >= 2).then_some(())).await;
    issuer.set(Fault::None);
    eventually("keys", || (issuers.status()[0]["keys"] == 1).then_some(())).await;
    let before = issuer.requests();
    check(&issuers, &rsa().token(&claims(&issuer))).await.unwrap();
    assert_eq!(issuer.requests(), before);
    shutdown.cancel();
    within("the end", running).await.unwrap();
}

/// Case B8.
#[tokio::test]
async fn key_that_an_operator_wants_gone_is_gone_when_the_refresh_answers() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let issuer = Issuer::start(&[&old, &new]).await;
    let bounds = Bounds { interval_min: Duration::from_secs(3_600), wait_max: Duration::from_millis(50), ..QUICK };
    let issuers = issuers_with(&issuer, Clock::new(), bounds, |_| {});
    let claims = claims(&issuer);
    let verified = check(&issuers, &old.token(&claims)).await.unwrap();
    assert!(issuers.stands(&verified));
    issuer.publish([new.jwk()]);
    let mut fetches = issuers.fetches();
    issuers.refresh(&issuer.url()).await.unwrap();
    assert!(fetches.has_changed().unwrap() && !issuers.stands(&verified));
    fetches.mark_unchanged();
    assert!(check(&issuers, &old.token(&claims)).await.is_err());
    check(&issuers, &new.token(&claims)).await.unwrap();
    let unknown = issuers.refresh("https://other.example/").await.unwrap_err().to_string();
    assert_eq!(unknown, "there is no issuer \"https://other.example/\"");
}

/// Case B9, with another issuer.
#[tokio::test]
async fn token_of_another_issuer_or_audience_is_refused_and_told_what_is_expected() {
    let issuer = Issuer::start(&[rsa()]).await;
    let issuers = issuers(&issuer);
    let said = async |change: &dyn Fn(&mut Value)| {
        let mut claims = claims(&issuer);
        change(&mut claims);
        check(&issuers, &rsa().token(&claims)).await.unwrap_err()
    };
    let url = issuer.url();
    let slash = said(&|claims| claims["iss"] = url.trim_end_matches('/').into()).await.to_string();
    let expected = format!("comes from issuer {:?}, and expected is {url:?}.", url.trim_end_matches('/'));
    assert!(slash.ends_with(&expected), "{slash}");
    let audience = said(&|claims| claims["aud"] = "another-project".into()).await;
    assert_eq!(
        audience.to_string(),
        "The token is for \"another-project\", and expected is \"sealcast\" as aud or azp."
    );
    assert_eq!(said(&|claims| claims["role"] = "guest".into()).await, Refusal::NoRole);
    assert_eq!(issuers.check(&rsa().token(&claims(&issuer)), Use::View).await.unwrap_err().label(), "token_issuer");
    let no_audience = Settings { audiences: Vec::new(), ..settings(&issuer) };
    let trust = Trust::load(Some(&issuer.ca()), node::tls::provider()).unwrap();
    let outbound = Outbound::new(Policy::new(["127.0.0.1"]).unwrap(), &trust);
    let said = Issuers::load(vec![no_audience], &outbound, Clock::new(), QUICK).unwrap_err().to_string();
    assert!(said.contains("audiences is empty"), "{said}");
}

/// Case B10.
#[tokio::test]
async fn clocks_may_be_thirty_seconds_apart_and_a_node_that_is_off_says_so() {
    let issuer = Issuer::start(&[rsa()]).await;
    // The node is ahead, or behind: an issuer's token of five minutes, issued now.
    for (shift_s, good) in
        [(29, true), (-29, true), (90, true), (-90, false), (325, true), (335, false), (600, false), (-600, false)]
    {
        let issuers = issuers_with(&issuer, Clock::new().shifted(shift_s * 1_000), QUICK, |_| {});
        let decided = check(&issuers, &rsa().token(&claims(&issuer))).await;
        assert_eq!(decided.is_ok(), good, "{shift_s}: {decided:?}");
    }
    let issuers = issuers_with(&issuer, Clock::new().shifted(-90_000), QUICK, |_| {});
    issuers.refresh(&issuer.url()).await.unwrap();
    let said = check(&issuers, &rsa().token(&claims(&issuer))).await.unwrap_err().to_string();
    assert!(said.contains("The clock of this node is ") && said.contains("s behind the issuer's."), "{said}");
    let off_ms = issuers.status()[0]["clock_off_ms"].as_i64().unwrap();
    assert!((-95_000..=-85_000).contains(&off_ms), "{off_ms}");
}

/// Shapes of Supabase (ES256) and Keycloak (RS256), from key to stream.
#[tokio::test]
async fn supabase_and_keycloak_shapes_publish_with_the_settings_of_the_guide() {
    let supabase = SigningKey::p256("supabase-1");
    let issuer = Issuer::start(&[rsa(), &supabase]).await;
    let now_s = Clock::new().wall().0 / 1_000;
    let producer =
        |claim: &str| vec![Rule { claim: claim.to_owned(), equals: "streamer".to_owned(), role: Role::Producer }];
    let cases = [
        (
            supabase.token(&jwt::supabase(&issuer.url(), now_s)),
            "authenticated",
            "app_metadata.role",
            "app_metadata.streams",
        ),
        (rsa().token(&jwt::keycloak(&issuer.url(), now_s)), "obs", "realm_access.roles", "sealcast_streams"),
    ];
    for (token, audience, role, streams) in cases {
        let issuers = issuers_with(&issuer, Clock::new(), QUICK, |settings| {
            settings.audiences = vec![audience.to_owned()];
            settings.rules = producer(role);
            settings.streams_claim = streams.to_owned();
        });
        let verified = check(&issuers, &token).await.unwrap();
        assert_eq!(verified.streams.one(None).unwrap().as_str(), "hall");
    }
}
