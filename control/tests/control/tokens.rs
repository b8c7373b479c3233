//! Viewer tokens: what control makes, what it takes back, and what nodes hear of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use access::{Allowed, Ask, Class, Refusal, Rules, Verified, Visibility};
use media::{ClusterId, StreamId};
use messages::Role;
use metadata::View;
use node::clock::Clock;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster::{Cluster, json as ask};
use crate::metadata::Follower;

/// Files of keys that sign tokens.
fn key_files(cluster: &Cluster) -> Vec<PathBuf> {
    let files = std::fs::read_dir(cluster.directory.path().join("c1")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains("viewer-tokens.")).collect()
}

async fn post(operator: &Client, base: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let url = match path.starts_with("viewer-tokens") {
        true => format!("{}/api/v1/{path}", base.trim_end_matches("/cluster/v1")),
        false => format!("{base}/admin/{path}"),
    };
    ask(operator, Method::POST, url, Some(body)).await
}

/// A token that control makes.
async fn made(operator: &Client, base: &str, body: Value) -> String {
    let (status, answer) = post(operator, base, "viewer-tokens", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

/// What a node with this log says to the holder of a token, or to somebody without one.
fn decision(view: &View<'_>, token: Option<&str>) -> Result<Allowed, Refusal> {
    let (rules, hall) = (Rules::of(view, &ClusterId::new("test").unwrap()), StreamId::new("hall").unwrap());
    let verified = token.map(|text| Verified::read(text, |id| rules.key(id)));
    let token = verified.as_ref().map(|verified| verified.as_ref().map_err(|why| *why));
    rules.decide(&Ask { class: Class::Stream, stream: Some(&hall), token, origin: None, at: Clock::new().wall() })
}

/// Waits until a node decides so.
async fn decides(node: &Follower, what: &str, token: Option<&str>, expected: &str) {
    node.sees(what, |view| match decision(&view, token) {
        Ok(_) => expected == "allowed",
        Err(refusal) => refusal.problem() == expected,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_says_who_watches_and_nodes_take_the_tokens_that_control_makes() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let (operator, b1) = (cluster.operator(), Follower::start(&cluster, "b1", None).await);
    decides(&b1, "a stream for everybody", None, "allowed").await;
    let (status, set) = post(&operator, &base, "streams/hall/visibility", json!({ "visibility": "token" })).await;
    assert_eq!((status, &set["visibility"]), (StatusCode::OK, &json!("token")), "{set}");
    decides(&b1, "a stream that needs a token", None, "not-found").await;
    b1.sees("the row", |view| view.streams().all(|stream| stream.visibility == Visibility::Token)).await;
    let (_, shown) = ask(&operator, Method::GET, format!("{base}/admin/streams/hall"), None).await;
    assert_eq!(shown["visibility"], "token");

    assert!(key_files(&cluster).is_empty(), "a key is made when it is needed");
    let wanted = json!({ "streams": ["hall"], "sub": "u81", "ttl_s": 600, "base_url": "https://live.example" });
    let (status, answer) = post(&operator, &base, "viewer-tokens", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let token = answer["token"].as_str().unwrap();
    assert_eq!(answer["urls"]["hls"], format!("https://live.example/t/{token}/live/hall/index.m3u8"));
    assert_eq!(answer["urls"]["page"], format!("https://live.example/watch/hall#t={token}"));
    assert_eq!(answer["urls"]["embed"], format!("https://live.example/t/{token}/live/hall/embed"));
    let mode = std::fs::metadata(&key_files(&cluster)[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    decides(&b1, "the holder of a token", Some(token), "allowed").await;

    // One token, and then all of the viewer; what is made afterwards counts.
    let (status, _) = post(&operator, &base, "viewer-tokens/revoke", json!({ "jti": answer["jti"] })).await;
    assert_eq!(status, StatusCode::OK);
    decides(&b1, "a token that was taken back", Some(token), "token-revoked").await;
    for ver in 0..2 {
        let token = made(&operator, &base, json!({ "streams": ["hall"], "sub": "u81" })).await;
        decides(&b1, "a new token", Some(&token), "allowed").await;
        let (status, said) = post(&operator, &base, "viewer-tokens/revoke", json!({ "sub": "u81" })).await;
        assert_eq!((status, &said["up_to_ver"]), (StatusCode::OK, &json!(ver)), "{said}");
        decides(&b1, "a viewer's token that was taken back", Some(&token), "token-revoked").await;
    }
    let (all, other) = (
        made(&operator, &base, json!({ "streams": ["*"] })).await,
        made(&operator, &base, json!({ "streams": ["hall"], "sub": "u82" })).await,
    );
    decides(&b1, "a token for all streams", Some(&all), "allowed").await;
    post(&operator, &base, "viewer-tokens/revoke", json!({ "stream": "hall" })).await;
    for token in [&all, &other] {
        decides(&b1, "a stream's token that was taken back", Some(token), "token-revoked").await;
    }
    let next = made(&operator, &base, json!({ "streams": ["hall"] })).await;
    decides(&b1, "a token of the same second", Some(&next), "allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_and_visibility_are_there_after_a_restart_and_what_was_taken_back_stays_so() {
    let cluster = Cluster::start().await;
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let (operator, b1) = (cluster.operator(), Follower::start(&cluster, "b1", None).await);
    post(&operator, &base, "streams/hall/visibility", json!({ "visibility": "members" })).await;
    let (kept, lost) = (
        made(&operator, &base, json!({ "streams": ["hall"] })).await,
        made(&operator, &base, json!({ "streams": ["hall"], "sub": "u81" })).await,
    );
    post(&operator, &base, "viewer-tokens/revoke", json!({ "sub": "u81" })).await;
    decides(&b1, "a token that was taken back", Some(&lost), "token-revoked").await;
    let files = key_files(&cluster);
    let seed = std::fs::read(&files[0]).unwrap();
    end.cancel();
    task.await.unwrap().unwrap();

    let base = cluster.control().await;
    let again = made(&operator, &base, json!({ "streams": ["hall"] })).await;
    assert_eq!((key_files(&cluster), std::fs::read(&files[0]).unwrap()), (files, seed));
    for (token, expected) in
        [(Some(&kept), "allowed"), (Some(&again), "allowed"), (Some(&lost), "token-revoked"), (None, "not-found")]
    {
        decides(&b1, "what was said before", token.map(String::as_str), expected).await;
    }
    b1.sees("one key", |view| view.verifiers().count() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_said_is_refused_with_a_reason_and_only_operators_are_asked() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let operator = cluster.operator();
    for (path, body, status, why) in [
        ("viewer-tokens", json!({ "streams": [] }), 422, "name the streams"),
        ("viewer-tokens", json!({ "streams": ["nowhere"] }), 404, "there is nothing of this name"),
        ("viewer-tokens", json!({ "streams": ["hall"], "ttl_s": 86_401 }), 422, "1 to 86400 seconds"),
        ("viewer-tokens", json!({ "streams": ["hall"], "origins": ["site.example"] }), 422, "is no origin"),
        ("viewer-tokens", json!({ "streams": ["hall"], "strict": true }), 422, "name the origins"),
        (
            "viewer-tokens",
            json!({ "streams": ["hall"], "sub": "u".repeat(64), "origins": ["https://a.example"] }),
            422,
            "200 are the most",
        ),
        ("viewer-tokens", json!({ "streams": ["hall"], "unknown": 1 }), 422, "unknown"),
        ("viewer-tokens/revoke", json!({}), 422, "say_one_of"),
        ("viewer-tokens/revoke", json!({ "jti": "" }), 422, "wrong_form"),
        ("viewer-tokens/revoke", json!({ "stream": "nowhere" }), 404, "there is nothing of this name"),
        ("viewer-tokens/revoke", json!({ "jti": "0102030405060708", "sub": "u81" }), 422, "say_one_of"),
        ("streams/hall/visibility", json!({ "visibility": "nobody" }), 422, "public, unlisted, members, token"),
        ("streams/nowhere/visibility", json!({ "visibility": "token" }), 404, "there is no stream nowhere"),
    ] {
        let (found, said) = post(&operator, &base, path, body.clone()).await;
        assert_eq!(found.as_u16(), status, "{path} {body}: {said}");
        let text = said["detail"].as_str().or(said.as_str()).unwrap_or_default();
        assert!(text.contains(why), "{path} {body}: {said}");
    }
    let node = cluster.member(&base, "b2", Role::Broadcast).await;
    for path in ["viewer-tokens", "viewer-tokens/revoke", "streams/hall/visibility"] {
        let (status, _) = post(&node, &base, path, json!({ "streams": ["hall"] })).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}
