//! Players in browsers, through `web/tests/browser.mjs`: unmodified hls.js and Shaka, and Sealcast's page.

use serde_json::Value;

use super::{By, Changes, Kind, Player, Progress};
use crate::browser::command;

/// How long the browser stays, in seconds: longer than any test.
const SECONDS: &str = "86400";

/// Names of player and browser in `browser.mjs`; none for players that need no browser.
const fn names(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::HlsJs => Some(("hls.js", "chromium")),
        Kind::Shaka => Some(("shaka", "chromium")),
        Kind::PageInChromium => Some(("page", "chromium")),
        Kind::PageInFirefox => Some(("page", "firefox")),
        Kind::PageInWebKit => Some(("page", "webkit")),
        Kind::Ffmpeg | Kind::Ffplay | Kind::GStreamer | Kind::Vlc => None,
    }
}

/// Whether the player can be told which rendition to play.
pub(super) const fn drives(kind: Kind) -> bool {
    names(kind).is_some()
}

pub(super) fn start(kind: Kind, url: &str, config: &str, changes: Changes) -> Player {
    let (player, browser) = names(kind).expect("a player that runs in a browser");
    let mut command = command(url);
    command.args(["--player", player, "--browser", browser, "--seconds", SECONDS]);
    command.args(["--config", config, "--changes", &changes.count.to_string()]);
    if changes.by == By::Bandwidth {
        command.arg("--narrow");
    }
    Player::spawn(kind, &mut command, report, |now, line| now.complain(line))
}

/// Reads `window.sealcast`, once a second. Errors that a player recovers from are complaints; fatal ones are errors.
fn report(now: &mut Progress, line: &str) {
    let Ok(report) = serde_json::from_str::<Value>(line) else { return now.complain(line) };
    let player = &report["player"];
    if let Some(position) = player["currentTime"].as_f64() {
        now.at(position);
    }
    now.height = player["videoHeight"].as_u64().filter(|height| *height > 0).or(now.height);
    now.imperfections = player["stalls"]["count"].as_u64().unwrap_or_default();
    now.changes = player["changes"].clone();
    let failures = || player["errors"].as_array().into_iter().flatten();
    let said = |failure: &Value| failure["details"].as_str().unwrap_or("unnamed").to_owned();
    now.complaints = failures().map(said).collect();
    let fatal = failures().filter(|failure| failure["fatal"] == true).map(said);
    now.errors = fatal.chain(report["pageErrors"].as_array().into_iter().flatten().map(Value::to_string)).collect();
}
