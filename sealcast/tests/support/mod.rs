//! Shared by the end-to-end tests: processes that end with the test, an HTTPS client, real publishers, a real browser.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod browser;
pub mod cluster;
pub mod link;
pub mod media;
pub mod players;
pub mod publish;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for anything that should happen; generous, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A child process that is killed when this is dropped, and so at every end of a test.
pub struct Process {
    child: Child,
    pub name: String,
}

impl Process {
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// `kill -INT`, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// `kill -NAME`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let mut status = None;
        let deadline = tokio::time::sleep(within);
        tokio::pin!(deadline);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while status.is_none() {
            tokio::select! {
                () = &mut deadline => break,
                _ = tick.tick() => status = self.has_ended(),
            }
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A lock for the tests of one file that encode: each expects a machine that can keep up with it.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The program under test; for `bench`, which is not a test of this package, the one beside it.
pub fn sealcast() -> Command {
    let beside = || std::env::current_exe().expect("a path").with_file_name("sealcast");
    let program = option_env!("CARGO_BIN_EXE_sealcast").map_or_else(beside, PathBuf::from);
    let mut command = Command::new(program);
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
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), flags).await
    }

    pub async fn start_in(directory: tempfile::TempDir, flags: &[&str]) -> Self {
        let ready_file = directory.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = sealcast();
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

/// An HTTPS client that trusts one authority.
pub fn client(ca: &Path) -> reqwest::Client {
    client_of(ca, |builder| builder)
}

/// As [`client`], with a changed builder.
pub fn client_of(ca: &Path, way: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> reqwest::Client {
    let pem = std::fs::read(ca).unwrap_or_else(|error| panic!("{}: {error}", ca.display()));
    let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    node::tls::provider();
    way(reqwest::Client::builder())
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(ca)
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

/// Tries until there is an answer; panics with `what` when [`PATIENCE`] runs out.
pub async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    eventually_async(what, PATIENCE, async || probe()).await
}

/// Tries until there is an answer; panics with `what` when `patience` runs out.
pub async fn eventually_async<T>(what: &str, patience: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if let Some(found) = probe().await {
                break found;
            }
        }
    };
    tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| panic!("waited {patience:?} in vain for {what}"))
}
