//! The cases of `conformance rtmp` for Sealcast and its peers, one server after the other, each set up as its own documentation does it.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use conformance::rtmp::cases::{self, Case};
use conformance::rtmp::run::{self, CASE, Judged, KEY, Settings};
use conformance::watch::{Network, Trust};
use serde_json::Value;

use crate::conformance::{nginx_server, xiu_server};
use crate::startup::{self, Running};

/// Cases side by side.
const PARALLEL: usize = 12;
/// Long enough that nothing of a case leaves it.
const PLAYLIST_S: u32 = 60;

/// A server that waits for publishers; ends with its owner.
struct Server {
    name: &'static str,
    settings: Settings,
    trust: Trust,
    _running: Running,
    _directory: tempfile::TempDir,
}

/// Runs all cases against all of them, and writes the Markdown table.
pub(crate) fn table() -> anyhow::Result<String> {
    let mut columns: Vec<(&str, Result<Vec<Judged>, String>)> = Vec::new();
    for (name, start) in
        [("Sealcast", sealcast as fn() -> anyhow::Result<Server>), ("nginx-rtmp", nginx_rtmp), ("xiu", xiu)]
    {
        eprintln!("contribution: {name}");
        let judged = start().and_then(|server| score(&server)).map_err(|error| format!("{error:#}"));
        columns.push((name, judged));
    }
    render(&cases::all(), &columns)
}

fn score(server: &Server) -> anyhow::Result<Vec<Judged>> {
    let network = Arc::new(Network::new(&server.trust)?);
    let each = |judged: &Judged| eprintln!("{}: {}", server.name, judged.line());
    tokio::runtime::Runtime::new()?.block_on(run::run(&server.settings, network, cases::all(), each))
}

/// One line a case.
fn render(cases: &[Case], columns: &[(&str, Result<Vec<Judged>, String>)]) -> anyhow::Result<String> {
    let mut text = String::from("| case | what is sent | expected |");
    columns.iter().try_for_each(|(name, _)| write!(text, " {name} |"))?;
    write!(text, "\n|---|---|---|{}\n", "---|".repeat(columns.len()))?;
    for case in cases {
        write!(text, "| {} | {} | {} |", case.name, case.what, case.outcome)?;
        for (_, judged) in columns {
            let judged = judged.as_ref().ok().and_then(|all| all.iter().find(|judged| judged.case == case.name));
            let verdict = judged.map_or("-", |judged| if judged.passed() { "PASS" } else { "**FAIL**" });
            write!(text, " {verdict} |")?;
        }
        text.push('\n');
    }
    write!(text, "| **passed** | | |")?;
    for (_, judged) in columns {
        let passed = judged.as_ref().map(|all| all.iter().filter(|judged| judged.passed()).count());
        write!(text, " **{}** |", passed.map_or_else(|_| "-".to_owned(), |count| count.to_string()))?;
    }
    text.push('\n');
    for (name, judged) in columns {
        if let Err(error) = judged {
            write!(text, "\n{name} could not be run: {error}\n")?;
        }
    }
    Ok(text)
}

fn settings(rtmp: String, hls: String) -> Settings {
    Settings { url: rtmp, keys: vec![format!("check-{CASE}")], hls, parallel: PARALLEL }
}

/// `sealcast up` with a stream for each case, and segments as short as the peers'.
fn sealcast() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let mut toml = "[role.ingest]\nsegment_ms = 2000\nconnections_per_address_max = 200\n".to_owned();
    for case in cases::all() {
        write!(toml, "[[streams]]\nname = \"check-{0}\"\nkey = \"check-{0}\"\n", case.name)?;
    }
    std::fs::write(directory.path().join("sealcast.toml"), toml)?;
    let (running, _) = startup::start(directory.path(), &["--no-source"])?;
    let ready: Value = serde_json::from_slice(&std::fs::read(directory.path().join("ready.json"))?)?;
    let text = |name: &str| ready.get(name).and_then(Value::as_str).context("the ready file lacks an address");
    Ok(Server {
        name: "Sealcast",
        settings: settings(text("rtmp")?.to_owned(), format!("{}/live/{KEY}/index.m3u8", text("https")?)),
        trust: Trust::Authority(directory.path().join(text("ca")?)),
        _running: running,
        _directory: directory,
    })
}

/// nginx with its RTMP module, which takes any key.
fn nginx_rtmp() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, http, running) = nginx_server(directory.path(), PLAYLIST_S)?;
    let hls = format!("http://127.0.0.1:{http}/hls/{KEY}.m3u8");
    Ok(Server {
        name: "nginx-rtmp",
        settings: settings(format!("rtmp://127.0.0.1:{rtmp}/live"), hls),
        trust: Trust::System,
        _running: running,
        _directory: directory,
    })
}

/// xiu, which takes any key.
fn xiu() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, http, running) = xiu_server(directory.path())?;
    let hls = format!("http://127.0.0.1:{http}/live/{KEY}/{KEY}.m3u8");
    Ok(Server {
        name: "xiu",
        settings: settings(format!("rtmp://127.0.0.1:{rtmp}/live"), hls),
        trust: Trust::System,
        _running: running,
        _directory: directory,
    })
}
