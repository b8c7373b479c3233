//! Webhooks of a real `sealcast up` that is killed in the middle of sending: nothing is lost, and whoever keeps the highest sequence is
//! right. The receiver is a program of its own that verifies with the reference library for Python, where that is there. The set-up of
//! docs/guide/webhooks.md.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use testkit::sealcast::{self, Up};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");
/// Streams that change, and how often each does.
const STREAMS: usize = 4;
const CHANGES: usize = 12;

fn command(up: &Up, arguments: &[&str]) -> Output {
    sealcast::command(SEALCAST).args(arguments).current_dir(up.directory.path()).output().unwrap()
}

fn run(up: &Up, arguments: &[&str]) -> Value {
    let output = command(up, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// Requests from this one on are not answered.
    silent_from: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_from = Arc::new(AtomicUsize::new(usize::MAX));
        let it = Self { address: listener.local_addr().unwrap(), got: Arc::default(), silent_from };
        let app = Router::new().fallback(take).with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        it
    }

    fn events(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// Of each subject, the event with the highest sequence.
    fn newest(&self) -> BTreeMap<String, Value> {
        let mut newest = BTreeMap::new();
        for event in self.events().into_iter().filter(|event| event["data"]["subject"]["type"] == "stream") {
            let subject = event["data"]["subject"]["id"].as_str().unwrap().to_owned();
            let sequence = |event: &Value| event["data"]["sequence"].as_i64().unwrap();
            if newest.get(&subject).is_none_or(|known| sequence(known) < sequence(&event)) {
                newest.insert(subject, event);
            }
        }
        newest
    }
}

async fn take(State(it): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let count = {
        let mut got = it.got.lock().unwrap();
        got.push((headers, body));
        got.len()
    };
    if count > it.silent_from.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

/// Case E9.
#[tokio::test(flavor = "multi_thread")]
async fn control_killed_while_it_sends_loses_no_event_and_the_highest_sequence_is_true() {
    let _turn = turn().await;
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let settings = format!("outbound_allow = [\"http://{}\"]\n", receiver.address);
    std::fs::write(directory.path().join("sealcast.toml"), settings).unwrap();
    let flags = ["--no-source", "--broadcast", "1"];
    let mut up = Up::start_in(SEALCAST, directory, &flags).await;
    let url = format!("http://{}/hooks", receiver.address);
    let hook = run(&up, &["webhook", "create", &url, "--type", "stream.*"]);
    let (id, secret) = (hook["id"].as_str().unwrap().to_owned(), hook["secret"].as_str().unwrap().to_owned());
    let tested = run(&up, &["webhook", "test", &id]);
    assert_eq!(tested["delivered"], true, "{tested}");

    let key = run(&up, &["api-key", "create", "--operator", "--name", "test"])["secret"].as_str().unwrap().to_owned();
    let change = async |up: &Up, method: reqwest::Method, path: &str, body: Value| {
        let request =
            up.http.request(method, format!("{}/api/v1/{path}", up.https())).header("x-api-key", &key).json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    };
    for n in 0..STREAMS {
        change(&up, reqwest::Method::POST, "streams", json!({ "name": format!("s{n}") })).await;
    }
    // The receiver falls silent in the middle, so that some are in flight when control is killed, and more wait.
    receiver.silent_from.store(STREAMS + 10, Ordering::SeqCst);
    for round in 0..CHANGES {
        for n in 0..STREAMS {
            change(&up, reqwest::Method::PATCH, &format!("streams/s{n}"), json!({ "title": format!("round {round}") }))
                .await;
        }
    }
    eventually_async("some are in flight", PATIENCE, async || (receiver.events().len() > STREAMS + 10).then_some(()))
        .await;
    up.process.kill();
    let before = receiver.events().len();
    receiver.silent_from.store(usize::MAX, Ordering::SeqCst);
    let up = Up::start_in(SEALCAST, up.directory, &flags).await;
    let newest = eventually_async("nothing is lost", PATIENCE, async || {
        let newest = receiver.newest();
        let last = i64::try_from(CHANGES + 1).unwrap();
        let is_all = newest.len() == STREAMS && newest.values().all(|event| event["data"]["sequence"] == last);
        is_all.then_some(newest)
    })
    .await;
    assert!(receiver.events().len() > before);
    for event in newest.values() {
        assert_eq!(
            event["data"]["object"]["title"],
            format!("round {}", CHANGES - 1),
            "the highest sequence is true: {event}"
        );
        assert_eq!(event["data"]["current"]["sequence"], event["data"]["sequence"]);
    }
    // In order, but for those that were in flight and come again.
    for subject in newest.keys() {
        let events = receiver.events();
        let own = events.iter().filter(|event| event["data"]["subject"]["id"] == *subject);
        let sequences: Vec<i64> = own.map(|event| event["data"]["sequence"].as_i64().unwrap()).collect();
        assert!(sequences.is_sorted(), "{sequences:?}");
    }
    eventually_async("all are settled", PATIENCE, async || {
        let waits = run(&up, &["webhook", "deliveries", &id, "--state", "pending"]);
        waits["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    verify(&up, &receiver, &secret);
    run(&up, &["webhook", "delete", &id]);
    up.stop().await;
}

/// Case E5: with the reference libraries for Rust, and for Python and JavaScript where they are there.
fn verify(up: &Up, receiver: &Receiver, secret: &str) {
    let got = receiver.got.lock().unwrap().clone();
    let reference = standardwebhooks::Webhook::new(secret).unwrap();
    let mut lines = String::new();
    for (headers, body) in &got {
        reference.verify(body, headers).unwrap();
        let header = |name: &str| headers[name].to_str().unwrap();
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: BTreeMap<&str, &str> = names.map(|name| (name, header(name))).into();
        lines.push_str(&json!({ "headers": headers, "body": std::str::from_utf8(body).unwrap() }).to_string());
        lines.push('\n');
    }
    let file = up.directory.path().join("deliveries.jsonl");
    std::fs::File::create(&file).unwrap().write_all(lines.as_bytes()).unwrap();
    let mut verified = vec!["rust"];
    for (name, program, script) in [("python", "python3", PYTHON), ("javascript", "node", JAVASCRIPT)] {
        let mut command = std::process::Command::new(program);
        command
            .args([if program == "node" { "--eval" } else { "-c" }, script])
            .env("SECRET", secret)
            .env("FILE", &file);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../web"));
        let output = command.output().unwrap();
        match output.status.code() {
            Some(0) => {
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), got.len().to_string(), "{name}");
                verified.push(name);
            }
            // The library is not there.
            Some(77) => {}
            _ => panic!("{name}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    eprintln!("{} deliveries verified with the libraries for {}", got.len(), verified.join(", "));
}

const PYTHON: &str = "
import json, os, sys
try:
    from standardwebhooks import Webhook
except ImportError:
    sys.exit(77)
webhook = Webhook(os.environ['SECRET'])
count = 0
for line in open(os.environ['FILE']):
    one = json.loads(line)
    webhook.verify(one['body'], one['headers'])
    count += 1
print(count)
";

const JAVASCRIPT: &str = "
let library;
try { library = require('standardwebhooks'); } catch { process.exit(77); }
const webhook = new library.Webhook(process.env.SECRET);
const lines = require('fs').readFileSync(process.env.FILE, 'utf8').trim().split('\\n').map(JSON.parse);
for (const one of lines) webhook.verify(one.body, one.headers);
console.log(lines.length);
";
