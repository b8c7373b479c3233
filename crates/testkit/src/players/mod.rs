//! Common players, each of which trusts the test's certificate authority in its own way, and what each reports while it
//! plays.

mod browsers;
mod link;
mod programs;
pub mod scenario;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Most complaints that are kept of one player; more show nothing new.
const COMPLAINTS_MAX: usize = 200;
/// A step of the position by more than this is a jump, in seconds.
const STEP_SECONDS_MAX: f64 = 2.0;

/// The players, by their names in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HlsJs,
    Shaka,
    Ffmpeg,
    Ffplay,
    GStreamer,
    Vlc,
    /// Sealcast's page in Chromium.
    PageInChromium,
    /// Sealcast's page in Firefox.
    PageInFirefox,
    /// Sealcast's page in WebKitGTK, the nearest to Safari on this system.
    PageInWebKit,
}

impl Kind {
    /// Players other than Sealcast's page.
    pub const OTHERS: [Self; 6] = [Self::HlsJs, Self::Shaka, Self::Ffmpeg, Self::Ffplay, Self::GStreamer, Self::Vlc];
    /// Sealcast's page in each browser.
    pub const PAGES: [Self; 3] = [Self::PageInChromium, Self::PageInFirefox, Self::PageInWebKit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::HlsJs => "hls.js",
            Self::Shaka => "Shaka",
            Self::Ffmpeg => "ffmpeg",
            Self::Ffplay => "ffplay",
            Self::GStreamer => "GStreamer",
            Self::Vlc => "VLC",
            Self::PageInChromium => "page in Chromium",
            Self::PageInFirefox => "page in Firefox",
            Self::PageInWebKit => "page in WebKit",
        }
    }

    /// Whether it can change rendition, by command or bandwidth; the others stay with their first one.
    pub const fn adapts(self) -> bool {
        !matches!(self, Self::Ffmpeg | Self::Ffplay)
    }
}

/// What makes a player change rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The test tells it to.
    Choice,
    /// Its link becomes too narrow for what it plays, and then wide again.
    Bandwidth,
}

/// How often a player in a browser changes rendition, at random moments.
#[derive(Debug, Clone, Copy)]
pub struct Changes {
    pub count: u32,
    pub by: By,
}

impl Changes {
    const NONE: Self = Self { count: 0, by: By::Choice };
}

/// What a player has reported so far.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Seconds of video that it has shown (or of media time, if it does not count frames).
    pub played_seconds: f64,
    /// Its own count of the same, if it may start again.
    counted_seconds: f64,
    /// Position in its own media time, if it tells.
    pub position_seconds: Option<f64>,
    /// Height of the picture, if it tells.
    pub height: Option<u64>,
    /// Number of imperfections that it reports: late frames, or stalls.
    pub imperfections: u64,
    /// Errors and warnings that it reports, oldest first.
    pub complaints: Vec<String>,
    /// Errors that it reports, without those about this machine (no D-Bus, no keyboard) or about a connection that ended.
    pub errors: Vec<String>,
    /// A node died in the middle of a response, and the player went on reading at the start of the next one. FFmpeg does so, and may not
    /// find the box boundaries again.
    pub cut: bool,
    /// Its changes of rendition, as `web/tests/players/changes.ts` saw them.
    pub changes: serde_json::Value,
    /// Whether it ended, at an error or at what it took for the end of the stream.
    pub failed: bool,
}

