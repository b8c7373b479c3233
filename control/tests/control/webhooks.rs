//! Webhooks and the outbox through the API: rows, secrets, tests, replays, and events of streams that control hears on the bus.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Status};
use bus::Message;
use control::Config;
use messages::{Prefix, Role, Topic};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Api, Ask};
use crate::cluster::{PATIENCE, config};

/// A receiver that takes everything.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let it = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let app = Router::new().fallback(take).with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        it
    }

    fn url(&self) -> String {
        format!("http://{}/hooks/a-secret-path", self.address)
    }

    /// Control whose operator lets webhooks go here.
    async fn api(&self) -> Api {
        let outbound_allow = vec![format!("http://{}", self.address)];
        Api::start_with(Config { outbound_allow, ..config() }).await
    }

    fn types(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn until(&self, what: &str, wanted: &[&str]) {
        let wait = async {
            while self.types() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        assert!(done.is_ok(), "{what}: {:?}", self.types());
    }
}

async fn take(State(it): State<Receiver>, headers: HeaderMap, body: Bytes) -> Status {
    it.got.lock().unwrap().push((headers, body));
    Status::NO_CONTENT
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_made_tested_rotated_replayed_and_deleted() {
    let receiver = Receiver::start().await;
    let api = receiver.api().await;
    api.tenant("acme").await;
    let key = api.secret("acme", "owner").await;
    let path = "/api/v1/webhooks";
    let ask = async |method, path: &str, body| api.ask(&key, method, path, body).await;
    // What it may lead to, and what it may get.
    for url in [
        "https://169.254.169.254/",
        "https://localhost./",
        "http://hooks.example/",
        "https://0x7f000001/",
        "file:///etc/passwd",
    ] {
        let refused = ask(Method::POST, path, Some(json!({ "url": url }))).await;
        assert_eq!(
            (refused.problem().as_str(), refused.status),
            ("target-refused", StatusCode::UNPROCESSABLE_ENTITY),
            "{url}"
        );
    }
    for (body, at) in [
        (json!({}), "#/url"),
        (json!({ "url": receiver.url(), "types": ["stream.fly"] }), "#/types/0"),
        (json!({ "url": receiver.url(), "types": [] }), "#/types"),
        (json!({ "url": receiver.url(), "secret": "whsec_mine" }), "#/secret"),
    ] {
        let refused = ask(Method::POST, path, Some(body)).await;
        assert_eq!((refused.problem().as_str(), text(&refused.json()["errors"][0], "pointer")), ("invalid", at));
    }
    let made = ask(Method::POST, path, Some(json!({ "url": receiver.url(), "types": ["stream.*"] }))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let (made, own) = (made.json(), format!("{path}/{}", text(&made.json(), "id")));
    let secret = text(&made, "secret").to_owned();
    assert!(secret.starts_with("whsec_") && text(&made, "id").starts_with("whk_"), "{made}");
    let shown = ask(Method::GET, &own, None).await.json();
    assert!(shown["secret"].is_null() && shown["state"] == "active" && shown["url"] == receiver.url(), "{shown}");

    let tested = ask(Method::POST, &format!("{own}/test"), None).await.json();
    assert_eq!((tested["delivered"].as_bool(), tested["status"].as_i64()), (Some(true), Some(204)), "{tested}");
    let (headers, body) = receiver.got.lock().unwrap()[0].clone();
    standardwebhooks::Webhook::new(&secret).unwrap().verify(&body, &headers).unwrap();

    api.stream(&key, "acme.hall").await;
    receiver.until("the stream is made", &["webhook.test", "stream.created"]).await;
    let rotate = format!("{own}/rotate-secret");
    let rotated = ask(Method::POST, &rotate, None).await.json();
    assert!(text(&rotated, "secret") != secret && rotated["overlap_until_at"].is_i64(), "{rotated}");
    assert_eq!(ask(Method::POST, &rotate, None).await.problem(), "state");
    let forced = ask(Method::POST, &rotate, Some(json!({ "force": true, "overlap_s": 0 }))).await.json();
    assert!(forced["overlap_until_at"].is_null(), "{forced}");

    let deliveries = format!("{own}/deliveries");
    let list = ask(Method::GET, &format!("{deliveries}?state=delivered"), None).await.json();
    let first = &list["items"][0];
    assert_eq!(
        (text(first, "type"), first["status"].as_i64(), first["attempts"].as_i64()),
        ("stream.created", Some(204), Some(1)),
        "{list}"
    );
    let redeliver = format!("{deliveries}/{}/redeliver", text(first, "id"));
    assert_eq!(ask(Method::POST, &redeliver, None).await.status, StatusCode::OK);
    receiver.until("it comes again", &["webhook.test", "stream.created", "stream.created"]).await;
    let ids: Vec<HeaderMap> = receiver.got.lock().unwrap().iter().map(|(headers, _)| headers.clone()).collect();
    assert_eq!(ids[1]["webhook-id"], ids[2]["webhook-id"]);
    let replayed = ask(Method::POST, &format!("{own}/replay"), Some(json!({ "from_at": 0 }))).await.json();
    assert_eq!((replayed["queued_count"].as_i64(), &replayed["next_from_at"]), (Some(1), &Value::Null));
    assert_eq!(ask(Method::POST, &format!("{own}/replay"), None).await.problem(), "invalid");

    // Whoever may not read streams, gets no events of streams; and nothing of it in the audit leads to the receiver.
    let body = json!({ "name": "hooks only", "scopes": ["webhooks:read", "webhooks:write"] });
    let limited = api.operate("acme", Method::POST, "/api/v1/api-keys", Some(body)).await.json();
    let refused = api.ask(text(&limited, "secret"), Method::POST, path, Some(json!({ "url": receiver.url() }))).await;
    assert_eq!(refused.problem(), "scope-missing");
    let disabled = ask(Method::PATCH, &own, Some(json!({ "state": "disabled" }))).await.json();
    assert_eq!((text(&disabled, "state"), text(&disabled, "disabled_reason")), ("disabled", "its tenant disabled it"));
    assert_eq!(ask(Method::POST, &format!("{own}/replay"), Some(json!({ "from_at": 0 }))).await.problem(), "state");
    let active = ask(Method::PATCH, &own, Some(json!({ "state": null, "types": ["stream.deleted"] }))).await.json();
    assert_eq!((text(&active, "state"), &active["disabled_reason"]), ("active", &Value::Null));
    let audit = ask(Method::GET, "/api/v1/audit", None).await.text;
    assert!(
        !audit.contains("a-secret-path") && !audit.contains(&secret) && audit.contains("webhooks.rotate-secret"),
        "{audit}"
    );
    let kept = std::fs::read(api.cluster.directory.path().join("c1/catalogue.db")).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(&secret), "the database has no secret");
    assert_eq!(ask(Method::DELETE, &own, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::GET, &deliveries, None).await.problem(), "not-found");
}

/// Lines of a response with server-sent events.
pub(crate) struct Listening {
    response: reqwest::Response,
    text: String,
}

impl Listening {
    pub(crate) async fn until(&mut self, part: &str) -> &str {
        let wait = async {
            while !self.text.contains(part) {
                let chunk = self.response.chunk().await.unwrap().unwrap_or_else(|| panic!("it ended: {}", self.text));
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        assert!(done.is_ok(), "no {part}: {}", self.text);
        &self.text
    }

    /// Waits for the end; returns what came until then.
    async fn end(mut self) -> String {
        let wait = async {
            while let Some(chunk) = self.response.chunk().await.unwrap() {
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it ends");
        self.text
    }

    fn ids(&self) -> Vec<i64> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect()
    }
}

pub(crate) async fn listen(api: &Api, key: &str, last: Option<&str>) -> Listening {
    let mut headers = vec![("x-api-key", key)];
    headers.extend(last.map(|last| ("last-event-id", last)));
    let response = api.open("/api/v1/events", &headers).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Listening { response, text: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_heard_as_they_happen_resumed_without_gap_or_repeat_and_end_with_the_key() {
    let receiver = Receiver::start().await;
    let api = receiver.api().await;
    for tenant in ["acme", "other"] {
        api.tenant(tenant).await;
    }
    let (key, other) = (api.secret("acme", "owner").await, api.secret("other", "owner").await);
    let reader = api.key("acme", "viewer").await;
    let mut all = listen(&api, &key, None).await;
    let mut some = listen(&api, text(&reader, "secret"), None).await;
    all.until("id: ").await;
    api.stream(&other, "other.hall").await;
    api.stream(&key, "acme.hall").await;
    let spare = api.secret("acme", "viewer").await;
    all.until("event: api_key.created").await;
    assert!(all.text.contains("event: stream.created") && !all.text.contains("other.hall"), "{}", all.text);
    // Who reads streams hears of streams, and of no keys.
    api.stream(&key, "acme.stage").await;
    let heard = some.until("acme.stage").await;
    assert!(heard.contains("acme.hall") && !heard.contains("api_key"), "{heard}");
    all.until("acme.stage").await;
    let ids = all.ids();
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "places without gaps: {ids:?}");
    // Whoever was away hears what it has missed, and nothing twice.
    let first = ids[1].to_string();
    let mut resumed = listen(&api, &key, Some(&first)).await;
    resumed.until("acme.stage").await;
    assert_eq!(resumed.ids(), [&[ids[1]], &ids[2..]].concat());
    // Too long ago, in the future, or no place at all.
    for last in ["999999", "hall"] {
        let mut reset = listen(&api, &key, Some(last)).await;
        assert!(reset.until("event: reset").await.contains("data: {}"));
    }
    // A suspended tenant's keys may still read; a deleted key hears nothing more.
    let mut ends = listen(&api, &spare, None).await;
    ends.until("id: ").await;
    let keys = api.ask(&key, Method::GET, "/api/v1/api-keys", None).await.json();
    let newest = keys["items"].as_array().unwrap().last().unwrap();
    let gone = api.ask(&key, Method::DELETE, &format!("/api/v1/api-keys/{}", text(newest, "id")), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let said = ends.end().await;
    api.stream(&key, "acme.after").await;
    assert!(!said.contains("acme.after"), "{said}");
    all.until("event: api_key.deleted").await;
    assert_eq!(
        api.send(Ask { key: None, method: Method::GET, path: "/api/v1/events", headers: &[], body: None })
            .await
            .problem(),
        "unauthenticated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_control_hears_of_a_stream_becomes_its_events() {
    let receiver = Receiver::start().await;
    let api = receiver.api().await;
    let made = json!({ "url": receiver.url(), "types": ["stream.*", "token.revoked"] });
    let made = api.operate("default", Method::POST, "/api/v1/webhooks", Some(made)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let (prefix, end) = (Prefix::default(), api.cluster.all.clone());
    let ingest = bus::connect(&api.cluster.bus("i1"), "i1", None, None, end.clone()).await.unwrap();
    let broadcast = bus::connect(&api.cluster.bus("b1"), "b1", None, None, end).await.unwrap();
    let session = async |epoch: u64, state: &str, started_at: u64| {
        let payload = json!({
            "stream": "hall", "epoch": epoch, "session": "00000000000000000000000000000001", "ingest": "i1", "state": state,
            "started_at": started_at, "ladder": [],
        });
        let topic = prefix.name(&Topic::Session("hall".parse().unwrap()));
        ingest.publish(Message { topic, payload: payload.to_string().into(), retain: true }).await.unwrap();
    };
    session(7, "live", 1).await;
    receiver.until("its publisher is there", &["stream.connected"]).await;
    let presence = json!({
        "node": "b1", "role": "broadcast", "state": "online", "at": 1, "started_at": 1, "version": "0", "streams": ["hall"],
        "load": { "cores": 1, "cpu": 0.0, "memory_bytes": 0, "memory_total_bytes": 1, "disk_free_bytes": 1, "egress": 0, "egress_capacity": 0, "requests_per_second": 0.0 },
    });
    let topic = prefix.name(&Topic::Node("b1".parse().unwrap()));
    api.cluster.member(&format!("{}/cluster/v1", api.base), "b1", Role::Broadcast).await;
    broadcast.publish(Message { topic, payload: presence.to_string().into(), retain: true }).await.unwrap();
    receiver.until("a node has it", &["stream.connected", "stream.live"]).await;
    session(7, "reconnecting", 1).await;
    let alert = json!({ "at": 5, "node": "b1", "stream": "hall", "reason": "signature", "detail": "the signature is wrong", "count": 3 });
    broadcast
        .publish(Message { topic: prefix.name(&Topic::Alerts), payload: alert.to_string().into(), retain: false })
        .await
        .unwrap();
    let all = ["stream.connected", "stream.live", "stream.reconnecting", "stream.refused"];
    let is_there = async |wanted: &[&str]| {
        let wait = async {
            while receiver.types().len() < wanted.len() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{:?}", receiver.types());
        let mut types = receiver.types();
        // Two topics of the bus have no order between them.
        types.sort();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(types, wanted);
    };
    is_there(&all).await;
    session(7, "ended", 1).await;
    is_there(&[&all[..], &["stream.ended"]].concat()).await;
    let (_, body) = receiver.got.lock().unwrap().last().unwrap().clone();
    let ended: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (
            ended["data"]["epoch"].as_i64(),
            ended["data"]["current"]["state"].as_str(),
            ended["data"]["object"]["name"].as_str()
        ),
        (Some(7), Some("ended"), Some("hall")),
        "{ended}"
    );
    let revoke = api
        .operate("default", Method::POST, "/api/v1/viewer-tokens/revoke", Some(json!({ "jti": "0123456789abcdef" })))
        .await;
    assert_eq!(revoke.status, StatusCode::OK, "{}", revoke.text);
    is_there(&[&all[..], &["stream.ended", "token.revoked"]].concat()).await;
}

/// The studio listens with a cookie, for longer than control takes to look whether the credential still counts.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_hears_of_members_until_it_signs_out() {
    let api = Api::start().await;
    let mut browser = crate::people::operator(&api).await;
    let cookie = format!("{}={}", access::session::COOKIE, browser.cookie);
    let response = api.open("/api/v1/events", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut all = Listening { response, text: String::new() };
    all.until("id: ").await;
    for name in ["Bob", "Eve"] {
        let body = json!({ "name": name, "role": "viewer" });
        let made = browser.send(Method::POST, "/api/v1/members", &[], Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        browser.keep(&made);
        let id = text(&made.json(), "id").to_owned();
        let heard = all.until(&id).await;
        assert!(heard.contains("event: member.created") && !heard.contains("sci_"), "{heard}");
    }
    let out = browser.send(Method::DELETE, "/api/v1/session", &[], None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text);
    all.end().await;
}
