//! A stream for holders of tokens, from the command line to players that get nothing but a URL.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::time::Duration;

use serde_json::{Value, json};
use testkit::browser::{Browser, Frames};
use testkit::cluster::{Cluster, KEY, STREAM};
use testkit::hls::playlist;
use testkit::players::{Kind, Player};
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up, text};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");
const SETTINGS: &str = "[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n[role.ingest.pipeline]\n\
                        preset = \"ultrafast\"\nrungs = [{ short_side = 240, kbit_per_second = 400 }]\n";

/// What `sealcast … --json` answers in a data directory.
fn said(directory: &std::path::Path, arguments: &[&str]) -> Value {
    let output = sealcast::command(SEALCAST).args(arguments).arg("--json").current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn becomes(http: &reqwest::Client, url: &str, status: u16) {
    let what = format!("{status} at {url}");
    eventually_async(&what, PATIENCE, async || {
        let answer = http.get(url).send().await.ok()?;
        (answer.status().as_u16() == status).then_some(())
    })
    .await;
}

/// Waits until the node lets a site show a page.
async fn becomes_framed(http: &reqwest::Client, url: &str, site: &str) {
    eventually_async("a page for the site", PATIENCE, async || {
        let answer = http.get(url).send().await.ok()?;
        answer.headers().get("content-security-policy")?.to_str().ok()?.contains(site).then_some(())
    })
    .await;
}

/// Reads events until one has this text.
async fn heard(events: &mut reqwest::Response, text: &str) {
    let mut all = String::new();
    let read = async {
        while let Some(chunk) = events.chunk().await.unwrap() {
            all.push_str(&String::from_utf8_lossy(&chunk));
            if all.contains(text) {
                return;
            }
        }
        panic!("the events end: {all}");
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("waited in vain for {text:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn players_that_get_nothing_but_a_url_play_a_stream_that_others_do_not_find() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let file = clip(directory.path(), Clip::default());
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let (base, here) = (up.https(), up.directory.path().to_owned());
    let set = said(&here, &["stream", "set", "hall", "--visibility", "token"]);
    assert_eq!((&set["visibility"], &set["missing"]), (&json!("token"), &json!([])), "{set}");
    let _publisher = publish(&file, &up.rtmp(), "for-this-test-only");
    let made = said(&here, &["token", "create", "hall", "--for", "10m", "--sub", "u81"]);
    let token = text(&made, "token");
    let below = format!("{base}/t/{token}");
    assert_eq!(made["urls"]["hls"], format!("{below}/live/hall/index.m3u8"), "{made}");
    assert_eq!(made["urls"]["page"], format!("{base}/watch/hall#t={token}"), "{made}");
    playlist(&up.http, &below, "hall", "audio", 2).await;

    // Whoever has no token, or a wrong one, finds nothing, here as at the nodes.
    let node = text(&up.ready["broadcast"][0], "https");
    for server in [&base, &node] {
        for path in ["/live/hall/index.m3u8", "/live/hall/audio/index.m3u8", "/live/hall/seals", "/api/v1/streams/hall"]
        {
            assert_eq!(up.http.get(format!("{server}{path}")).send().await.unwrap().status(), 404, "{path}");
            let wrong = up.http.get(format!("{server}/t/scv_x{path}")).send().await.unwrap();
            assert_eq!(wrong.status(), 403, "{path}");
        }
        let listed = up.http.get(format!("{server}/api/v1/streams")).send().await.unwrap().text().await.unwrap();
        assert_eq!(listed, r#"{"streams":[]}"#);
    }

    // One after another: a machine of two cores decodes for one.
    for kind in Kind::OTHERS {
        let mut player = Player::start(kind, &below, "hall", &up.ca(), &here.join(kind.name()));
        player.plays(kind.name(), 4.0, Duration::from_secs(60)).await.unwrap();
        assert_eq!(player.progress().errors, [""; 0], "{}", kind.name());
    }
    let mut page = Browser::open(made["urls"]["page"].as_str().unwrap(), 60);
    page.until_playing().await;
    page.until("to be checked", |player| player["checks"]["phase"] == "checked").await;

    // Another site shows the player once the stream lists it, without cookies, and no other page at all.
    let (mut frames, embed) = (Frames::start().await, text(&made["urls"], "embed"));
    assert_eq!(embed, format!("{below}/live/hall/embed"));
    assert_eq!(frames.show(&embed).await["refused"], true, "no site is listed");
    let site = frames.site.clone();
    assert_eq!(said(&here, &["stream", "set", "hall", "--origin", &site])["origins"], json!([site]));
    becomes_framed(&up.http, &embed, &site).await;
    let shown = frames.show(&embed).await;
    assert_eq!(
        (&shown["plays"], &shown["phase"], &shown["cookies"]),
        (&json!(true), &json!("checked"), &json!(0)),
        "{shown}"
    );
    assert_eq!((&shown["cspViolations"], &shown["pageErrors"]), (&json!([]), &json!([])), "{shown}");
    assert_eq!(frames.show(text(&made["urls"], "page").as_str()).await["refused"], true, "another page");
    drop(frames);

    // A chat beside it: up through the balancer and control, down through the nodes.
    said(&here, &["stream", "set", "hall", "--chat", "on"]);
    becomes(&up.http, &format!("{below}/live/hall/events"), 200).await;
    let mut events = up.http.get(format!("{below}/live/hall/events")).send().await.unwrap();
    let hello = json!({ "name": "Ann", "text": "Hello from the balancer" });
    let posted = up.http.post(format!("{below}/live/hall/chat")).json(&hello).send().await.unwrap();
    assert_eq!(posted.status(), 201, "{}", posted.text().await.unwrap());
    heard(&mut events, "Hello from the balancer").await;
    drop(events);

    // The viewer's tokens are taken back: the page stops, and says why.
    let revoked = said(&here, &["token", "revoke", "--sub", "u81"]);
    assert_eq!((&revoked["up_to_ver"], &revoked["missing"]), (&json!(0), &json!([])), "{revoked}");
    becomes(&up.http, &format!("{below}/live/hall/index.m3u8"), 403).await;
    let report = loop {
        let report = page.next().await.expect("the page says that it was refused").clone();
        if report["player"]["view"] == "refused" {
            break report;
        }
    };
    assert_eq!(report["player"]["api"], "refused", "{report}");
    assert_eq!(report["cspViolations"], json!([]), "{report}");
    let again = said(&here, &["token", "create", "hall", "--sub", "u81"]);
    becomes(&up.http, again["urls"]["hls"].as_str().unwrap(), 200).await;
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_made_play_on_every_node_while_control_is_dead() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(SEALCAST).await;
    let mut control = cluster.node("control").await;
    let nodes = [cluster.node("b1").await, cluster.node("b2").await];
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let here = cluster.directory.path().to_owned();
    said(&here, &["stream", "set", STREAM, "--visibility", "token"]);
    let token = |arguments: &[&str]| text(&said(&here, &[&["token", "create"], arguments].concat()), "token");
    let tokens = [token(&[STREAM]), token(&["*", "--for", "10m"]), token(&[STREAM, "--sub", "u81"])];
    said(&here, &["token", "revoke", "--sub", "u81"]);
    let servers = [&balancer, &nodes[0], &nodes[1]].map(|node| match node.ready["broadcast"][0]["https"].as_str() {
        Some(https) => https.to_owned(),
        None => text(&node.ready, "https"),
    });
    playlist(&cluster.http, &format!("{}/t/{}", servers[0], tokens[0]), STREAM, "audio", 2).await;
    said(&here, &["stream", "set", STREAM, "--chat", "on"]);
    let below = format!("{}/t/{}/live/{STREAM}", servers[0], tokens[1]);
    becomes(&cluster.http, &format!("{below}/events"), 200).await;
    let mut events = cluster.http.get(format!("{below}/events")).send().await.unwrap();
    heard(&mut events, "\"paused\":false").await;
    control.process.kill();
    // Nobody writes, readers hear so, and what follows shows that the video goes on.
    heard(&mut events, "\"paused\":true").await;
    let hello = json!({ "name": "Ann", "text": "Hello" });
    let refused = cluster.http.post(format!("{below}/chat")).json(&hello).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.unwrap().contains("control-away"));
    for server in &servers {
        for (token, status) in tokens.iter().zip([200, 200, 403]) {
            becomes(&cluster.http, &format!("{server}/t/{token}/live/{STREAM}/index.m3u8"), status).await;
        }
        becomes(&cluster.http, &format!("{server}/live/{STREAM}/index.m3u8"), 404).await;
    }
    for id in ["b1", "b2", "lb"] {
        let log = cluster.log(id);
        assert!(tokens.iter().all(|token| !log.contains(&token[4..40])), "a token is in the log of {id}");
    }
}
