//! One operator and several tenants at `sealcast up`: commands, API keys, and a stream that a tenant makes and publishes. The set-up of
//! docs/guide/access.md.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::hls::{multivariant, playlist, renditions};
use testkit::issuer::{Fault, Issuer};
use testkit::jwt::SigningKey;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

fn command(up: &Up, arguments: &[&str]) -> Output {
    sealcast::command(SEALCAST).args(arguments).current_dir(up.directory.path()).output().unwrap()
}

fn run(up: &Up, arguments: &[&str]) -> String {
    let output = command(up, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn secret(up: &Up, arguments: &[&str]) -> String {
    let key: Value =
        serde_json::from_str(&run(up, &[&["api-key", "create", "--json", "--name", "n"], arguments].concat())).unwrap();
    key["secret"].as_str().unwrap().to_owned()
}

/// Somebody becomes the operator by the link of the start, at the address where viewers are, and acts with the cookie; the command makes
/// other links. What everybody reads stays as it was for whoever is signed in.
async fn people(up: &Up) {
    let (https, link) = (up.https(), up.ready["set_up"].as_str().unwrap());
    let code = link.strip_prefix(&format!("{https}/setup#")).unwrap_or_else(|| panic!("{link}"));
    let body = json!({ "code": code, "name": "Ada", "password": "correct horse battery" });
    let post = up.http.post(format!("{https}/api/v1/setup")).header("origin", &https).json(&body);
    let made = post.send().await.unwrap();
    let cookies = made.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned());
    let cookie = cookies
        .filter_map(|text| text.split(';').next().map(str::to_owned))
        .find(|pair| pair.starts_with("__Host-sealcast="));
    assert_eq!(made.status(), StatusCode::CREATED);
    let (cookie, session): (String, Value) = (cookie.unwrap(), made.json().await.unwrap());
    let csrf = session["csrf"].as_str().unwrap();
    let make = async |origin: &str| {
        let request = up.http.post(format!("{https}/api/v1/members")).header("cookie", &cookie);
        let request = request.header("origin", origin).header("x-sealcast-csrf", csrf);
        request.json(&json!({ "name": "Vera", "role": "viewer" })).send().await.unwrap()
    };
    assert_eq!(make("https://evil.example").await.status(), StatusCode::FORBIDDEN);
    let invited: Value = make(&https).await.json().await.unwrap();
    assert!(invited["invite_url"].as_str().unwrap().starts_with(&format!("{https}/setup#sci_")), "{invited}");
    let read = async |path: &str| {
        let request = up.http.get(format!("{https}/api/v1/{path}")).header("cookie", &cookie);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let (own, public) = (read("streams").await, read("streams?view=public").await);
    assert!(own["items"].is_array() && own["streams"].is_null(), "{own}");
    assert!(public["streams"].is_array() && public["items"].is_null(), "{public}");
    let members = run(up, &["member", "list"]);
    assert!(members.contains("Ada") && members.contains("invited"), "{members}");
    let again = run(up, &["member", "setup-link", "--base-url", &https]);
    assert!(again.contains(&format!("{https}/setup#sci_")), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_makes_a_stream_with_its_key_at_the_viewers_address_and_publishes_it() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &["--no-source"]).await;
    let said = run(&up, &["tenant", "create", "choir", "--name", "Choir of St Mary", "--streams", "2"]);
    assert!(said.contains("sealcast api-key create --tenant choir"), "{said}");
    let (owner, operator) = (secret(&up, &["--tenant", "choir", "--role", "owner"]), secret(&up, &["--operator"]));
    let ask = async |method: Method, path: &str, key: Option<&str>, body: Option<Value>| {
        let request = up.http.request(method, format!("{}/api/v1/{path}", up.https()));
        let request = if let Some(key) = key { request.header("x-api-key", key) } else { request };
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap_or_default())
    };
    let new = json!({ "name": "choir.concert", "title": "Concert" });
    let (status, _) = ask(Method::POST, "streams", None, Some(new.clone())).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, made) = ask(Method::POST, "streams", Some(&owner), Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");

    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), made["key"]["secret"].as_str().unwrap());
    playlist(&up.http, &up.https(), "choir.concert", "audio", 1).await;
    let live = eventually_async("control knows that it is live", PATIENCE, async || {
        let (_, shown) = ask(Method::GET, "streams/choir.concert?include=live,input", Some(&owner), None).await;
        (shown["live"]["state"] == "live" && shown["input"].is_object()).then_some(shown)
    })
    .await;
    assert_eq!(live["title"], "Concert");
    // A change of texts is none of the media: the publisher goes on.
    let (status, _) =
        ask(Method::PATCH, "streams/choir.concert", Some(&owner), Some(json!({ "title": "Encore" }))).await;
    assert_eq!(status, StatusCode::OK);
    playlist(&up.http, &up.https(), "choir.concert", "audio", 3).await;

    // What everybody reads is as it was, and says nothing of keys.
    let (status, list) = ask(Method::GET, "streams", None, None).await;
    let shown = &list["streams"][0];
    assert_eq!(
        (status, shown["name"].as_str(), shown["live"].as_bool()),
        (StatusCode::OK, Some("choir.concert"), Some(true)),
        "{list}"
    );
    assert!(shown["key"].is_null() && list["items"].is_null(), "{list}");

    // Whoever hides it reads on any node at once that it is hidden.
    for (visibility, is_shown) in [("unlisted", false), ("public", true)] {
        let hide = up.http.patch(format!("{}/api/v1/streams/choir.concert", up.https())).header("x-api-key", &owner);
        let hidden = hide.json(&json!({ "visibility": visibility })).send().await.unwrap();
        let written = hidden.headers()["x-sealcast-metadata"].clone();
        let read = up.http.get(format!("{}/api/v1/streams", up.https())).header("x-sealcast-wait", &written);
        let read = read.send().await.unwrap();
        let number = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().parse::<u64>().unwrap();
        assert!(number(&read.headers()["x-sealcast-metadata"]) >= number(&written), "{:?}", read.headers());
        let list: Value = read.json().await.unwrap();
        assert_eq!(!list["streams"].as_array().unwrap().is_empty(), is_shown, "{list}");
    }

    let (_, tenants) = ask(Method::GET, "tenants", Some(&operator), None).await;
    let slugs: Vec<&str> =
        tenants["items"].as_array().unwrap().iter().map(|row| row["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs, ["default", "choir"]);
    assert_eq!(ask(Method::GET, "tenants", Some(&owner), None).await.0, StatusCode::FORBIDDEN);
    let (status, document) = ask(Method::GET, "openapi.json", None, None).await;
    assert!(status == StatusCode::OK && document["paths"]["/api/v1/tenants"]["post"].is_object());
    let (_, problem) = ask(Method::GET, "problems/quota", None, None).await;
    assert_eq!(problem["status"], 403);

    people(&up).await;

    // The commands show the same.
    assert!(run(&up, &["tenant", "show", "choir"]).contains("1, at most 2"));
    let keys = run(&up, &["api-key", "list", "--tenant", "choir"]);
    assert!(keys.contains("key_") && !keys.contains(&owner), "{keys}");
    let refused = command(&up, &["tenant", "delete", "choir"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--confirm choir"));
    assert!(run(&up, &["audit", "list"]).contains("streams.create"));
    assert!(run(&up, &["audit", "verify"]).ends_with(" records\n"));
    assert!(run(&up, &["tenant", "delete", "choir", "--confirm", "choir"]).contains("with 1 streams and 1 API keys"));
    assert_eq!(ask(Method::GET, "session", Some(&owner), None).await.0, StatusCode::UNAUTHORIZED);
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_and_key_of_a_site_are_registered_tried_and_deleted_by_command() {
    let _turn = turn().await;
    let key = SigningKey::p256("site");
    let idp = Issuer::start(&[&key]).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = idp.ca();
    let settings = format!("outbound_allow = [\"127.0.0.1\"]\noutbound_ca = {ca:?}\n");
    std::fs::write(directory.path().join("sealcast.toml"), settings).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let (url, jwks) = (idp.url(), idp.jwks_url());
    let create = ["issuer", "create", &url, "--jwks-url", &jwks, "--audience", "sealcast", "--algorithm", "ES256"];
    let create = [&create[..], &["--use", "view", "--rule", "groups=singers:viewer", "--json"]].concat();
    let made: Value = serde_json::from_str(&run(&up, &create)).unwrap();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["rules"], json!([{ "claim": "groups", "equals": "singers", "role": "viewer" }]));
    assert!(run(&up, &["issuer", "list"]).contains(&url));
    let shown = run(&up, &["issuer", "set", id, "--rule", "groups=staff:owner", "--rule", "groups=singers:viewer"]);
    assert!(shown.contains("groups=staff:owner groups=singers:viewer"), "{shown}");
    assert!(run(&up, &["issuer", "refresh", id]).contains("ES256"));
    let nothing = command(&up, &["issuer", "set", id]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("say what to change"));

    let now = u64::try_from(node::clock::Clock::new().wall().0 / 1_000).unwrap();
    let file = up.directory.path().join("token.jwt");
    let claims = json!({ "iss": url, "aud": "sealcast", "sub": "u1", "groups": ["singers"], "iat": now, "exp": now + 300,
        "streams": ["demo"] });
    std::fs::write(&file, key.token(&claims) + "\n").unwrap();
    let test = ["issuer", "test", id, "--token-file", file.to_str().unwrap()];
    let told = run(&up, &test);
    assert!(told.starts_with("view: viewer for demo, until "), "{told}");
    std::fs::write(&file, SigningKey::p256("site").token(&claims)).unwrap();
    let told = command(&up, &test);
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stdout).starts_with("view: refused: "), "{told:?}");

    idp.set(Fault::Down);
    let failed = command(&up, &["issuer", "refresh", id]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("the keys stay as they are"), "{failed:?}");
    assert!(run(&up, &["issuer", "delete", id]).contains("is deleted"));
    assert!(!run(&up, &["issuer", "list"]).contains(&url));

    let jwk = up.directory.path().join("shop.jwk");
    std::fs::write(&jwk, SigningKey::p256("shop").jwk().to_string()).unwrap();
    let said = run(&up, &["token", "register-key", jwk.to_str().unwrap(), "--name", "shop"]);
    assert!(said.starts_with("key sgk_"), "{said}");
    assert!(run(&up, &["token", "keys"]).contains("shop"));
    up.stop().await;
}

/// Whether ffmpeg publishes for two seconds with this key.
fn publishes(file: &std::path::Path, up: &Up, key: &str) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-t", "2", "-i"]).arg(file).args(["-c", "copy", "-f", "flv"]);
    command.arg(format!("{}/{key}", up.rtmp())).stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// Everything that a viewer with a token can see is read, and whatever in it looks like a secret is tried.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_viewer_sees_publishes() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &["--no-source"]).await;
    let json = |arguments: &[&str]| serde_json::from_str::<Value>(&run(&up, arguments)).unwrap();
    let made = json(&["stream", "create", "hall", "--visibility", "token", "--json"]);
    let key = made["key"].as_str().unwrap();
    run(&up, &["stream", "set", "hall", "--chat", "on"]);
    let token = json(&["token", "create", "hall", "--json"])["token"].as_str().unwrap().to_owned();
    let file = clip(up.directory.path(), Clip::default());
    let publisher = publish(&file, &up.rtmp(), key);
    let base = format!("{}/t/{token}", up.https());
    playlist(&up.http, &base, "hall", "audio", 2).await;

    let mut paths: Vec<String> = renditions(&multivariant(&up.http, &base, "hall").await)
        .iter()
        .flat_map(|name| ["index", "iframes", "dvr"].map(|list| format!("live/hall/{name}/{list}.m3u8")))
        .collect();
    paths.extend(
        "live/hall/index.m3u8 live/hall/dvr.m3u8 live/hall/seals live/hall/poster.jpg live/hall/embed live/hall/steering.json \
         live/none/index.m3u8 api/v1/streams api/v1/streams/hall api/v1/streams/none api/v1/trust/hall api/v1/grants \
         api/v1/openapi.json"
            .split_whitespace()
            .map(str::to_owned),
    );
    let mut urls: Vec<String> = paths.iter().map(|path| format!("{base}/{path}")).collect();
    urls.extend(["", "watch/hall", "api/v1/streams", "api/v1/auth"].map(|path| format!("{}/{path}", up.https())));
    let (mut answered, mut words) = (0, BTreeSet::new());
    for url in &urls {
        let answer = up.http.get(url).send().await.unwrap();
        answered += usize::from(answer.status().is_success());
        let headers = format!("{:?}", answer.headers());
        let body = headers + &String::from_utf8_lossy(&answer.bytes().await.unwrap());
        assert!(!body.contains(key), "{url} shows the stream key");
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        words.extend(body.split(|letter| !is_word(letter)).filter(|word| word.len() >= 16).map(str::to_owned));
    }
    assert!(answered > 10, "only {answered} of {} answered", urls.len());
    let mut events = up.http.get(format!("{base}/live/hall/events")).send().await.unwrap();
    assert!(!String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap()).contains(key));

    drop(publisher);
    let secrets: Vec<&String> =
        words.iter().filter(|word| word.get(3..4) == Some("_") && word.starts_with("sc")).collect();
    assert!(secrets.iter().all(|word| **word == token), "{secrets:?}");
    let named = words.iter().filter(|word| word.chars().all(|letter| letter.is_ascii_hexdigit()));
    for candidate in named.take(3).map(String::as_str).chain([token.as_str(), "hall", "scp_"]) {
        assert!(!publishes(&file, &up, candidate), "{candidate} publishes");
    }
    assert!(publishes(&file, &up, key), "the key itself publishes");
    up.stop().await;
}
