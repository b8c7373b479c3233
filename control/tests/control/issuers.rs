//! Issuers of tokens (JWT) of tenants: at the API, and as nodes get them.

use control::Config;
use issuers::{Known, Refusal, Use, Viewing};
use node::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::issuer::{Fault, Issuer};
use testkit::jwt::SigningKey;

use crate::api::{Answer, Api, Ask, id};
use crate::cluster::config;
use crate::metadata::Follower;

fn settings(issuer: &Issuer) -> Value {
    let rule = |equals: &str, role: &str| json!({ "claim": "role", "equals": equals, "role": role });
    json!({
        "url": issuer.url(), "audiences": ["sealcast"], "jwks_url": issuer.jwks_url(), "uses": ["api", "publish", "view"],
        "rules": [rule("fan", "viewer"), rule("staff", "producer"), rule("staff", "owner")],
    })
}

/// Control that may ask this machine for keys.
fn with(issuer: &Issuer) -> Config {
    Config { outbound_allow: vec!["127.0.0.0/8".to_owned()], outbound_ca: Some(issuer.ca()), ..config() }
}

fn claims(issuer: &Issuer, role: &str) -> Value {
    let now_s = Clock::new().wall().0 / 1_000;
    json!({ "iss": issuer.url(), "aud": "sealcast", "sub": "u81", "iat": now_s, "exp": now_s + 300, "role": role, "streams": ["acme.hall"] })
}

async fn with_bearer(api: &Api, token: &str, method: Method, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    api.send(Ask { key: None, method, path, headers: &headers, body: None }).await
}

