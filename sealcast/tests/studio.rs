//! The studio in a real browser, from the set-up link of a new server to a broadcast that viewers play.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::process::Stdio;

use serde_json::{Value, json};
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{Up, command, text};
use testkit::wait::{PATIENCE, turn};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const SETTINGS: &str =
    "[role.ingest.pipeline]\npreset = \"ultrafast\"\nrungs = [{ short_side = 240, kbit_per_second = 400 }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn set_up_link_leads_to_a_broadcast_that_viewers_play() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let file = clip(directory.path(), Clip { seconds: 8, keyframe_seconds: 4, ..Clip::default() });
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let mut journey = Command::new("node");
    journey.args(["tests/studio-journey.mjs", &text(&up.ready, "set_up")]);
    if let Some(folder) = std::env::var_os("SEALCAST_SCREENSHOTS") {
        journey.arg(folder);
    }
    let mut browser = journey
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../web"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed, and web/node_modules is there: make web");
    let mut lines = BufReader::new(browser.stdout.take().unwrap()).lines();
    let mut publisher = None;
    let mut steps = Vec::new();
    let walk = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let step: Value = serde_json::from_str(&line).unwrap();
            if let Some(key) = step["key"].as_str() {
                publisher = Some(publish(&file, step["server"].as_str().expect("the studio shows a server"), key));
            }
            steps.push(step);
        }
        browser.wait().await.unwrap()
    };
    let status = tokio::time::timeout(3 * PATIENCE, walk).await.expect("the browser ends");
    let last = steps.last().cloned().unwrap_or_default();
    assert!(status.success(), "{steps:#?}");
    assert!(publisher.is_some(), "the studio showed a key");
    assert_eq!((&last["cspViolations"], &last["pageErrors"]), (&json!([]), &json!([])), "{last:#}");
    assert_eq!(last["stepsDone"], 4, "{last:#}");
    assert_eq!(last["warning"], "Keyframes too far apart", "{last:#}");
    assert_eq!(last["actions"], json!(["api-keys.create", "streams.update", "streams.create"]), "{last:#}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_in_people_write_and_moderate_from_both_pages() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let up = Up::start_in(SEALCAST, directory, &[]).await;
    let mut journey = Command::new("node");
    journey.args(["tests/chat-journey.mjs", &text(&up.ready, "set_up"), "demo"]);
    if let Some(folder) = std::env::var_os("SEALCAST_SCREENSHOTS") {
        journey.arg(folder);
    }
    let journey = journey
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../web"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(3 * PATIENCE, journey).await.expect("the browser ends").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}\n{complained}");
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    println!("until the guest saw it, in milliseconds: {}", last["waits"]);
    assert_eq!((&last["findings"], &last["complaints"]), (&json!([]), &json!([])), "{last:#}");
    assert_eq!(last["codings"], json!(["br"]), "{last:#}");
    // A guest has no buttons, and Escape does nothing to the message.
    assert_eq!((&last["guestMay"], &last["kept"], &last["isBack"]), (&json!(0), &json!(1), &json!(true)), "{last:#}");
    assert_eq!(last["label"], "Moderate the message of Troll: spam one");
    let ours = last["ours"].as_str().unwrap();
    assert!(ours.starts_with("ada") && ours.contains("Moderator"), "{ours}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_watches_what_is_for_members_on_the_page_that_everybody_opens() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let up = Up::start_in(SEALCAST, directory, &[]).await;
    let mut set = command(SEALCAST);
    set.args(["stream", "set", "demo", "--visibility", "members"]).current_dir(up.directory.path());
    assert!(set.stdout(Stdio::null()).status().unwrap().success());
    let journey = Command::new("node")
        .args(["tests/member-journey.mjs", &text(&up.ready, "set_up"), "demo"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../web"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(3 * PATIENCE, journey).await.expect("the browser ends").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}\n{complained}");
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["address"], last["watched"], "the token is nobody else's");
    assert_eq!(last["wentOn"], 0, "whoever was suspended while it watched sees nothing more");
    up.stop().await;
}
