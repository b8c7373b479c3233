//! Runs viewers in headless Chromium, through `bench/viewer/driver.mjs`. They report numbers, which the callers judge.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest time of a viewer beyond its stay, for the first frame, opening and closing.
const OVERHEAD_MAX: Duration = Duration::from_secs(60);
/// Longest time for the browser to close.
const CLOSE_MAX: Duration = Duration::from_secs(15);
/// Stay of the first viewer, which does not count, in seconds.
const WARM_UP_SECONDS: f64 = 2.0;

/// What a viewer opens.
#[derive(Debug, Clone)]
pub(crate) enum Viewer {
    /// A page with a player of its own.
    Page(String),
    /// hls.js with its defaults, given this multivariant playlist.
    HlsJs(String),
    /// Shaka with its defaults and its low-latency mode, given this multivariant playlist.
    Shaka(String),
}

impl Viewer {
    fn request(&self, seconds: f64) -> Value {
        match self {
            Self::Page(url) => json!({ "page": url, "seconds": seconds }),
            Self::HlsJs(url) => json!({ "hlsJs": url, "seconds": seconds }),
            Self::Shaka(url) => json!({ "shaka": url, "seconds": seconds }),
        }
    }
}

/// What one viewer saw: `instrument.js`'s report.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    /// Time from the start of the navigation (a page) or from `loadSource` (a bare player) to the first frame on screen.
    pub(crate) first_frame_ms: Option<f64>,
    /// Time from there to the second frame on screen, which shows that the picture moves.
    pub(crate) second_frame_ms: Option<f64>,
    /// Readings of frames: time on screen, media time, clock in the picture. In milliseconds; the first and the last are since 1970.
    readings: Vec<(f64, f64, f64)>,
    /// Standstills of 300 ms and more.
    pub(crate) stalls: Vec<Stall>,
    /// Errors that the player reported.
    pub(crate) errors: Vec<Value>,
    /// Distance to the live edge as the player computes it.
    pub(crate) player_latency_seconds: Option<f64>,
    /// Glass to glass as Sealcast's page shows it at the end.
    pub(crate) page_glass_to_glass_seconds: Option<f64>,
    /// Height of the picture at the end, in pixels.
    pub(crate) level: Option<f64>,
    /// Mean height over all frames on screen, in pixels.
    pub(crate) mean_height: Option<f64>,
    pub(crate) dropped: Option<f64>,
}

/// A standstill of the picture.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stall {
    pub(crate) ms: f64,
}

impl Seen {
    /// Ages of the frames on screen, in seconds, in order.
    pub(crate) fn ages(&self) -> Vec<f64> {
        self.readings.iter().map(|(shown, _, clock)| (shown - clock) / 1e3).collect()
    }

    pub(crate) fn stalled_seconds(&self) -> f64 {
        self.stalls.iter().fold(0.0, |total, stall| total + stall.ms) / 1e3
    }

    /// The longest standstill, in milliseconds; 0 when there was none.
    pub(crate) fn longest_stall_ms(&self) -> f64 {
        self.stalls.iter().fold(0.0, |longest, stall| stall.ms.max(longest))
    }

    /// How much the difference of media time and picture clock varies, in milliseconds: 0 when the player's timeline never moved and
    /// each clock was read from exactly the frame that it counts for.
    pub(crate) fn timeline_shift_ms(&self) -> f64 {
        let offsets = self.readings.iter().map(|(_, media, clock)| clock - media);
        let (low, high) =
            offsets.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), offset| (low.min(offset), high.max(offset)));
        (high - low).max(0.0)
    }
}

/// A warm browser: its first viewer does not count.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    /// Starts the browser and runs a first viewer in it.
    pub(crate) async fn open(first: &Viewer) -> anyhow::Result<Self> {
        Self::start(Command::new("node"), first).await
    }

    /// As [`Browser::open`], in a network namespace.
    pub(crate) async fn open_in(namespace: &str, first: &Viewer) -> anyhow::Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "node"]);
        Self::start(command, first).await
    }

    async fn start(mut command: Command, first: &Viewer) -> anyhow::Result<Self> {
        let driver = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("viewer/driver.mjs");
        let mut child = command
            .arg(driver)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node is missing")?;
        let requests = child.stdin.take().context("it is piped")?;
        let answers = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let mut browser = Self { child, requests, answers };
        browser.watch(first, WARM_UP_SECONDS).await?;
        Ok(browser)
    }

    /// Runs one viewer, which stays `seconds` after its first frame.
    ///
    /// # Errors
    /// When the browser fails. It is not an error when a viewer sees nothing.
    pub(crate) async fn watch(&mut self, viewer: &Viewer, seconds: f64) -> anyhow::Result<Seen> {
        self.requests.write_all(format!("{}\n", viewer.request(seconds)).as_bytes()).await?;
        let limit = OVERHEAD_MAX + Duration::from_secs_f64(seconds);
        let line = tokio::time::timeout(limit, self.answers.next_line()).await.context("the browser hangs")??;
        let answer: Value = serde_json::from_str(&line.context("the browser ended: make web, scripts/setup.sh test")?)?;
        if let Some(why) = answer["failed"].as_str() {
            bail!("the browser failed: {why}");
        }
        Ok(serde_json::from_value(answer)?)
    }

    /// Closes the browser; fails when it does not end within [`CLOSE_MAX`].
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let Self { mut child, requests, answers } = self;
        drop((requests, answers));
        tokio::time::timeout(CLOSE_MAX, child.wait()).await.context("the browser does not end")??;
        Ok(())
    }
}
