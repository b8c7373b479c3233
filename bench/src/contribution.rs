//! The cases of `conformance rtmp` for Sealcast and its peers, one server after the other, each set up as in its own documentation.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use conformance::rtmp::cases::{self, Case};
use conformance::rtmp::run::{self, CASE, Judged, KEY, Settings};
use conformance::watch::{Network, Trust};
use serde_json::Value;

use crate::conformance::{nginx_server, xiu_server};
use crate::startup::{self, Running};

/// Cases that run side by side.
const PARALLEL: usize = 12;
/// Media that may be missing at the end: one segment of xiu's, which does not list an incomplete one.
const KEEPS_BACK: Duration = Duration::from_secs(6);
/// Servers that run side by side when each case has its own.
const ALONE_PARALLEL: usize = 6;
/// Length of playlists in seconds, so that nothing of a case leaves them.
const PLAYLIST_S: u32 = 60;

/// A server that waits for publishers; it ends when this is dropped.
struct Server {
    name: &'static str,
    settings: Settings,
    trust: Trust,
    _running: Running,
    _directory: tempfile::TempDir,
}

type Start = fn() -> anyhow::Result<Server>;

/// Runs all cases against all servers, and writes the Markdown table. A case that fails runs once more on a server of its own, and
/// that result counts: a case that crashes a server would otherwise fail all others with it.
pub(crate) fn table() -> anyhow::Result<String> {
    let mut columns: Vec<(&str, Result<Vec<Judged>, String>)> = Vec::new();
    for (name, start) in [("Sealcast", sealcast as Start), ("nginx-rtmp", nginx_rtmp), ("xiu", xiu)] {
        eprintln!("contribution: {name}");
        columns.push((name, score(start).map_err(|error| format!("{error:#}"))));
    }
    render(&cases::all(), &columns)
}

fn score(start: Start) -> anyhow::Result<Vec<Judged>> {
    let together = run_on(&start()?, cases::all())?;
    let failed = together.iter().filter(|judged| !judged.passed()).map(|judged| judged.case);
    let queue = Mutex::new(failed.collect::<Vec<_>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let worker = || -> anyhow::Result<Vec<Judged>> {
        let mut all = Vec::new();
        while let Some(name) = next() {
            all.extend(run_on(&start()?, cases::all().into_iter().filter(|case| case.name == name).collect())?);
        }
        Ok(all)
    };
    let alone: Vec<Judged> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..ALONE_PARALLEL).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker broke"))?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    let again = |judged: Judged| alone.iter().find(|alone| alone.case == judged.case).cloned().unwrap_or(judged);
    Ok(together.into_iter().map(again).collect())
}

fn run_on(server: &Server, cases: Vec<Case>) -> anyhow::Result<Vec<Judged>> {
    let network = Arc::new(Network::new(&server.trust)?);
    let each = |judged: &Judged| eprintln!("{}: {}", server.name, judged.line());
    tokio::runtime::Runtime::new()?.block_on(run::run(&server.settings, network, cases, each))
}

/// The table, with one line per case.
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
    let keys = vec![format!("check-{CASE}")];
    Settings { url: rtmp, keys, hls, parallel: PARALLEL, keeps_back: KEEPS_BACK }
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
