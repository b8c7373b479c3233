//! A viewer's browser checks for itself: real Chromium, a real cluster, and between them a proxy that lies.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::process::Stdio;

use serde_json::{Value, json};
use testkit::hls::playlist;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::Up;
use testkit::wait::turn;
use tokio::process::Command;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const KEY: &str = "for-this-test-only";
const SETTINGS: &str = "[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n[role.ingest.pipeline]\n\
                        preset = \"ultrafast\"\nrungs = [{ short_side = 240, kbit_per_second = 400 }]\n";
/// Most of a core that the checks may take, at the bit rates of this test.
const BUSY_SHARE_MAX: f64 = 0.05;

/// Plays through the proxy of `web/tests/checked.mjs`. Returns its reports, by case.
async fn lie(https: &str, screenshots: &std::path::Path) -> std::collections::BTreeMap<String, Value> {
    let output = Command::new("node")
        .args(["tests/checked.mjs", https, "hall"])
        .arg(screenshots)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../web"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node is installed, and web/node_modules is there: make web");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let reports = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    reports.map(|report| (report["case"].as_str().unwrap().to_owned(), report)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_stops_at_the_first_wrong_byte_and_at_another_root_key() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let file = clip(directory.path(), Clip { seconds: 7, ..Clip::default() });
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let _publisher = publish(&file, &up.rtmp(), KEY);
    playlist(&up.http, &up.https(), "hall", "240p", 3).await;
    let kept = std::env::var_os("SEALCAST_SCREENSHOTS").map(std::path::PathBuf::from);
    let screenshots = tempfile::tempdir().unwrap();
    let reports = lie(&up.https(), kept.as_deref().unwrap_or(screenshots.path())).await;
    for name in ["plain", "again"] {
        let report = &reports[name];
        let checks = &report["checks"];
        assert_eq!((&report["view"], &checks["phase"]), (&json!("playing"), &json!("checked")), "{report}");
        assert!(report["panel"].as_str().unwrap().starts_with("Checked by this browser: "), "{report}");
        assert_eq!(report["problems"], json!([]), "{report}");
    }
    let plain = &reports["plain"];
    eprintln!("{plain:#}");
    assert!(plain["busyShare"].as_f64().unwrap() < BUSY_SHARE_MAX, "{plain}");
    assert_eq!(plain["twice"], json!([]), "nothing is downloaded twice");
    for (name, words) in [("elsewhere", "Checked: "), ("elsewhere, byte", "is not what seal")] {
        assert!(reports[name]["words"].as_str().unwrap().contains(words), "{}", reports[name]);
    }
    for (name, other_root, words) in [
        ("byte", false, "is not what seal"),
        ("playlist", false, "no object of the stream"),
        ("trust", true, "another root key"),
        ("seals", false, "log is refused"),
        ("link", true, "another root key"),
    ] {
        let report = &reports[name];
        let checks = &report["checks"];
        assert_eq!((&report["view"], &report["phase"]), (&json!("forged"), &json!("halted")), "{report}");
        assert_eq!(checks["isOtherRoot"], other_root, "{report}");
        assert!(report["panel"].as_str().unwrap().contains(words), "{report}");
    }
}
