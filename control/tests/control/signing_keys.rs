//! Keys of viewer tokens and tokens of tenants: what each opens on a node, and who may make and retire them.

use access::token::JWS_PREFIX;
use access::{Allowed, Ask, Class, Facts, Refusal, Rules, Verified};
use media::{ClusterId, StreamId};
use metadata::View;
use node::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::jwt::SigningKey;

use crate::api::{Api, id};
use crate::metadata::Follower;

/// What a node with this log says to the holder of a token that control made.
fn decision(view: &View<'_>, text: &str, stream: &str) -> Result<Allowed, Refusal> {
    let rules = Rules::from_facts(Facts::from_log(view, &ClusterId::new("test").unwrap()));
    let stream = StreamId::new(stream).unwrap();
    let token = Verified::read(text, |id| rules.key(id));
    let token = Some(token.as_ref().map_err(|why| *why));
    rules.decide(&Ask { class: Class::Stream, stream: Some(&stream), token, origin: None, at: Clock::new().wall() })
}

async fn says(node: &Follower, what: &str, (text, stream): (&str, &str), expected: &str) {
    node.sees(what, |view| match decision(&view, text, stream) {
        Ok(_) => expected == "allowed",
        Err(refusal) => refusal.problem() == expected,
    })
    .await;
}

async fn made(api: &Api, key: &str, path: &str, body: Value) -> Value {
    let made = api.ask(key, Method::POST, path, Some(body)).await;
    assert!(made.status.is_success(), "{path}: {}", made.text);
    made.json()
}

async fn token(api: &Api, key: &str, streams: &str) -> Value {
    made(api, key, "/api/v1/viewer-tokens", json!({ "streams": [streams], "sub": "u81" })).await
}

