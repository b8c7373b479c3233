//! The `sealcast` program, and `sealcast up` as a process.
//!
//! Only tests of the package `sealcast` know where Cargo put its program, so each function takes the path to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::http::client;
use crate::process::Process;
use crate::wait::eventually;

/// The program without the `SEALCAST_` variables of the test's environment, which would configure it.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEALCAST_")) {
        command.env_remove(name);
    }
    command
}

/// A running `sealcast up` on free ports in a directory of its own.
pub struct Up {
    pub process: Process,
    pub ready: Value,
    pub directory: tempfile::TempDir,
    pub http: reqwest::Client,
}

impl Up {
    /// Starts `sealcast up`. Listeners that the flags do not name get free ports.
    pub async fn start(program: impl AsRef<Path>, flags: &[&str]) -> Self {
        Self::start_in(program, tempfile::tempdir().expect("a temporary directory"), flags).await
    }

    /// As [`Up::start`], in a directory with a configuration or with what an earlier run left.
    pub async fn start_in(program: impl AsRef<Path>, directory: tempfile::TempDir, flags: &[&str]) -> Self {
        let ready_file = directory.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = command(program);
        command.arg("up").current_dir(directory.path()).args(["--data", "data", "--ready-file", "ready.json"]);
        for listener in ["--rtmp-listen", "--https-listen", "--mqtt-listen", "--ops-listen"] {
            if !flags.contains(&listener) {
                command.args([listener, "127.0.0.1:0"]);
            }
        }
        let mut process = Process::spawn("sealcast up", command.args(flags));
        let ready = read_ready(&ready_file, &mut process).await;
        let http = client(&directory.path().join(text(&ready, "ca")));
        Self { process, ready, directory, http }
    }

    pub fn https(&self) -> String {
        text(&self.ready, "https")
    }

    pub fn rtmp(&self) -> String {
        text(&self.ready, "rtmp")
    }

    pub fn ca(&self) -> PathBuf {
        self.directory.path().join(text(&self.ready, "ca"))
    }

    pub fn key(&self, stream: &str) -> String {
        let streams = self.ready["streams"].as_array().expect("streams");
        let entry = streams.iter().find(|entry| entry["name"] == stream).expect("the stream is there");
        text(entry, "key")
    }

    /// Sends Ctrl-C. The process has to end by itself, with success.
    pub async fn stop(mut self) -> tempfile::TempDir {
        self.process.interrupt();
        let status = self.process.ended(Duration::from_secs(10)).await.expect("it ends after Ctrl-C");
        assert!(status.success(), "{status}");
        self.directory
    }
}

/// A text field of a JSON object.
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Waits for a ready file; fails if the process ends first.
pub async fn read_ready(path: &Path, process: &mut Process) -> Value {
    eventually("the ready file", || {
        if let Some(status) = process.has_ended() {
            panic!("{} ended before it was ready: {status}", process.name);
        }
        std::fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).expect("the ready file is JSON"))
    })
    .await
}
