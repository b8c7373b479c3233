//! Whoever has changed something reads it: each answer says which entry of the metadata log it reflects, and a request says which one its
//! answer has to.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Ask};
use crate::grpc::v1::ListStreamsRequest;
use crate::grpc::{Served, by, reason, with};

fn sequence(answer: &Answer) -> u64 {
    answer.header("x-sealcast-metadata").parse().unwrap_or_else(|_| panic!("{:?} {}", answer.headers, answer.text))
}

async fn waits(api: &Api, key: &str, wanted: &str) -> Answer {
    let (key, headers) = (Some(key), [("x-sealcast-wait", wanted)]);
    api.send(Ask { key, method: Method::GET, path: "/api/v1/streams", headers: &headers, body: None }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_says_an_entry_that_has_it() {
    let api = Api::start().await;
    let key = api.secret("default", "operator").await;
    let mut newest = 0;
    let mut made = async |method: Method, path: &str, body: Value, makes_a_row: bool| {
        let answer = api.ask(&key, method.clone(), path, Some(body)).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        let at = sequence(&answer);
        assert!(if makes_a_row { at > newest } else { at >= newest }, "{method} {path}: {at} after {newest}");
        newest = at;
        answer.json()["id"].as_str().unwrap_or_default().to_owned()
    };
    let issuer = json!({
        "url": "https://idp.example/", "audiences": ["a"], "jwks_url": "https://idp.example/jwks", "uses": ["view"],
        "rules": [{ "claim": "role", "equals": "fan", "role": "viewer" }],
    });
    made(Method::POST, "/api/v1/tenants", json!({ "slug": "acme" }), true).await;
    made(Method::PATCH, "/api/v1/tenants/acme", json!({ "state": "suspended" }), true).await;
    made(Method::POST, "/api/v1/streams", json!({ "name": "room" }), true).await;
    made(Method::PATCH, "/api/v1/streams/room", json!({ "title": "Room" }), true).await;
    made(Method::POST, "/api/v1/streams/room/rotate-key", json!({}), true).await;
    let other = made(Method::POST, "/api/v1/api-keys", json!({ "name": "n", "role": "viewer" }), true).await;
    made(Method::DELETE, &format!("/api/v1/api-keys/{other}"), json!({}), true).await;
    made(Method::POST, "/api/v1/signing-keys", json!({}), true).await;
    made(Method::POST, "/api/v1/viewer-tokens/revoke", json!({ "sub": "u81" }), true).await;
    made(Method::DELETE, "/api/v1/streams/room", json!({}), true).await;
    // Nobody but control knows of these; an issuer's row comes with its keys.
    made(Method::POST, "/api/v1/issuers", issuer, false).await;
    made(Method::POST, "/api/v1/members", json!({ "name": "Vera" }), false).await;
    made(Method::POST, "/api/v1/webhooks", json!({ "url": "https://hooks.example/" }), false).await;
    assert_eq!(sequence(&waits(&api, &key, &newest.to_string()).await), newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_waits_for_the_entry_that_it_has_seen() {
    let served = Served::start().await;
    let api = &served.api;
    let key = api.secret("default", "operator").await;
    let newest = sequence(&waits(api, &key, "0").await);
    // The entry comes while somebody waits for it, and has what it says.
    let next = (newest + 1).to_string();
    let room = json!({ "name": "room" });
    let make = api.ask(&key, Method::POST, "/api/v1/streams", Some(room));
    let (read, made) = tokio::join!(waits(api, &key, &next), make);
    assert_eq!((read.status, made.status), (StatusCode::OK, StatusCode::CREATED), "{} {}", read.text, made.text);
    assert!(sequence(&read) > newest && read.text.contains("\"room\""), "{}", read.text);
    // One that is not there.
    let behind = waits(api, &key, "1000000").await;
    assert_eq!((behind.problem().as_str(), behind.header("retry-after")), ("replica-behind", "1"));
    assert_eq!(waits(api, &key, "x").await.problem(), "malformed");
    // Nobody without a credential waits.
    assert_eq!(waits(api, "sc_none", "1000000").await.status, StatusCode::UNAUTHORIZED);
    // By gRPC likewise.
    let mut catalogue = served.catalogue();
    let list = ListStreamsRequest::default;
    let seen = catalogue.list_streams(by(&key, list())).await.unwrap();
    let seen = seen.metadata().get("x-sealcast-metadata").unwrap().to_str().unwrap().to_owned();
    let metadata = |wanted| [("x-api-key", key.as_str()), ("x-sealcast-wait", wanted)];
    assert!(catalogue.list_streams(with(&metadata(seen.as_str()), list())).await.is_ok());
    let behind = catalogue.list_streams(with(&metadata("1000000"), list())).await.unwrap_err();
    assert_eq!(reason(&behind), "replica-behind");
}
