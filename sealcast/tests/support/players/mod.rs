//! Players as viewers have them, each told of our certificate authority in its own way, and what each says of itself
//! while it plays.

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

pub use link::Link;

/// Complaints kept of one player; more say nothing new.
const COMPLAINTS_MAX: usize = 200;
/// A jump of the position by more than this is not playing, in seconds.
const STEP_SECONDS_MAX: f64 = 2.0;

/// The players, named as in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HlsJs,
    Shaka,
    Ffmpeg,
    Ffplay,
    GStreamer,
    Vlc,
    /// Our own page, in Chromium.
    PageInChromium,
    /// And in Firefox.
    PageInFirefox,
    /// And in WebKitGTK, the nearest to Safari on this system.
    PageInWebKit,
}

impl Kind {
    /// Players of others.
    pub const OTHERS: [Self; 6] = [Self::HlsJs, Self::Shaka, Self::Ffmpeg, Self::Ffplay, Self::GStreamer, Self::Vlc];
    /// Our own, in each browser.
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

    /// Whether it changes rendition, told or by bandwidth; the others stay with the one they began with.
    pub const fn adapts(self) -> bool {
        !matches!(self, Self::Ffmpeg | Self::Ffplay)
    }
}

/// What makes a player change rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// It is told to.
    Choice,
    /// Its link is too narrow for what it plays, and then wide again.
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

/// What a player has said of itself so far.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Seconds of picture that it showed (or of media time, where it does not count pictures).
    pub played_seconds: f64,
    /// Its own count of the same, where it may begin anew.
    counted_seconds: f64,
    /// Position in its own media time, where it tells.
    pub position_seconds: Option<f64>,
    /// Height of the picture, where it tells.
    pub height: Option<u64>,
    /// Pictures that came too late, or stalls: what it calls imperfect.
    pub imperfections: u64,
    /// Lines and events that it calls errors or warnings, oldest first.
    pub complaints: Vec<String>,
    /// Those that it calls errors, and that are no matter of this machine (no D-Bus, no keyboard) or of a connection that ended.
    pub errors: Vec<String>,
    /// A node died in the middle of a response, and the player reads on where the next begins: FFmpeg does, and may not find its way
    /// in the boxes again.
    pub cut: bool,
    /// Its changes of rendition, as `web/tests/players/changes.ts` has seen them.
    pub changes: serde_json::Value,
    /// It said or showed that it gave up.
    pub failed: bool,
}

impl Progress {
    fn complain(&mut self, line: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(line.trim().to_owned());
        }
    }

    /// How often it said what; complaints that differ by numbers only are one kind.
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

    /// So much was played since it began to count; a number lower than the one before means that it has begun anew.
    fn counted(&mut self, seconds: f64) {
        let before = if seconds < self.counted_seconds { 0.0 } else { self.counted_seconds };
        self.played_seconds += seconds - before;
        self.counted_seconds = seconds;
    }

    /// A new position: steps forward are playing, jumps are not.
    fn at(&mut self, position: f64) {
        let step = position - self.position_seconds.unwrap_or(position);
        if (0.0..STEP_SECONDS_MAX).contains(&step) {
            self.played_seconds += step;
        }
        self.position_seconds = Some(position);
    }
}

/// A running player; it ends with its owner.
pub struct Player {
    pub kind: Kind,
    child: Child,
    progress: watch::Receiver<Progress>,
    stdin: Option<tokio::process::ChildStdin>,
}

/// How a line changes what is known of the player.
type Read = fn(&mut Progress, &str);

impl Player {
    /// Starts it on a stream of a balancer or node at `base`, as `https://HOST:PORT`; `ca` is the authority's PEM file, `home` a directory of its own.
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

    /// hls.js with a configuration of its integrator's on top.
    pub fn hls_js(url: &str, config: &str) -> Self {
        browsers::start(Kind::HlsJs, url, config, Changes::NONE)
    }

    /// A player in a browser that changes rendition.
    pub fn changing(kind: Kind, url: &str, changes: Changes) -> Self {
        browsers::start(kind, url, "{}", changes)
    }

    /// Runs the command and reads what it says, line by line, with a reader for each output.
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

    /// Writes a question to its console over and over, until it has ended.
    fn ask(&mut self, question: &'static [u8], every: Duration) {
        let mut stdin = self.stdin.take().expect("it is piped");
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(every);
            while stdin.write_all(question).await.is_ok() {
                tick.tick().await;
            }
        });
    }

    /// Asks it for the rendition of this height; false when it cannot be told.
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
    /// Says what it waited for in vain, and what the player said last.
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

    /// Waits until it has played so much more.
    ///
    /// # Errors
    /// As [`Player::until`].
    pub async fn plays(&mut self, what: &str, seconds: f64, patience: Duration) -> Result<(), String> {
        let goal = self.progress().played_seconds + seconds;
        self.until(what, patience, |now| now.played_seconds >= goal).await
    }
}

/// Reads an output to its end. Status lines that overwrite each other are lines too.
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
