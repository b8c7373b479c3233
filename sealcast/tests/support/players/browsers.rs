//! hls.js and Shaka in headless Chromium, as their makers deliver them, through `web/tests/browser.mjs`.

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

use super::{Kind, Player, Progress};

/// Longer than any test.
const SECONDS: &str = "86400";

pub(super) fn start(kind: Kind, url: &str, config: &str) -> Player {
    let player = if kind == Kind::Shaka { "shaka" } else { "hls.js" };
    let mut command = Command::new("node");
    command.args(["tests/browser.mjs", url, "--player", player, "--seconds", SECONDS, "--size", "1280x800"]);
    command.args(["--config", config]);
    command.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web"));
    Player::spawn(kind, &mut command, report, |now, line| now.complain(line))
}

/// `window.sealcast` once a second. What they go on from by themselves is a complaint, what they call fatal an error.
fn report(now: &mut Progress, line: &str) {
    let Ok(report) = serde_json::from_str::<Value>(line) else { return now.complain(line) };
    let player = &report["player"];
    if let Some(position) = player["currentTime"].as_f64() {
        now.at(position);
    }
    now.height = player["videoHeight"].as_u64().filter(|height| *height > 0).or(now.height);
    now.imperfections = player["stalls"]["count"].as_u64().unwrap_or_default();
    let failures = || player["errors"].as_array().into_iter().flatten();
    let said = |failure: &Value| failure["details"].as_str().unwrap_or("unnamed").to_owned();
    now.complaints = failures().map(said).collect();
    let fatal = failures().filter(|failure| failure["fatal"] == true).map(said);
    now.errors = fatal.chain(report["pageErrors"].as_array().into_iter().flatten().map(Value::to_string)).collect();
}
