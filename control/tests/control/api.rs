//! `/api/v1` as a load balancer's clients get it: credentials, scopes, bodies, versions, repeats, lists, limits.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use control::Config;

use crate::cluster::{Cluster, config};

/// Control, and who asks it.
pub(crate) struct Api {
    pub(crate) cluster: Cluster,
    /// With the certificate of a load balancer: the client's credential decides.
    pub(crate) balancer: Client,
    /// With the certificate of control: the operator at the machine.
    operator: Client,
    pub(crate) base: String,
    /// The link by which somebody becomes the operator.
    pub(crate) set_up: Option<String>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["request_id"], self.header("x-request-id"));
        body["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn made(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text);
        self.json()
    }
}

/// A request with its headers.
pub(crate) struct Ask<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<String>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let cluster = Cluster::start().await;
        let context = cluster.context("c1", messages::Role::Control, true, &cluster.all).await;
        let control = control::Control::load(config, context).await.unwrap();
        let set_up = control.set_up_link().map(node::Redacted::into_inner);
        let base = format!("https://{}/cluster/v1", control.data_address());
        tokio::spawn(control.run(cluster.all.clone()));
        Self { set_up, ..Self::at(cluster, &base).await }
    }

    /// A control node that runs already.
    pub(crate) async fn at(cluster: Cluster, base: &str) -> Self {
        let balancer = cluster.member(base, "lb1", messages::Role::LoadBalancer).await;
        let operator = cluster.operator();
        let base = base.trim_end_matches("/cluster/v1").to_owned();
        Self { cluster, balancer, operator, base, set_up: None }
    }

    /// The node was started again, and listens elsewhere.
    pub(crate) fn moved(&mut self, base: &str) {
        self.base = base.trim_end_matches("/cluster/v1").to_owned();
    }

    pub(crate) async fn send(&self, ask: Ask<'_>) -> Answer {
        let mut request = self.balancer.request(ask.method, format!("{}{}", self.base, ask.path));
        if let Some(key) = ask.key {
            request = request.header("x-api-key", key);
        }
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = ask.body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    /// A response whose body has no end.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.balancer.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn ask(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        self.send(Ask { key: Some(key), method, path, headers: &[], body }).await
    }

    /// As the operator, in the name of a tenant.
    pub(crate) async fn operate(&self, tenant: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.operator.request(method, format!("{}{path}", self.base)).header("x-sealcast-tenant", tenant);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    pub(crate) async fn tenant(&self, slug: &str) -> Value {
        self.operate("default", Method::POST, "/api/v1/tenants", Some(json!({ "slug": slug }))).await.made()
    }

    /// Makes a key of a role; returns its row, with the secret.
    pub(crate) async fn key(&self, tenant: &str, role: &str) -> Value {
        let body = json!({ "name": format!("{role} of {tenant}"), "role": role });
        self.operate(tenant, Method::POST, "/api/v1/api-keys", Some(body)).await.made()
    }

    pub(crate) async fn secret(&self, tenant: &str, role: &str) -> String {
        self.key(tenant, role).await["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn stream(&self, key: &str, name: &str) -> Value {
        self.ask(key, Method::POST, "/api/v1/streams", Some(json!({ "name": name }))).await.made()
    }
}

pub(crate) fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_made_by_a_key_is_one_that_ingests_know_and_its_tenant_owns() {
    let api = Api::start().await;
    api.tenant("acme").await;
    let key = api.secret("acme", "owner").await;
    let made = api.stream(&key, "acme.hall").await;
    let secret = made["key"]["secret"].as_str().unwrap();
    assert!(secret.ends_with(made["key"]["hint"].as_str().unwrap()) && made["version"] == 1, "{made}");
    // By name and by identity; the key is shown once.
    for name in ["acme.hall", id(&made)] {
        let shown =
            api.ask(&key, Method::GET, &format!("/api/v1/streams/{name}?include=live,input"), None).await.made();
        assert_eq!((shown["key"]["secret"].clone(), shown["live"]["state"].as_str()), (Value::Null, Some("idle")));
    }
    let ingest = api.cluster.ingest(&format!("{}/cluster/v1", api.base), "i1").await;
    let table = ingest.get(format!("{}/cluster/v1/streams", api.base)).send().await.unwrap();
    let table: messages::StreamTable = table.json().await.unwrap();
    let known = table.streams.iter().find(|entry| entry.name.as_str() == "acme.hall").expect("an ingest knows it");
    assert!(known.has_key(secret));

    let rotated = api.ask(&key, Method::POST, "/api/v1/streams/acme.hall/rotate-key", None).await.made();
    assert!(rotated["version"] == 2 && rotated["key"]["secret"] != made["key"]["secret"]);
    let used = api.ask(&key, Method::GET, "/api/v1/usage", None).await.made();
    assert_eq!(used["used"]["streams"], 1);
    let gone = api.ask(&key, Method::DELETE, "/api/v1/streams/acme.hall", None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    assert_eq!(api.ask(&key, Method::GET, "/api/v1/streams/acme.hall", None).await.problem(), "not-found");
    // What the operator names after a tenant is the tenant's.
    let by_command = json!({ "name": "acme.by-command" });
    let url = "/cluster/v1/admin/streams";
    assert_eq!(api.operate("default", Method::POST, url, Some(by_command)).await.status, StatusCode::CREATED);
    let list = api.ask(&key, Method::GET, "/api/v1/streams", None).await.made();
    assert_eq!(list["items"][0]["name"], "acme.by-command");
}

/// Case A2: each kind of secret at this door.
#[tokio::test(flavor = "multi_thread")]
async fn secret_of_another_kind_is_refused_by_the_name_of_its_kind() {
    let api = Api::start().await;
    let key = api.secret("default", "owner").await;
    let asked = async |headers: &[(&str, &str)]| {
        let (key, method, path) = (None, Method::GET, "/api/v1/session");
        api.send(Ask { key, method, path, headers, body: None }).await
    };
    for (secret, kind) in [
        ("scp_0123456789abcdef0123456789abcdef", "a stream key"),
        ("scv_abc", "a viewer token"),
        ("scs_abc", "a session cookie"),
        ("sci_abc", "a set-up link"),
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "a JWT"),
    ] {
        let bearer = format!("Bearer {secret}");
        for headers in [[("x-api-key", secret)], [("authorization", bearer.as_str())]] {
            let answer = asked(&headers).await;
            assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::UNAUTHORIZED, "wrong-kind"));
            assert!(answer.text.contains(kind) && !answer.text.contains(secret), "{}", answer.text);
        }
    }
    for wrong in ["", "hunter2", "sc_", &format!("{}u", &key[..key.len() - 1]), &key[..key.len() - 1]] {
        let answer = asked(&[("x-api-key", wrong)]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::UNAUTHORIZED, "unauthenticated"),
            "{wrong}"
        );
    }
    assert_eq!(asked(&[]).await.problem(), "unauthenticated");
    assert_eq!(asked(&[("x-api-key", &key), ("authorization", "Bearer x")]).await.problem(), "malformed");
    let bearer = format!("bearer {key}");
    assert_eq!(asked(&[("authorization", &bearer)]).await.status, StatusCode::OK);
    // Only balancers and control reach this plane at all.
    let ingest = api.cluster.ingest(&format!("{}/cluster/v1", api.base), "i1").await;
    let answer = ingest.get(format!("{}/api/v1/session", api.base)).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_rotated_with_an_overlap_expires_and_ends() {
    let api = Api::start().await;
    let (owner, made) = (api.secret("default", "owner").await, api.key("default", "viewer").await);
    let (path, old) = (format!("/api/v1/api-keys/{}", id(&made)), made["secret"].as_str().unwrap());
    let session = async |key: &str| api.ask(key, Method::GET, "/api/v1/session", None).await;
    let rotate = async |overlap_s: u32| {
        api.ask(&owner, Method::POST, &format!("{path}/rotate"), Some(json!({ "overlap_s": overlap_s }))).await
    };
    let new = rotate(3_600).await.made();
    let new = new["secret"].as_str().unwrap();
    assert_eq!((session(old).await.status, session(new).await.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(rotate(0).await.problem(), "state", "one overlap at a time");
    assert_eq!(rotate(700_000).await.problem(), "invalid");

    let other = api.key("default", "viewer").await;
    let rotated = api.ask(&owner, Method::POST, &format!("/api/v1/api-keys/{}/rotate", id(&other)), None).await.made();
    assert_eq!(session(other["secret"].as_str().unwrap()).await.problem(), "unauthenticated");
    assert_eq!(session(rotated["secret"].as_str().unwrap()).await.status, StatusCode::OK);

    let soon = node::clock::Clock::new().wall().0 + 1_500;
    let body = json!({ "name": "short", "role": "viewer", "expires_at": soon });
    let short = api.ask(&owner, Method::POST, "/api/v1/api-keys", Some(body)).await.made();
    let short = short["secret"].as_str().unwrap();
    testkit::wait::eventually_async("the key expires", crate::cluster::PATIENCE, async || {
        let answer = session(short).await;
        (answer.status == StatusCode::UNAUTHORIZED).then(|| assert_eq!(answer.problem(), "expired"))
    })
    .await;

    assert_eq!(api.ask(&owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(session(new).await.problem(), "unauthenticated");
    let used = api.ask(&owner, Method::GET, "/api/v1/api-keys?sort=-created_at", None).await.made();
    assert!(used["items"].as_array().unwrap().iter().all(|key| key["secret"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_makes_or_changes_one_that_may_do_more() {
    let api = Api::start().await;
    let (owner, operator) = (api.key("default", "owner").await, api.key("default", "operator").await);
    let body = json!({ "name": "keys", "scopes": ["api-keys:read", "api-keys:write"] });
    let small = api.operate("default", Method::POST, "/api/v1/api-keys", Some(body)).await.made();
    let small = small["secret"].as_str().unwrap();
    let row = |key: &Value| format!("/api/v1/api-keys/{}", id(key));
    for (method, path, body) in [
        (Method::POST, "/api/v1/api-keys".to_owned(), json!({ "name": "more", "role": "owner" })),
        (Method::POST, "/api/v1/api-keys".to_owned(), json!({ "name": "more", "scopes": ["streams:read"] })),
        (Method::POST, format!("{}/rotate", row(&owner)), json!({})),
        (Method::PATCH, row(&owner), json!({ "name": "mine" })),
    ] {
        let answer = api.ask(small, method.clone(), &path, Some(body)).await;
        assert_eq!(answer.problem(), "scope-missing", "{method} {path}");
    }
    let owner = owner["secret"].as_str().unwrap();
    let answer =
        api.ask(owner, Method::POST, "/api/v1/api-keys", Some(json!({ "name": "o", "role": "operator" }))).await;
    assert_eq!(answer.problem(), "scope-missing");
    let answer = api.ask(owner, Method::POST, &format!("{}/rotate", row(&operator)), None).await;
    assert_eq!(answer.problem(), "scope-missing");
    assert_eq!(api.ask(owner, Method::DELETE, &row(&operator), None).await.problem(), "scope-missing");
    // An operator's key belongs to default.
    api.tenant("acme").await;
    // What sees the cluster sees no tenant but its own, and what reads all tenants changes none.
    let body = json!({ "name": "o", "scopes": ["cluster:read", "streams:read", "api-keys:write"] });
    let monitor = api.operate("default", Method::POST, "/api/v1/api-keys", Some(body)).await.made();
    let body = json!({ "name": "o", "scopes": ["tenants:read", "streams:read", "api-keys:write"] });
    let reader = api.operate("default", Method::POST, "/api/v1/api-keys", Some(body)).await.made();
    for (key, method, path, body, expected) in [
        (&monitor, Method::GET, "/api/v1/streams", None, StatusCode::NOT_FOUND),
        (&reader, Method::GET, "/api/v1/streams", None, StatusCode::OK),
        (&reader, Method::POST, "/api/v1/api-keys", Some(json!({ "name": "mine" })), StatusCode::NOT_FOUND),
    ] {
        let (key, headers) = (key["secret"].as_str(), &[("x-sealcast-tenant", "acme")][..]);
        let body = body.map(|body| body.to_string());
        assert_eq!(api.send(Ask { key, method, path, headers, body }).await.status, expected, "{path}");
    }
    let body = json!({ "name": "o", "role": "operator" });
    assert_eq!(api.operate("acme", Method::POST, "/api/v1/api-keys", Some(body)).await.problem(), "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_that_change_one_version_one_wins_and_a_patch_is_a_merge() {
    let api = Api::start().await;
    let key = api.secret("default", "owner").await;
    api.stream(&key, "choir").await;
    let path = "/api/v1/streams/choir";
    let shown = api.ask(&key, Method::GET, path, None).await;
    let tag = shown.header("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    let conditional = async |method: Method, name: &str, tag: &str, body: Value| {
        let body = (method != Method::GET).then(|| body.to_string());
        api.send(Ask { key: Some(&key), method, path, headers: &[(name, tag)], body }).await
    };
    assert_eq!(conditional(Method::GET, "if-none-match", &tag, json!({})).await.status, StatusCode::NOT_MODIFIED);
    let writes = (0..100).map(|n| conditional(Method::PATCH, "if-match", &tag, json!({ "title": format!("t{n}") })));
    let answers = futures_util::future::join_all(writes).await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    let lost = answers.iter().filter(|answer| answer.status == StatusCode::PRECONDITION_FAILED).count();
    assert_eq!((won, lost), (1, 99));
    assert_eq!(conditional(Method::DELETE, "if-match", &tag, json!({})).await.problem(), "version-mismatch");
    // Without a condition, all are made one after another.
    let names = ["title", "description", "category"];
    let writes = names.iter().map(|name| {
        let body = json!({ *name: format!("{name} of all") });
        api.ask(&key, Method::PATCH, path, Some(body))
    });
    for answer in futures_util::future::join_all(writes).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let row = api.ask(&key, Method::PATCH, path, Some(json!({ "title": null }))).await.made();
    assert_eq!(
        (row["title"].as_str(), row["description"].as_str(), row["version"].as_i64()),
        (Some(""), Some("description of all"), Some(6))
    );
    for (body, pointer, code) in [
        (json!({ "titel": "x" }), "#/titel", "unknown"),
        (json!({ "name": "other" }), "#/name", "read_only"),
        (json!({ "key": {} }), "#/key", "read_only"),
        (json!({ "title": 7 }), "#/title", "wrong_type"),
        (json!({ "title": "x".repeat(201) }), "#/title", "too_long"),
    ] {
        let answer = api.ask(&key, Method::PATCH, path, Some(body)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"));
        assert_eq!(answer.json()["errors"], json!([{ "pointer": pointer, "code": code }]));
    }
    let asked = async |path: &str| api.ask(&key, Method::GET, path, None).await.problem();
    assert_eq!(asked("/api/v1/streams?colour=red").await, "unknown-parameter");
    assert_eq!(asked("/api/v1/streams?limit=5&limit=6").await, "unknown-parameter");
    assert_eq!(asked("/api/v1/streams?limit=0").await, "malformed");
    assert_eq!(asked("/api/v1/streams?cursor=00").await, "cursor-invalid");
    assert_eq!(asked("/api/v1/nothing").await, "not-found");
    assert_eq!(api.ask(&key, Method::PUT, path, None).await.problem(), "method-not-allowed");
    let large = Some(json!({ "title": "x".repeat(70_000) }));
    assert_eq!(api.ask(&key, Method::PATCH, path, large).await.problem(), "too-large");
    // The configuration has this stream, and its key.
    assert_eq!(api.ask(&key, Method::DELETE, "/api/v1/streams/hall", None).await.problem(), "from-file");
    assert_eq!(api.ask(&key, Method::POST, "/api/v1/streams/hall/rotate-key", None).await.problem(), "from-file");
}

/// Case E4, checks 5 and 6: one object, the same secret again, and no store that has it.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_makes_one_object_and_gets_its_secret_again() {
    let api = Api::start().await;
    let key = api.secret("default", "owner").await;
    let (headers, body) = ([("idempotency-key", "0123456789-0123456789")], json!({ "name": "choir" }).to_string());
    let post = async |body: &str, headers: &[(&str, &str)]| {
        let (method, path) = (Method::POST, "/api/v1/streams");
        api.send(Ask { key: Some(&key), method, path, headers, body: Some(body.to_owned()) }).await
    };
    let answers = futures_util::future::join_all((0..50).map(|_| post(&body, &headers))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.text == made[0].text));
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert_eq!(answer.problem(), "running");
    }
    let again = post(&body, &headers).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!(again.text, made[0].text);
    let secret = again.json()["key"]["secret"].as_str().unwrap().to_owned();
    let list = api.ask(&key, Method::GET, "/api/v1/streams?q=choir", None).await.made();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(post(r#"{"name":"other"}"#, &headers).await.problem(), "key-reused");
    assert_eq!(post(&body, &[("idempotency-key", "short")]).await.problem(), "malformed");
    assert_eq!(post(&body, &[]).await.problem(), "name-taken");
    // Another tenant's key of the same name is another key.
    api.tenant("acme").await;
    let acme = api.secret("acme", "owner").await;
    let path = "/api/v1/streams";
    let body = Some(r#"{"name":"acme.choir"}"#.to_owned());
    let ask = Ask { key: Some(&acme), method: Method::POST, path, headers: &headers, body };
    assert_eq!(api.send(ask).await.status, StatusCode::CREATED);

    // Case A3: what was shown once is in no file of control.
    let data = api.cluster.directory.path().join("c1");
    for secret in [&secret, &key, &acme, &"0123456789-0123456789".to_owned()] {
        for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let bytes = std::fs::read(entry.path()).unwrap();
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} is in {}", &secret[..4], entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_walks_a_list_under_changes_without_a_repeat_or_a_gap() {
    const STREAMS: usize = 120;
    let api = Api::start().await;
    let key = api.secret("default", "owner").await;
    for n in 0..STREAMS {
        api.stream(&key, &format!("stays{n}")).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/api/v1/streams?limit=7".to_owned();
    for round in 0.. {
        let page = api.ask(&key, Method::GET, &path, None).await.made();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/streams?limit=7&cursor={cursor}");
        api.stream(&key, &format!("comes{round}")).await;
        if round > 0 {
            let gone = format!("/api/v1/streams/comes{}", round - 1);
            assert_eq!(api.ask(&key, Method::DELETE, &gone, None).await.status, StatusCode::NO_CONTENT);
        }
    }
    let stay = |name: &&String| name.starts_with("stays");
    let mut stays: Vec<&String> = seen.iter().filter(stay).collect();
    stays.sort();
    stays.dedup();
    assert_eq!((stays.len(), seen.iter().filter(stay).count()), (STREAMS, STREAMS));
    let newest = api.ask(&key, Method::GET, "/api/v1/streams?sort=-created_at&limit=1", None).await.made();
    assert!(newest["items"][0]["name"].as_str().unwrap().starts_with("comes"), "{newest}");
    let found = api.ask(&key, Method::GET, "/api/v1/streams?q=STAYS11&limit=200", None).await.made();
    assert_eq!(found["items"].as_array().unwrap().len(), 11, "stays11 and stays110 to stays119");
    let after = newest["items"][0]["created_at"].as_i64().unwrap();
    let none = format!("/api/v1/streams?created_after={}", after + 1);
    assert_eq!(api.ask(&key, Method::GET, &none, None).await.made()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_there_is_room_and_nobody_else_waits() {
    let api = Api::start().await;
    let (greedy, other) = (api.secret("default", "viewer").await, api.secret("default", "viewer").await);
    let session = async |key: &str| api.ask(key, Method::GET, "/api/v1/session", None).await;
    let first = session(&greedy).await;
    assert_eq!(first.header("ratelimit-policy"), "\"credential\";q=600;w=30");
    let refused = loop {
        let answers = futures_util::future::join_all((0..100).map(|_| session(&greedy))).await;
        if let Some(refused) = answers.into_iter().find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS) {
            break refused;
        }
    };
    assert_eq!(refused.problem(), "rate-limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(refused.header("ratelimit").contains("r=0"), "{}", refused.header("ratelimit"));
    assert_eq!(session(&other).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_holds_and_a_suspended_tenant_only_reads() {
    let api = Api::start().await;
    api.tenant("acme").await;
    let key = api.secret("acme", "owner").await;
    let settings = json!({ "quota": { "streams": 1 } });
    api.operate("default", Method::PATCH, "/api/v1/tenants/acme", Some(settings)).await.made();
    let make = async |name: &str| api.ask(&key, Method::POST, "/api/v1/streams", Some(json!({ "name": name }))).await;
    assert_eq!(make("acme.a").await.status, StatusCode::CREATED);
    let refused = make("acme.b").await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::FORBIDDEN, "quota"));
    let own = api.ask(&key, Method::PATCH, "/api/v1/tenant", Some(json!({ "quota": null }))).await;
    assert_eq!(own.problem(), "invalid", "a quota is the operator's");
    let renamed = api.ask(&key, Method::PATCH, "/api/v1/tenant", Some(json!({ "name": "Acme Ltd" }))).await.made();
    assert_eq!((renamed["name"].as_str(), renamed["quota"]["streams"].as_i64()), (Some("Acme Ltd"), Some(1)));
    let suspend = json!({ "state": "suspended" });
    api.operate("default", Method::PATCH, "/api/v1/tenants/acme", Some(suspend)).await.made();
    assert_eq!(api.ask(&key, Method::DELETE, "/api/v1/streams/acme.a", None).await.problem(), "state");
    assert_eq!(api.ask(&key, Method::GET, "/api/v1/streams/acme.a", None).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_goes_in_two_steps_with_all_that_it_has() {
    let api = Api::start().await;
    let acme = api.tenant("acme").await;
    let key = api.secret("acme", "owner").await;
    api.stream(&key, "acme.hall").await;
    let delete = async |path: &str| api.operate("default", Method::DELETE, path, None).await;
    for path in ["/api/v1/tenants/acme", "/api/v1/tenants/acme?confirm=other"] {
        let asked = delete(path).await;
        assert_eq!((asked.status, asked.problem().as_str()), (StatusCode::CONFLICT, "confirm"));
        assert_eq!(asked.json()["would_delete"], json!({ "streams": 1, "api_keys": 1 }));
    }
    let gone = delete(&format!("/api/v1/tenants/{}?confirm=acme", id(&acme))).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text);
    assert_eq!(api.ask(&key, Method::GET, "/api/v1/session", None).await.problem(), "unauthenticated");
    assert_eq!(delete("/api/v1/tenants/acme").await.problem(), "not-found");
    assert_eq!(delete("/api/v1/tenants/default?confirm=default").await.problem(), "state");
    let operator = api.cluster.operator();
    let table = operator.get(format!("{}/cluster/v1/streams", api.base)).send().await.unwrap();
    let table: messages::StreamTable = table.json().await.unwrap();
    assert!(table.streams.iter().all(|entry| entry.name.as_str() != "acme.hall"), "its publisher is let go");
    // The slug is free again, unless a stream of default has it.
    api.tenant("acme").await;
    let taken = api.operate("default", Method::POST, "/api/v1/tenants", Some(json!({ "slug": "acme" }))).await;
    assert_eq!(taken.problem(), "name-taken");
    for slug in ["", "a", "Acme", "9lives", "a.b", &"a".repeat(25)] {
        let refused = api.operate("default", Method::POST, "/api/v1/tenants", Some(json!({ "slug": slug }))).await;
        assert_eq!(refused.json()["errors"][0]["pointer"], "#/slug", "{slug}");
    }
}
