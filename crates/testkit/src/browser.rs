//! A real browser: headless Chromium through `web/tests/browser.mjs`, which reports what the player does.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::wait::PATIENCE;

/// A page that is open and plays.
pub struct Browser {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    pub reports: Vec<Value>,
}

/// The program that opens `url` in a browser; further arguments may follow.
pub(crate) fn command(url: &str) -> Command {
    let mut command = Command::new("node");
    command.args(["tests/browser.mjs", url, "--size", "1280x800"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web"));
    command
}

impl Browser {
    pub fn open(url: &str, seconds: u32) -> Self {
        let mut child = command(url)
            .args(["--seconds", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed, and web/node_modules is there: make web");
        let stdout = child.stdout.take().expect("it is piped");
        Self { child, lines: BufReader::new(stdout).lines(), reports: Vec::new() }
    }

    /// The next report; one comes every second.
    pub async fn next(&mut self) -> Option<&Value> {
        let line = self.lines.next_line().await.expect("it can be read")?;
        self.reports.push(serde_json::from_str(&line).expect("a line of JSON"));
        self.reports.last()
    }

    /// Reads until the picture moves.
    pub async fn until_playing(&mut self) {
        self.until("to play", |player| player["currentTime"].as_f64().unwrap_or(0.0) > 0.0).await;
    }

    /// Reads until the page plays and this holds of its player.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) {
        let playing = async {
            while let Some(report) = self.next().await {
                let player = &report["player"];
                if player["view"] == "playing" && holds(player) {
                    return true;
                }
            }
            false
        };
        let played = tokio::time::timeout(PATIENCE, playing).await;
        assert!(played.unwrap_or(false), "waited in vain for the page {what}: {:?}", self.reports.last());
    }

    /// Reads this many more reports, one per second.
    pub async fn for_seconds(&mut self, seconds: usize) {
        for _ in 0..seconds {
            assert!(self.next().await.is_some(), "the browser ended early: {:?}", self.reports.last());
        }
    }

    /// Ends the browser now, with a last report.
    pub async fn stop(self) -> Report {
        if let Some(id) = self.child.id() {
            let _ = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status();
        }
        self.finish().await
    }

    /// Collects reports until the browser has ended.
    pub async fn finish(mut self) -> Report {
        while self.next().await.is_some() {}
        self.child.wait().await.expect("the browser ends");
        Report(self.reports)
    }
}

/// Frames on a page of another site, in Chromium that gives them no cookies (`web/tests/embedded.mjs`).
pub struct Frames {
    _child: Child,
    stdin: ChildStdin,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    /// The origin of the page around the frame.
    pub site: String,
}

impl Frames {
    pub async fn start() -> Self {
        let mut child = Command::new("node")
            .arg("tests/embedded.mjs")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed, and web/node_modules is there: make web");
        let (stdin, stdout) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let mut frames = Self { _child: child, stdin, lines: BufReader::new(stdout).lines(), site: String::new() };
        frames.site = frames.line().await["site"].as_str().expect("the first line names the site").to_owned();
        frames
    }

    /// What became of a frame with this page.
    pub async fn show(&mut self, url: &str) -> Value {
        self.stdin.write_all(format!("{url}\n").as_bytes()).await.expect("it reads");
        self.line().await
    }

    async fn line(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("it can be read").expect("it goes on");
        serde_json::from_str(&line).expect("a line of JSON")
    }
}

const STALL_MS_MAX: f64 = 2_000.0;

/// All that the page reported.
pub struct Report(pub Vec<Value>);

impl Report {
    fn last(&self) -> &Value {
        self.0.last().expect("the browser reported")
    }

    /// Asserts that the page played for at least this long, without a fatal error or a page error. A busy machine may cost one stall of two
    /// seconds; `bench stalls` counts stalls.
    pub fn assert_played_well(&self, seconds: f64) {
        let last = self.last();
        let player = &last["player"];
        let times =
            self.0.iter().filter_map(|report| report["player"]["currentTime"].as_f64()).filter(|time| *time > 0.0);
        let (first, end) = times.fold((f64::INFINITY, 0.0), |(first, end), time| (time.min(first), time.max(end)));
        assert!(end - first >= seconds, "played for {:.1} s only: {last}", end - first);
        assert_eq!(player["fatalErrors"], 0, "{last}");
        let stalls = &player["stalls"];
        let is_short = stalls["longestMs"].as_f64().is_some_and(|longest| longest <= STALL_MS_MAX);
        assert!(stalls["count"].as_u64() <= Some(1) && is_short, "{last}");
        assert_eq!(last["cspViolations"], serde_json::json!([]), "{last}");
        assert_eq!(last["pageErrors"], serde_json::json!([]), "{last}");
        assert!(player["verified"]["sequence"].as_u64().is_some_and(|sequence| sequence > 0), "{last}");
    }
}

/// Opens a page and watches it to the end.
pub async fn watch(url: &str, seconds: u32) -> Report {
    Browser::open(url, seconds).finish().await
}