/// What a node with this log says to the holder of a token.
async fn says(node: &Follower, what: &str, token: &str, is_taken: bool) {
    node.sees(what, |view| {
        let known = |row: &metadata::TokenIssuer| Known::read(&row.id, row.tenant.as_deref(), &row.document);
        let known: Vec<Known> = view.token_issuers().filter_map(known).collect();
        Viewing::of(token, known.iter(), Clock::new().wall()).is_ok() == is_taken
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_a_tenants_issuer_is_a_caller_with_the_role_of_the_first_rule() {
    let key = SigningKey::p256("first");
    let issuer = Issuer::start(&[&key]).await;
    let api = Api::start_with(with(&issuer)).await;
    api.tenant("acme").await;
    let owner = api.secret("acme", "owner").await;
    let [fan, staff, nobody] = ["fan", "staff", "nobody"].map(|role| key.token(&claims(&issuer, role)));
    let session = async |token: &str| with_bearer(&api, token, Method::GET, "/api/v1/session").await;
    assert_eq!(session(&fan).await.problem(), "wrong-kind", "nobody has registered it");
    let made = api.ask(&owner, Method::POST, "/api/v1/issuers", Some(settings(&issuer))).await.made();
    let who = session(&staff).await.made();
    assert_eq!((&who["kind"], &who["tenant"]["slug"]), (&json!("jwt"), &json!("acme")), "{who}");
    let scopes: Vec<&str> = who["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        scopes.contains(&"streams:write") && !scopes.contains(&"issuers:write"),
        "the first rule counts: {scopes:?}"
    );
    assert_eq!(with_bearer(&api, &fan, Method::GET, "/api/v1/streams").await.status, StatusCode::OK);
    assert_eq!(with_bearer(&api, &fan, Method::GET, "/api/v1/issuers").await.problem(), "scope-missing");
    let refused = session(&nobody).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::FORBIDDEN, "scope-missing"));
    let mut wrong = claims(&issuer, "staff");
    wrong["aud"] = "another".into();
    assert_eq!(session(&key.token(&wrong)).await.problem(), "unauthenticated");
    wrong = claims(&issuer, "staff");
    wrong["exp"] = 1.into();
    assert_eq!(session(&key.token(&wrong)).await.problem(), "expired");
    // What it does is in the audit under its own name.
    let path = format!("/api/v1/issuers/{}", id(&made));
    assert_eq!(with_bearer(&api, &staff, Method::DELETE, &path).await.problem(), "scope-missing");
    let audit = api.ask(&owner, Method::GET, "/api/v1/audit", None).await.json();
    assert_eq!(
        (&audit["items"][0]["actor"], &audit["items"][0]["credential"]),
        (&json!("jwt"), &json!(format!("{}/u81", id(&made))))
    );
    // A trial says what a token is good for, and keeps it nowhere.
    let trial = api.ask(&owner, Method::POST, &format!("{path}/test"), Some(json!({ "token": fan }))).await.made();
    let uses: Vec<_> = trial["uses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["use"].as_str(), one["is_taken"].as_bool(), one["code"].as_str()))
        .collect();
    assert_eq!(
        uses,
        [
            (Some("api"), Some(true), None),
            (Some("publish"), Some(false), Some("token_role")),
            (Some("view"), Some(true), None)
        ]
    );
    assert_eq!(api.ask(&owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(session(&staff).await.problem(), "wrong-kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_issuers_with_their_keys_and_a_refresh_takes_a_key_away() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::ed25519("new"));
    let issuer = Issuer::start(&[&old]).await;
    let api = Api::start_with(with(&issuer)).await;
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    api.tenant("acme").await;
    let owner = api.secret("acme", "owner").await;
    let made = api.ask(&owner, Method::POST, "/api/v1/issuers", Some(settings(&issuer))).await.made();
    let [of_old, of_new] = [&old, &new].map(|key| key.token(&claims(&issuer, "fan")));
    says(&b1, "a token of the issuer", &of_old, true).await;
    says(&b1, "a token of no key", &of_new, false).await;
    issuer.publish([new.jwk()]);
    let path = format!("/api/v1/issuers/{}", id(&made));
    // A token of the very issuer does not do, whatever it may otherwise.
    let body = json!({ "rules": [{ "claim": "role", "equals": "chief", "role": "owner" }, { "claim": "role", "equals": "fan", "role": "viewer" }] });
    api.ask(&owner, Method::PATCH, &path, Some(body)).await.made();
    issuer.publish([old.jwk(), new.jwk()]);
    api.ask(&owner, Method::POST, &format!("{path}/refresh"), None).await.made();
    let chief = old.token(&claims(&issuer, "chief"));
    assert_eq!(with_bearer(&api, &chief, Method::POST, &format!("{path}/refresh")).await.problem(), "scope-missing");
    issuer.publish([new.jwk()]);
    let shown = api.ask(&owner, Method::POST, &format!("{path}/refresh"), None).await.made();
    assert_eq!((&shown["keys"], &shown["stale_since_at"]), (&json!(1), &Value::Null), "{shown}");
    says(&b1, "a token of the key that is gone", &of_old, false).await;
    says(&b1, "a token of the new key", &of_new, true).await;
    // Away: the last keys count, and it is told since when.
    issuer.set(Fault::Down);
    let shown = api.ask(&owner, Method::POST, &format!("{path}/refresh"), None).await.made();
    assert!(shown["stale_since_at"].is_i64() && shown["failure"].is_string(), "{shown}");
    assert!(!shown.to_string().contains("secret of the server"), "{shown}");
    says(&b1, "a token while its issuer is away", &of_new, true).await;
    assert_eq!(api.ask(&owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    says(&b1, "a token of an issuer that is gone", &of_new, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_of_the_file_are_shown_and_stay_and_nobody_registers_more_than_is_allowed() {
    let key = SigningKey::ed25519("file");
    let issuer = Issuer::start(&[&key]).await;
    let of_file: issuers::Settings = serde_json::from_value(settings(&issuer)).unwrap();
    assert!(of_file.uses.contains(&Use::Api));
    let api = Api::start_with(Config { issuers: vec![of_file], ..with(&issuer) }).await;
    let owner = api.secret("default", "owner").await;
    let list = api.ask(&owner, Method::GET, "/api/v1/issuers", None).await.made();
    let path = format!("/api/v1/issuers/{}", id(&list["items"][0]));
    assert_eq!(list["items"][0]["is_from_file"], true);
    for (method, body) in [(Method::PATCH, json!({ "leeway_s": 10 })), (Method::DELETE, json!({}))] {
        assert_eq!(api.ask(&owner, method, &path, Some(body)).await.problem(), "from-file");
    }
    let staff = key.token(&claims(&issuer, "staff"));
    let who = with_bearer(&api, &staff, Method::GET, "/api/v1/session").await.made();
    assert_eq!(who["tenant"]["slug"], "default");

    let make = async |key: &str, change: &dyn Fn(&mut Value)| {
        let mut body = settings(&issuer);
        change(&mut body);
        api.ask(key, Method::POST, "/api/v1/issuers", Some(body)).await
    };
    api.tenant("acme").await;
    let acme = api.secret("acme", "owner").await;
    // An operator for a tenant makes no operators there, and an owner none anywhere.
    let operator = |body: &mut Value| body["rules"][0]["role"] = "operator".into();
    assert_eq!(make(&acme, &operator).await.problem(), "scope-missing");
    let mut body = settings(&issuer);
    operator(&mut body);
    assert_eq!(api.operate("acme", Method::POST, "/api/v1/issuers", Some(body)).await.problem(), "invalid");
    for (change, expected) in [
        (
            &(|body: &mut Value| body["jwks_url"] = "https://169.254.169.254/keys".into()) as &dyn Fn(&mut Value),
            "target-refused",
        ),
        (&|body: &mut Value| body["audiences"] = json!([]), "invalid"),
        (&|body: &mut Value| body["algorithms"] = json!(["HS256"]), "invalid"),
        (&|body: &mut Value| body["uses"] = json!(["fly"]), "invalid"),
        (&|body: &mut Value| body["rules"] = json!([]), "invalid"),
        (&|body: &mut Value| body["rules"][0]["role"] = "king".into(), "invalid"),
        (&|body: &mut Value| body["leeway_s"] = 61.into(), "invalid"),
        (&|body: &mut Value| body["keys"] = 1.into(), "invalid"),
    ] {
        let answer = make(&acme, change).await;
        assert_eq!(answer.problem(), expected, "{}", answer.text);
    }
    // The same issuer of two tenants: the older one counts, unless the caller says which it means.
    assert_eq!(make(&acme, &|_| {}).await.status, StatusCode::CREATED);
    let bearer = format!("Bearer {staff}");
    for (headers, slug) in [
        (&[("authorization", bearer.as_str())][..], "default"),
        (&[("authorization", bearer.as_str()), ("x-sealcast-tenant", "acme")], "acme"),
    ] {
        let (key, method, path) = (None, Method::GET, "/api/v1/session");
        let who = api.send(Ask { key, method, path, headers, body: None }).await.made();
        assert_eq!(who["tenant"]["slug"], slug);
    }
    assert_eq!(Refusal::NoIssuer.label(), "token_issuer");
}