impl Progress {
    fn complain(&mut self, line: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(line.trim().to_owned());
        }
    }

    /// Number of complaints of each kind; complaints of a kind differ only by numbers.
    pub fn kinds_of_complaints(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for complaint in &self.complaints {
            let words = complaint.split(' ').filter(|word| !word.chars().any(|letter| letter.is_ascii_digit()));
            *kinds.entry(words.collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
        kinds
    }

    fn error(&mut self, line: &str) {
        self.complain(line);
        self.errors.push(line.trim().to_owned());
    }

    /// Takes the player's count of played seconds; a count lower than the one before means that it has started again.
    fn counted(&mut self, seconds: f64) {
        let before = if seconds < self.counted_seconds { 0.0 } else { self.counted_seconds };
        self.played_seconds += seconds - before;
        self.counted_seconds = seconds;
    }

    /// Takes a new position: small steps forward count as played, jumps do not.
    fn at(&mut self, position: f64) {
        let step = position - self.position_seconds.unwrap_or(position);
        if (0.0..STEP_SECONDS_MAX).contains(&step) {
            self.played_seconds += step;
        }
        self.position_seconds = Some(position);
    }
}

/// A running player, which ends when this is dropped.
pub struct Player {
    pub kind: Kind,
    child: Child,
    progress: watch::Receiver<Progress>,
    stdin: Option<tokio::process::ChildStdin>,
}

/// Reads a line of output into the progress.
type Read = fn(&mut Progress, &str);

impl Player {
    /// Starts a player on a stream of the balancer or node at `base` (`https://HOST:PORT`). `ca` is the authority's PEM file, `home` a
    /// directory for the player.
    pub fn start(kind: Kind, base: &str, stream: &str, ca: &Path, home: &Path) -> Self {
        std::fs::create_dir_all(home).expect("a directory");
        let url = &format!("{base}/live/{stream}/index.m3u8");
        match kind {
            Kind::HlsJs | Kind::Shaka => browsers::start(kind, url, "{}", Changes::NONE),
            Kind::PageInChromium | Kind::PageInFirefox | Kind::PageInWebKit => {
                browsers::start(kind, &format!("{base}/watch/{stream}"), "{}", Changes::NONE)
            }
            Kind::Ffmpeg => programs::ffmpeg(url, ca),
            Kind::Ffplay => programs::ffplay(url, ca),
            Kind::GStreamer => programs::gstreamer(url, ca),
            Kind::Vlc => programs::vlc(url, ca, home),
        }
    }

    /// Starts hls.js with additional configuration, as an integrator may set it.
    pub fn hls_js(url: &str, config: &str) -> Self {
        browsers::start(Kind::HlsJs, url, config, Changes::NONE)
    }

    /// Starts a player in a browser, which changes rendition.
    pub fn changing(kind: Kind, url: &str, changes: Changes) -> Self {
        browsers::start(kind, url, "{}", changes)
    }

    /// Runs the command and reads its outputs line by line, each with its reader.
    fn spawn(kind: Kind, command: &mut Command, stdout: Read, stderr: Read) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {}: {error}; is it installed? scripts/setup.sh test", kind.name())
        });
        let (sender, progress) = watch::channel(Progress::default());
        tokio::spawn(follow(child.stdout.take().expect("it is piped"), sender.clone(), stdout));
        tokio::spawn(follow(child.stderr.take().expect("it is piped"), sender, stderr));
        let stdin = child.stdin.take();
        Self { kind, child, progress, stdin }
    }

    /// Writes a question to its console again and again, until it ends.
    fn ask(&mut self, question: &'static [u8], every: Duration) {
        let mut stdin = self.stdin.take().expect("it is piped");
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(every);
            while stdin.write_all(question).await.is_ok() {
                tick.tick().await;
            }
        });
    }

    /// Tells it to play the rendition of this height; false if it takes no such command.
    pub async fn choose(&mut self, height: u64) -> bool {
        let is_told = browsers::drives(self.kind);
        let Some(stdin) = self.stdin.as_mut().filter(|_| is_told) else { return false };
        stdin.write_all(format!("{height}\n").as_bytes()).await.is_ok()
    }

    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until the condition holds.
    ///
    /// # Errors
    /// When the wait is over: names what it waited for, and what the player reported last.
    pub async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        condition: impl Fn(&Progress) -> bool,
    ) -> Result<(), String> {
        let waited = tokio::time::timeout(patience, self.progress.wait_for(|now| now.failed || condition(now))).await;
        let held = matches!(&waited, Ok(Ok(now)) if condition(now));
        drop(waited);
        if held {
            return Ok(());
        }
        let now = self.progress();
        let tail = now.complaints.iter().rev().take(5).cloned().collect::<Vec<_>>().join(" | ");
        let ended = self.child.try_wait().ok().flatten().map_or_else(String::new, |status| format!(", {status}"));
        Err(format!("{what}: not after {:.1} s of playing{ended}: {tail}", now.played_seconds))
    }

    /// Waits until it has played `seconds` more.
    ///
    /// # Errors
    /// As [`Player::until`].
    pub async fn plays(&mut self, what: &str, seconds: f64, patience: Duration) -> Result<(), String> {
        let goal = self.progress().played_seconds + seconds;
        self.until(what, patience, |now| now.played_seconds >= goal).await
    }
}

/// Reads an output to its end. Status lines that overwrite one another count as lines.
async fn follow(mut output: impl AsyncRead + Unpin, progress: watch::Sender<Progress>, read: Read) {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        for byte in &buffer[..length] {
            if matches!(byte, b'\n' | b'\r') {
                if !line.is_empty() {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    progress.send_modify(|now| read(now, &text));
                    line.clear();
                }
            } else {
                line.push(*byte);
            }
        }
    }
}
