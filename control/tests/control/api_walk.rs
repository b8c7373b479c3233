//! Case A1: two tenants walk the API's own document. What is another tenant's and what is not there get the same answer, byte for byte. A new
//! route is covered by itself.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Ask};

/// Headers that say nothing of what was looked up.
const OWN_TO_EACH_ANSWER: [&str; 3] = ["date", "ratelimit", "ratelimit-policy"];

/// A tenant with one of everything.
struct Tenant {
    keys: BTreeMap<&'static str, String>,
    /// What paths name, by parameter.
    names: BTreeMap<&'static str, Vec<String>>,
    /// Texts that nobody else may see.
    secrets: Vec<String>,
}

async fn tenant(api: &Api, slug: &str) -> Tenant {
    let row = api.tenant(slug).await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let mut keys = BTreeMap::new();
    for role in ["viewer", "producer", "owner"] {
        keys.insert(role, api.secret(slug, role).await);
    }
    let key = api.key(slug, "owner").await;
    let body = json!({ "name": format!("{slug} member"), "role": "viewer" });
    let member = api.operate(slug, Method::POST, "/api/v1/members", Some(body)).await.json();
    let stream = api.stream(&keys["owner"], &format!("{slug}.secret-show")).await;
    let hook = json!({ "url": format!("https://{slug}.example/secret-hook") });
    let hook = api.ask(&keys["owner"], Method::POST, "/api/v1/webhooks", Some(hook)).await.json();
    let renamed = json!({ "description": "an event for the webhook" });
    let own = format!("/api/v1/streams/{slug}.secret-show");
    assert_eq!(api.ask(&keys["owner"], Method::PATCH, &own, Some(renamed)).await.status, StatusCode::OK);
    let sent = format!("/api/v1/webhooks/{}/deliveries", text(&hook, "id"));
    let sent = api.ask(&keys["owner"], Method::GET, &sent, None).await;
    let made = async |path: &str, body: Value| {
        let made = api.ask(&keys["owner"], Method::POST, path, Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    };
    let signing_key = made("/api/v1/signing-keys", json!({ "name": format!("{slug} secret") })).await;
    let issuer = made("/api/v1/issuers", issuer(slug)).await;
    let names = BTreeMap::from([
        ("webhook", vec![text(&hook, "id")]),
        ("delivery", vec![text(&sent.json()["items"][0], "id")]),
        ("signing_key", vec![text(&signing_key, "id")]),
        ("issuer", vec![text(&issuer, "id")]),
        ("tenant", vec![text(&row, "id"), slug.to_owned()]),
        ("key", vec![text(&key, "id")]),
        ("member", vec![text(&member, "id")]),
        ("stream", vec![text(&stream, "id"), text(&stream, "name")]),
        ("message", vec!["msg_01k9f3t2m5c8v7x4b6n1q0w9ze".to_owned()]),
        ("ban", vec!["ban_01k9f3t2m5c8v7x4b6n1q0w9ze".to_owned()]),
    ]);
    let secrets = names.values().flatten().cloned().collect();
    Tenant { keys, names, secrets }
}

/// An issuer that nobody reaches.
fn issuer(slug: &str) -> Value {
    json!({
        "url": format!("https://idp.{slug}.example/"), "audiences": [slug], "jwks_url": format!("https://idp.{slug}.example/jwks"),
        "uses": ["api", "view"], "rules": [{ "claim": "role", "equals": "fan", "role": "viewer" }],
    })
}

/// The same names, of nobody.
fn absent(name: &str) -> String {
    match name.split_once('_') {
        Some((prefix, rest)) => format!("{prefix}_{}", rest.chars().rev().collect::<String>()),
        None => format!("{}-x", name.trim_end_matches("-corp")),
    }
}

/// A path with its parameters filled in: all of them, by each name that the tenant has.
fn filled(path: &str, names: &BTreeMap<&'static str, Vec<String>>) -> Vec<(String, String)> {
    let mut paths = vec![(path.to_owned(), path.to_owned())];
    while let Some(begin) = paths[0].0.find('{') {
        let end = paths[0].0.find('}').unwrap();
        let parameter = paths[0].0[begin + 1..end].to_owned();
        let known = names.get(parameter.as_str());
        let known = known.unwrap_or_else(|| panic!("{path}: say in `tenant` what {parameter} names"));
        let fill = |(foreign, none): &(String, String), name: &String| {
            let place = format!("{{{parameter}}}");
            (foreign.replace(&place, name), none.replace(&place, &absent(name)))
        };
        paths = paths.iter().flat_map(|pair| known.iter().map(move |name| fill(pair, name))).collect();
    }
    paths
}

async fn answer(api: &Api, key: &str, method: &Method, path: &str, body: &Value) -> Answer {
    let headers = [("x-request-id", "the-same")];
    let body = (*method != Method::GET).then(|| body.to_string());
    api.send(Ask { key: Some(key), method: method.clone(), path, headers: &headers, body }).await
}

fn headers(answer: &Answer) -> BTreeMap<String, String> {
    let headers = answer.headers.iter().filter(|(name, _)| !OWN_TO_EACH_ANSWER.contains(&name.as_str()));
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_absent_are_the_same_on_every_route_of_the_document() {
    let api = Api::start().await;
    let (x, y) = (tenant(&api, "x-corp").await, tenant(&api, "y-corp").await);
    let document = api.ask(&x.keys["viewer"], Method::GET, "/api/v1/openapi.json", None).await;
    assert_eq!(document.status, StatusCode::OK);
    // Before anything is asked for by name: what a tenant has asked for itself, its own audit repeats.
    for path in document.json()["paths"].as_object().unwrap().keys().filter(|path| !path.contains('{')) {
        for (role, key) in &x.keys {
            if path == "/api/v1/events" {
                // Its response does not end; that it shows no other tenant's events is a test of its own.
                continue;
            }
            let list = answer(&api, key, &Method::GET, path, &json!({})).await;
            let told = y.secrets.iter().find(|secret| list.text.contains(secret.as_str()));
            assert_eq!(told, None, "{role} reads {path}: {}", list.text);
        }
    }
    let mut compared = 0;
    for (path, item) in document.json()["paths"].as_object().unwrap() {
        for name in item.as_object().unwrap().keys() {
            let method: Method = name.to_uppercase().parse().unwrap();
            // What is for whoever has no credential yet.
            if item[name]["security"] == json!([{}]) {
                continue;
            }
            let nobody = Ask { key: None, method: method.clone(), path, headers: &[], body: None };
            assert_eq!(api.send(nobody).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            if !path.contains('{') {
                continue;
            }
            for (role, key) in &x.keys {
                for (foreign, none) in filled(path, &y.names) {
                    for body in [json!({}), json!({ "title": "mine", "name": "mine" }), json!({ "no": "such" })] {
                        let foreign = answer(&api, key, &method, &foreign, &body).await;
                        let none = answer(&api, key, &method, &none, &body).await;
                        let what = format!("{role}: {method} {path} {body}");
                        assert!([403, 404].contains(&foreign.status.as_u16()), "{what}: {}", foreign.text);
                        assert_eq!((foreign.status, &foreign.text), (none.status, &none.text), "{what}");
                        assert_eq!(headers(&foreign), headers(&none), "{what}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 100, "{compared}");
    // An operator's header does not open another tenant either.
    for wanted in ["y-corp", "z-corp", &y.names["tenant"][0]] {
        let headers = [("x-sealcast-tenant", wanted), ("x-request-id", "the-same")];
        let (key, path) = (Some(x.keys["owner"].as_str()), "/api/v1/streams");
        let refused = api.send(Ask { key, method: Method::GET, path, headers: &headers, body: None }).await;
        assert_eq!(refused.problem(), "not-found", "{wanted}");
    }
    // Nothing of it was done, and nobody is told that it was tried.
    let own = api.ask(&y.keys["owner"], Method::GET, "/api/v1/streams/y-corp.secret-show", None).await.json();
    assert_eq!((own["version"].as_i64(), own["title"].as_str()), (Some(2), Some("")));
    let audit = api.ask(&y.keys["owner"], Method::GET, "/api/v1/audit?limit=200", None).await;
    assert!(audit.status.is_success() && x.secrets.iter().all(|secret| !audit.text.contains(secret.as_str())));
    let tried = audit.json()["items"].as_array().unwrap().iter().filter(|row| row["result"] != "done").count();
    assert_eq!(tried, 0, "{}", audit.text);
}