fn text(made: &Value) -> &str {
    made["token"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_tenant_open_and_end_with_what_is_the_tenants_own() {
    let api = Api::start().await;
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    for slug in ["acme", "zenith"] {
        api.tenant(slug).await;
    }
    let (acme, zenith) = (api.secret("acme", "producer").await, api.secret("zenith", "producer").await);
    for (key, name) in [(&acme, "acme.hall"), (&zenith, "zenith.hall")] {
        let owner = api.secret(name.split_once('.').unwrap().0, "owner").await;
        api.stream(&owner, name).await;
        let own =
            made(&api, key, "/api/v1/viewer-tokens", json!({ "streams": [name], "base_url": "https://live.example/" }))
                .await;
        let hls = format!("https://live.example/t/{}/live/{name}/index.m3u8", text(&own));
        assert_eq!(own["urls"]["hls"], hls, "{own}");
        says(&b1, "its own stream", (text(&own), name), "allowed").await;
    }
    // All streams are all of the tenant's, and nobody's token names another's.
    let all = token(&api, &acme, "*").await;
    says(&b1, "all of acme's", (text(&all), "acme.hall"), "allowed").await;
    let default =
        made(&api, &api.secret("default", "producer").await, "/api/v1/viewer-tokens", json!({ "streams": ["*"] }))
            .await;
    for (token, stream) in [(&all, "zenith.hall"), (&all, "hall"), (&default, "acme.hall")] {
        says(&b1, "another tenant's", (text(token), stream), "token-elsewhere").await;
    }
    let foreign = json!({ "streams": ["zenith.hall"] });
    assert_eq!(api.ask(&acme, Method::POST, "/api/v1/viewer-tokens", Some(foreign)).await.problem(), "not-found");
    // A revocation reaches the tenant's tokens, whatever the others call theirs.
    let zeniths = token(&api, &zenith, "*").await;
    let revoke = async |key: &str, body: Value| made(&api, key, "/api/v1/viewer-tokens/revoke", body).await;
    let said = revoke(&zenith, json!({ "sub": "u81" })).await;
    assert_eq!((&said["up_to_ver"], &said["missing"]), (&json!(0), &Value::Null), "tenants see no nodes: {said}");
    says(&b1, "zenith's u81", (text(&zeniths), "zenith.hall"), "token-revoked").await;
    revoke(&zenith, json!({ "jti": all["jti"] })).await;
    says(&b1, "acme's u81", (text(&all), "acme.hall"), "allowed").await;
    revoke(&acme, json!({ "jti": all["jti"] })).await;
    says(&b1, "a token that its tenant took back", (text(&all), "acme.hall"), "token-revoked").await;
    let other = json!({ "stream": "zenith.hall" });
    assert_eq!(api.ask(&acme, Method::POST, "/api/v1/viewer-tokens/revoke", Some(other)).await.problem(), "not-found");
    // What was done stands in the tenant's audit, without the token.
    let audit = api.ask(&api.secret("acme", "owner").await, Method::GET, "/api/v1/audit?limit=200", None).await;
    let records = audit.json();
    let of = |action: &str| {
        let items = records["items"].as_array().unwrap();
        items.iter().find(|one| one["action"] == action && one["object"] == all["jti"]).cloned().unwrap_or_default()
    };
    assert_eq!(of("viewer-tokens.create")["changes"]["streams"], json!(["*"]), "{records}");
    assert_eq!(of("viewer-tokens.revoke")["result"], "done", "{records}");
    assert!(!audit.text.contains(text(&all)));
}

#[tokio::test(flavor = "multi_thread")]
async fn retired_key_opens_nothing_and_its_file_is_gone() {
    let api = Api::start().await;
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    let owner = api.secret("default", "owner").await;
    let before = token(&api, &owner, "hall").await;
    says(&b1, "a token of the first key", (text(&before), "hall"), "allowed").await;
    let keys = async || api.ask(&owner, Method::GET, "/api/v1/signing-keys", None).await.json()["items"].clone();
    let first = keys().await[0].clone();
    assert_eq!(
        (&first["origin"], &first["algorithm"], first["public_key"]["crv"].as_str()),
        (&json!("control"), &json!("EdDSA"), Some("Ed25519"))
    );
    let second = made(&api, &owner, "/api/v1/signing-keys", json!({ "name": "second" })).await;
    let after = token(&api, &owner, "hall").await;
    for token in [&before, &after] {
        says(&b1, "both keys", (text(token), "hall"), "allowed").await;
    }
    let file = |key: &Value| api.cluster.directory.path().join(format!("c1/viewer-tokens.{}.key", id(key)));
    assert!(file(&first).exists() && file(&second).exists());
    let path = format!("/api/v1/signing-keys/{}", id(&first));
    let viewer = api.secret("default", "viewer").await;
    assert_eq!(api.ask(&viewer, Method::DELETE, &path, None).await.problem(), "scope-missing");
    assert_eq!(api.ask(&owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    says(&b1, "a token of the retired key", (text(&before), "hall"), "token-invalid").await;
    says(&b1, "a token of the other", (text(&after), "hall"), "allowed").await;
    b1.sees("one verifier", |view| view.verifiers().count() == 1).await;
    assert!(!file(&first).exists() && file(&second).exists());
    // The next token is signed all the same, also when none is left.
    let path = format!("/api/v1/signing-keys/{}", id(&second));
    let named = api.ask(&owner, Method::PATCH, &path, Some(json!({ "name": "last" }))).await.json();
    assert_eq!((&named["name"], &named["version"]), (&json!("last"), &json!(2)));
    assert_eq!(api.ask(&owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    let last = token(&api, &owner, "hall").await;
    says(&b1, "a token of a new key", (text(&last), "hall"), "allowed").await;
    assert_eq!(keys().await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn public_key_is_registered_for_one_algorithm_and_reaches_the_nodes() {
    let api = Api::start().await;
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    api.tenant("acme").await;
    let acme = api.secret("acme", "producer").await;
    let own = SigningKey::p256("mine");
    assert!(own.token(&json!({})).starts_with(JWS_PREFIX));
    let key = made(&api, &acme, "/api/v1/signing-keys", json!({ "name": "site", "public_key": own.jwk() })).await;
    assert_eq!(
        (&key["origin"], &key["algorithm"], &key["kid"]),
        (&json!("registered"), &json!("ES256"), &json!("mine"))
    );
    b1.sees("the key", |view| {
        let row = view.token_issuers().find(|row| row.id == id(&key));
        row.is_some_and(|row| row.tenant.as_deref() == Some("acme") && row.document.contains("\"mine\""))
    })
    .await;
    let refused = async |body: Value| api.ask(&acme, Method::POST, "/api/v1/signing-keys", Some(body)).await;
    assert_eq!(refused(json!({ "public_key": own.jwk() })).await.problem(), "name-taken");
    // Without a name of its own, too: whoever deletes one must not leave another of the same key.
    let mut nameless = SigningKey::ed25519("nameless").jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    let twin = json!({ "name": "once", "public_key": nameless });
    let first = made(&api, &acme, "/api/v1/signing-keys", twin.clone()).await;
    assert_eq!(refused(twin).await.problem(), "name-taken");
    let first = format!("/api/v1/signing-keys/{}", id(&first));
    assert_eq!(api.ask(&acme, Method::DELETE, &first, None).await.status, StatusCode::NO_CONTENT);
    let mut private = SigningKey::ed25519("secret").jwk();
    private["d"] = "AA".into();
    for (body, pointer) in [
        (json!({ "public_key": private }), "#/public_key"),
        (json!({ "public_key": { "kty": "oct", "k": "AA" } }), "#/public_key"),
        (json!({ "public_key": "AA" }), "#/public_key"),
        (json!({ "public_key": SigningKey::ed25519("a").jwk(), "expires_at": 1 }), "#/expires_at"),
        (json!({ "expires_at": 1 }), "#/expires_at"),
        (json!({ "kid": "x" }), "#/kid"),
    ] {
        let answer = refused(body).await;
        assert_eq!(
            (answer.problem().as_str(), &answer.json()["errors"][0]["pointer"]),
            ("invalid", &json!(pointer)),
            "{}",
            answer.text
        );
    }
    let path = format!("/api/v1/signing-keys/{}", id(&key));
    assert_eq!(api.ask(&acme, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    b1.sees("no key", |view| view.token_issuers().count() == 0).await;
}
