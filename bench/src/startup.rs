//! Measures `sealcast up`: the time until everything serves, and memory over time.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::{Figure, median};

/// Longest wait for a start.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// The process, killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Path to the program under measurement, which `make build` puts beside this one.
pub(crate) fn sealcast() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("sealcast"))
}

pub(crate) fn start(directory: &Path, flags: &[&str]) -> anyhow::Result<(Running, Duration)> {
    start_at("127.0.0.1", directory, flags)
}

/// Starts `sealcast up` with viewers at `host`; everything else is on loopback.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub(crate) fn start_at(host: &str, directory: &Path, flags: &[&str]) -> anyhow::Result<(Running, Duration)> {
    let ready = directory.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let began = Instant::now();
    let mut command = Command::new(sealcast()?);
    command.arg("up").current_dir(directory).args(["--ready-file", "ready.json", "--log", "warn"]).args(flags);
    for listener in ["--rtmp-listen", "--mqtt-listen", "--ops-listen"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    command.args(["--https-listen", &format!("{host}:0")]);
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("sealcast is not built: make build")?;
    let mut running = Running(child);
    while !ready.exists() {
        ensure!(running.0.try_wait()?.is_none(), "sealcast up ended before it was ready");
        ensure!(began.elapsed() < START_WAIT_MAX, "sealcast up was not ready after {START_WAIT_MAX:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok((running, began.elapsed()))
}

/// Start with a fresh data directory, and with one that has certificates already.
pub(crate) fn ready(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let directory = tempfile::tempdir()?;
        for times in [&mut fresh, &mut again] {
            let (running, took) = start(directory.path(), &["--no-source"])?;
            drop(running);
            times.push(took.as_secs_f64());
        }
    }
    let figure = |what: &str, seconds: f64, bound| Figure {
        what: what.to_owned(),
        ours: format!("{seconds:.2} s"),
        peer: "-".to_owned(),
        ratio: None,
        bound,
    };
    Ok(vec![
        figure("up to ready file, nothing there", median(fresh), "<= 5 s"),
        figure("up to ready file, certificates there", median(again), "<= 3 s"),
    ])
}

/// Resident memory of `sealcast up` with a 1080p ladder.
pub(crate) fn memory(seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    std::fs::write(
        directory.path().join("sealcast.toml"),
        "[test_source]\nwidth = 1920\nheight = 1080\nbit_rate = 5_000_000\n",
    )?;
    let (running, _) = start(directory.path(), &[])?;
    let samples = 10;
    let mut resident = Vec::new();
    for _ in 0..samples {
        std::thread::sleep(Duration::from_secs(seconds) / samples);
        resident.push(resident_mebibytes(running.0.id())?);
    }
    let last = resident.last().copied().unwrap_or_default();
    let middle = resident.get(resident.len() / 2).copied().unwrap_or_default();
    Ok(vec![
        Figure {
            what: format!("memory of `up`, 1080p ladder, after {seconds} s"),
            ours: format!("{last} MiB"),
            peer: "-".to_owned(),
            ratio: None,
            bound: "<= 500 MB",
        },
        Figure {
            what: "the same, growth in the second half".to_owned(),
            ours: format!("{} MiB of {resident:?}", last.saturating_sub(middle)),
            peer: "-".to_owned(),
            ratio: None,
            bound: "flat",
        },
    ])
}

fn resident_mebibytes(pid: u32) -> anyhow::Result<u64> {
    Ok(crate::role::resident_bytes(pid)? / (1024 * 1024))
}
