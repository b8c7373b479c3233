//! Who writes in a chat under which name: people who are signed in, and holders of tokens that others sign.

use control::Config;
use node::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::issuer::Issuer;
use testkit::jwt::SigningKey;

use crate::api::{Answer, Api, Ask, id};
use crate::cluster::config;
use crate::metadata::Follower;
use crate::people::{Browser, PASSWORD, member, operator};

/// Where browsers and programs write from.
const FROM: (&str, &str) = ("x-forwarded-for", "192.0.2.1");

async fn says(browser: &Browser<'_>, path: &str, body: Value) -> Answer {
    browser.send(Method::POST, path, &[FROM], Some(body)).await
}

async fn patch(api: &Api, tenant: &str, stream: &str, body: Value) {
    let path = format!("/api/v1/streams/{stream}");
    let answer = api.operate(tenant, Method::PATCH, &path, Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

fn wrote(answer: &Answer) -> (StatusCode, Value, Value) {
    let said = answer.json();
    (answer.status, said["author"].clone(), said["role"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_writes_under_the_name_of_the_account() {
    let api = Api::start().await;
    let ada = operator(&api).await;
    for slug in ["choir", "band"] {
        api.tenant(slug).await;
    }
    let owner = api.secret("choir", "owner").await;
    api.stream(&owner, "choir.hall").await;
    let only_members = json!({ "visibility": "members", "chat": { "on": true, "writers": "token", "slow_s": 600 } });
    patch(&api, "choir", "choir.hall", only_members).await;
    patch(&api, "default", "hall", json!({ "chat": { "on": true } })).await;
    let (_, mut vera) = member(&api, "choir", "viewer", "Vera").await;
    let (_, pia) = member(&api, "choir", "producer", &format!("Pia {}", "von Stein ".repeat(9))).await;
    let (_, bob) = member(&api, "band", "owner", "Bob").await;

    // The name is the account's, whatever the page says.
    let (hall, public) = ("/live/choir.hall/chat", "/live/hall/chat");
    let first = says(&vera, hall, json!({ "name": "Eve", "text": "hello" })).await;
    assert_eq!(wrote(&first), (StatusCode::CREATED, json!("Vera"), json!("viewer")), "{}", first.text);
    let slowed = says(&vera, hall, json!({ "text": "more" })).await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS, "{}", slowed.text);
    for text in ["one", "two"] {
        let said = says(&pia, hall, json!({ "text": text })).await;
        let short = json!("Pia von Stein von Stein von Stei");
        assert_eq!(wrote(&said), (StatusCode::CREATED, short, json!("moderator")), "{}", said.text);
    }
    let said = says(&ada, hall, json!({ "text": "The operator is in all tenants." })).await;
    assert_eq!(wrote(&said), (StatusCode::CREATED, json!("Ada"), json!("moderator")), "{}", said.text);
    // Elsewhere, a member is one among those who may watch.
    assert_eq!(says(&bob, hall, json!({ "text": "hello" })).await.problem(), "not-found");
    let said = says(&bob, public, json!({ "text": "hello" })).await;
    assert_eq!(wrote(&said), (StatusCode::CREATED, json!("Bob"), json!("viewer")), "{}", said.text);
    patch(&api, "default", "hall", json!({ "chat": { "writers": "token" } })).await;
    assert_eq!(says(&bob, public, json!({ "text": "hello" })).await.problem(), "scope-missing");

    // A cookie is sent by itself: only the own page can tell its secret.
    let body = json!({ "text": "spam" });
    for (more, problem) in [
        (("x-sealcast-csrf", ""), "csrf"),
        (("x-sealcast-csrf", "wrong"), "csrf"),
        (("origin", ""), "csrf"),
        (("origin", "https://evil.example"), "origin-refused"),
    ] {
        let refused = pia.send(Method::POST, hall, &[FROM, more], Some(body.clone())).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::FORBIDDEN, problem), "{more:?}");
    }

    // Moderators need no key. A ban counts for each session of the account.
    let path = format!("/api/v1/streams/choir.hall/messages/{}", first.json()["id"].as_str().unwrap());
    assert_eq!(vera.send(Method::DELETE, &path, &[], None).await.problem(), "scope-missing");
    let bans = "/api/v1/streams/choir.hall/bans";
    let ban = pia.send(Method::POST, bans, &[], Some(json!({ "message": first.json()["id"] }))).await;
    assert_eq!((ban.status, &ban.json()["author"]), (StatusCode::CREATED, &json!("Vera")), "{}", ban.text);
    let again = Browser::sign_in(&api, "vera", PASSWORD).await.unwrap_or_else(|answer| panic!("{}", answer.text));
    for browser in [&vera, &again] {
        assert_eq!(says(browser, hall, json!({ "text": "I am back" })).await.problem(), "banned");
    }
    let lift = format!("{bans}/{}", id(&ban.json()));
    assert_eq!(pia.send(Method::DELETE, &lift, &[], None).await.status, StatusCode::NO_CONTENT);
    patch(&api, "choir", "choir.hall", json!({ "chat": { "slow_s": 0 } })).await;
    assert_eq!(says(&again, hall, json!({ "text": "sorry" })).await.status, StatusCode::CREATED);

    assert_eq!(vera.send(Method::DELETE, "/api/v1/session", &[], None).await.status, StatusCode::NO_CONTENT);
    let over = says(&vera, hall, json!({ "text": "hello" })).await;
    assert_eq!((over.status, over.problem().as_str()), (StatusCode::UNAUTHORIZED, "expired"), "{}", over.text);
    // Without the cookie, its page is no guest under the account's name.
    vera.cookie.clear();
    assert_eq!(says(&vera, public, json!({ "name": "Vera", "text": "hello" })).await.problem(), "unauthenticated");
}

/// The holder of a token writes in the hall.
async fn with_token(api: &Api, token: &str, name: &str) -> Answer {
    let path = format!("/t/{token}/live/hall/chat");
    let body = json!({ "name": name, "text": "hello" }).to_string();
    api.send(Ask { key: None, method: Method::POST, path: &path, headers: &[FROM], body: Some(body) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_others_sign_says_who_writes() {
    let staff = SigningKey::p256("staff");
    let issuer = Issuer::start(&[&staff]).await;
    let control = Config { outbound_allow: vec!["127.0.0.0/8".to_owned()], outbound_ca: Some(issuer.ca()), ..config() };
    let api = Api::start_with(control).await;
    api.tenant("acme").await;
    let (owner, acme) = (api.secret("default", "owner").await, api.secret("acme", "owner").await);
    patch(&api, "default", "hall", json!({ "visibility": "token", "chat": { "on": true, "writers": "token" } })).await;
    let site = SigningKey::ed25519("site");
    let now_s = Clock::new().wall().0 / 1_000;
    let claims = |more: Value| {
        let mut all =
            json!({ "aud": "test", "iat": now_s, "exp": now_s + 300, "streams": ["*"], "sub": "u81", "chat": true });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let grace = site.token(&claims(json!({ "name": " Gra\u{202e}ce " })));
    assert_eq!(with_token(&api, &grace, "Eve").await.problem(), "token-invalid", "nobody has registered the key");
    // Another tenant's key opens nothing here.
    let body = json!({ "name": "site", "public_key": site.jwk() });
    let key = api.ask(&acme, Method::POST, "/api/v1/signing-keys", Some(body.clone())).await.made();
    assert_eq!(with_token(&api, &grace, "Eve").await.problem(), "token-invalid");
    let path = |key: &Value| format!("/api/v1/signing-keys/{}", id(key));
    assert_eq!(api.ask(&acme, Method::DELETE, &path(&key), None).await.status, StatusCode::NO_CONTENT);
    let key = api.ask(&owner, Method::POST, "/api/v1/signing-keys", Some(body)).await.made();
    let said = with_token(&api, &grace, "Eve").await;
    assert_eq!(wrote(&said), (StatusCode::CREATED, json!("Grace"), json!("viewer")), "{}", said.text);
    // Without a name in the token, the viewer chooses one.
    let unnamed = site.token(&claims(json!({ "sub": "u82", "name": 7 })));
    assert_eq!(wrote(&with_token(&api, &unnamed, "Eve").await), (StatusCode::CREATED, json!("Eve"), json!("viewer")));
    let silent = site.token(&claims(json!({ "sub": "u83", "chat": false })));
    assert_eq!(with_token(&api, &silent, "Eve").await.problem(), "scope-missing");
    for (more, problem) in [
        (json!({ "streams": ["choir"] }), "token-elsewhere"),
        (json!({ "iat": now_s - 900, "exp": now_s - 300 }), "token-expired"),
        (json!({ "aud": "village" }), "token-invalid"),
    ] {
        assert_eq!(with_token(&api, &site.token(&claims(more.clone())), "Eve").await.problem(), problem, "{more}");
    }
    // A ban is of the viewer that tokens name, under each name.
    let ban = json!({ "message": said.json()["id"] });
    assert_eq!(api.ask(&owner, Method::POST, "/api/v1/streams/hall/bans", Some(ban)).await.status, StatusCode::CREATED);
    let other = site.token(&claims(json!({ "name": "Hopper" })));
    assert_eq!(with_token(&api, &other, "Eve").await.problem(), "banned");
    assert_eq!(api.ask(&owner, Method::DELETE, &path(&key), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(with_token(&api, &unnamed, "Eve").await.problem(), "token-invalid");

    // An issuer's rules say who moderates.
    let rule = |equals: &str, role: &str| json!({ "claim": "role", "equals": equals, "role": role });
    let settings = json!({
        "url": issuer.url(), "audiences": ["sealcast"], "jwks_url": issuer.jwks_url(), "uses": ["view"],
        "rules": [rule("fan", "viewer"), rule("staff", "producer")],
    });
    api.ask(&owner, Method::POST, "/api/v1/issuers", Some(settings)).await.made();
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    b1.sees("the issuer's key", |view| view.token_issuers().any(|row| row.document.contains("\"kty\""))).await;
    for (role, expected) in [("fan", "viewer"), ("staff", "moderator")] {
        let more = json!({ "iss": issuer.url(), "aud": "sealcast", "sub": role, "role": role, "name": role });
        let said = with_token(&api, &staff.token(&claims(more)), "Eve").await;
        assert_eq!(wrote(&said), (StatusCode::CREATED, json!(role), json!(expected)), "{}", said.text);
    }
}
