//! The API against its own document, by schemathesis (control/tests/schemathesis): requests that fit the document and such that do not, and
//! of each answer whether the document has its status, type, headers and schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Api, Ask};

/// What is checked of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,ignored_auth";
/// Requests of an operation that are drawn at random, beside those that follow from its schemas.
const EXAMPLES: &str = "12";
/// Keys that take turns.
const KEYS: usize = 8;
/// Longest body of a request, in bytes; more than control reads.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How often each status was answered.
type Answered = Arc<Mutex<BTreeMap<u16, usize>>>;

/// A load balancer's part: takes requests without TLS, and asks control by a node's certificate, without an address to count by.
#[derive(Clone)]
struct Forwarder {
    balancer: Client,
    base: String,
    /// Requests with the first of these keys take turns with all: one alone would soon ask too often.
    keys: Arc<Vec<String>>,
    forwarded: Arc<AtomicUsize>,
    answered: Answered,
}

async fn forward(State(to): State<Forwarder>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut asked = to.balancer.request(parts.method, format!("{}{target}", to.base)).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| !is_of_connection(name.as_str())) {
        let is_key = name == "x-api-key" && value.as_bytes() == to.keys[0].as_bytes();
        let turn = to.forwarded.fetch_add(1, Ordering::Relaxed) % to.keys.len();
        asked = if is_key { asked.header(name, &to.keys[turn]) } else { asked.header(name, value) };
    }
    let answer = asked.send().await.unwrap();
    *to.answered.lock().unwrap().entry(answer.status().as_u16()).or_default() += 1;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| !is_of_connection(name.as_str())) {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

fn is_of_connection(name: &str) -> bool {
    ["connection", "host", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te"].contains(&name)
}

/// Names of things that are there, for what the paths name.
async fn names(api: &Api, key: &str) -> BTreeMap<&'static str, String> {
    let made = async |path: &str, body: Value| {
        let row = api.ask(key, Method::POST, path, Some(body)).await.made();
        row["id"].as_str().unwrap().to_owned()
    };
    let issuer = json!({
        "url": "https://idp.example/", "audiences": ["a"], "jwks_url": "https://idp.example/jwks", "uses": ["view"],
        "rules": [{ "claim": "role", "equals": "fan", "role": "viewer" }],
    });
    let webhook = made("/api/v1/webhooks", json!({ "url": "https://hooks.example/" })).await;
    let stream = made("/api/v1/streams", json!({ "name": "walked" })).await;
    let sent = api.ask(key, Method::GET, &format!("/api/v1/webhooks/{webhook}/deliveries"), None).await.json();
    BTreeMap::from([
        ("stream", stream),
        ("delivery", sent["items"][0]["id"].as_str().unwrap().to_owned()),
        ("webhook", webhook),
        ("issuer", made("/api/v1/issuers", issuer).await),
        ("tenant", made("/api/v1/tenants", json!({ "slug": "walked" })).await),
        ("key", made("/api/v1/api-keys", json!({ "name": "walked", "role": "viewer" })).await),
        ("member", made("/api/v1/members", json!({ "name": "walked" })).await),
        ("signing_key", made("/api/v1/signing-keys", json!({ "name": "walked" })).await),
        ("type", "quota".to_owned()),
    ])
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_has() {
    let program = files().join("venv/bin/schemathesis");
    assert!(program.exists(), "{} is missing: `make test` installs it", program.display());
    let api = Api::start().await;
    // While nobody has set a server up, nobody signs in.
    let link = api.set_up.clone().unwrap();
    let code = link.split_once('#').unwrap().1;
    let ada = json!({ "code": code, "name": "ada", "password": "correct horse battery" }).to_string();
    let set_up = Ask { key: None, method: Method::POST, path: "/api/v1/setup", headers: &[], body: Some(ada) };
    assert_eq!(api.send(set_up).await.status, StatusCode::CREATED);
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        keys.push(api.secret("default", "operator").await);
    }
    let (key, keys) = (keys[0].clone(), Arc::new(keys));
    let names = names(&api, &key).await;
    let answered = Answered::default();
    let to = Forwarder {
        balancer: api.balancer.clone(),
        base: api.base.clone(),
        keys,
        forwarded: Arc::default(),
        answered: Arc::clone(&answered),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward).with_state(to)).await });
    let directory = tempfile::tempdir().unwrap();
    let given: String = names.iter().map(|(name, id)| format!("\"path.{name}\" = \"{id}\"\n")).collect();
    // A version that is not the newest is said before the body is read.
    let expected = "[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 406, 412, 422, 428]\n";
    let given = format!("{expected}[parameters]\n{given}");
    std::fs::write(directory.path().join("schemathesis.toml"), given).unwrap();
    // What is deleted last is there before.
    for methods in [["--exclude-method", "DELETE"], ["--include-method", "DELETE"]] {
        let run = tokio::process::Command::new(&program)
            .current_dir(directory.path())
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", files())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["run", &format!("{origin}/api/v1/openapi.json"), "--header", &format!("x-api-key: {key}")])
            .args(methods)
            // Its answer has no end.
            .args(["--exclude-path", "/api/v1/events", "--checks", CHECKS])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                EXAMPLES,
                "--seed",
                "1",
                "--workers",
                "1",
            ])
            .args(["--generation-database", "none", "--no-color"])
            // A machine that is busy is no fault.
            .args(["--suppress-health-check", "all", "--request-timeout", "60"])
            .output();
        let run = run.await.unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    }
    let answered = answered.lock().unwrap().clone();
    let (all, done) =
        (answered.values().sum::<usize>(), answered.range(200..300).map(|(_, count)| count).sum::<usize>());
    // Were nearly all refused, nothing would be known of the others.
    assert!(done > 200 && answered.get(&429).copied().unwrap_or(0) * 10 < all, "{answered:?}");
}
