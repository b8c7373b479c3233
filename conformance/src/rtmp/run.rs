//! Runs cases against a server: side by side, each on a stream of its own, and a normal publisher after each.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::cases::{Case, NORMAL, Studio};
use super::clip::Clips;
use super::driver::{self, Ended, Happened};
use super::judge::{self, Evidence};
use super::probe::probe;
use super::script::{Script, Target};
use super::watch::Watch;
use crate::watch::Transport;

/// Placeholder for the key in the URL of a playlist.
pub const KEY: &str = "{key}";
/// Placeholder for the name of the case in a key.
pub const CASE: &str = "{case}";
/// Most cases side by side.
pub const PARALLEL_MAX: usize = 64;

/// Longest wait until the media of a case is listed.
const LISTED_WAIT_MAX: Duration = Duration::from_secs(20);
/// All media counts as listed when nothing new came for this long.
const CALM: Duration = Duration::from_millis(1_500);
/// Most media that need not be waited for when it is sent and not listed.
const WORTH_WAITING: Duration = Duration::from_millis(500);
/// As [`CALM`], for cases whose media must not or need not be listed.
const CALM_WITHOUT: Duration = Duration::from_secs(1);
/// Longest wait until a normal publisher is admitted and listed.
const NORMAL_WAIT_MAX: Duration = Duration::from_secs(45);
/// Pause before it connects again, as encoders do.
const NORMAL_RETRY: Duration = Duration::from_secs(2);
/// A server that is unreachable this many times in a row counts as gone.
const UNREACHABLE_MAX: u32 = 3;
/// Most cases whose media is decoded at the same time.
const DECODERS_MAX: usize = 2;

/// Where and how cases run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `rtmp://HOST:PORT/APPLICATION`.
    pub url: String,
    /// Stream keys. A key with `{case}` serves all cases, each by its name; any other key serves one case at a time.
    pub keys: Vec<String>,
    /// URL of the multivariant or media playlist of a stream, with `{key}` for its key.
    pub hls: String,
    /// Most cases that run side by side, as far as there are keys.
    pub parallel: usize,
    /// Media that may be missing: what a server drops before the first keyframe, and the last segment if it is not complete.
    pub keeps_back: Duration,
}

/// The outcome of a case.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    pub case: &'static str,
    /// What is sent.
    pub what: &'static str,
    pub expected: String,
    /// What happened.
    pub came: String,
    /// What differs from the expectation.
    pub faults: Vec<String>,
}

impl Judged {
    /// Whether all is as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    /// The outcome as a line, with a line for each fault.
    #[must_use]
    pub fn line(&self) -> String {
        let verdict = if self.passed() { "PASS" } else { "FAIL" };
        let mut line = format!("{verdict}  {:<32} {:<30} {}", self.case, self.expected, self.came);
        if !self.passed() {
            // Writing to a string does not fail.
            let _ = write!(line, "\n      {}", self.faults.join("\n      "));
        }
        line
    }
}

/// The server, and what cases share.
struct Server {
    address: String,
    application: String,
    url: String,
    hls: String,
    transport: Arc<dyn Transport>,
    keeps_back: Duration,
    clips: Clips,
    decoders: Semaphore,
    _directory: tempfile::TempDir,
}

/// Runs cases, and reports the outcome of each when it ends. Fails when the settings cannot be used.
pub async fn run(
    settings: &Settings,
    transport: Arc<dyn Transport>,
    cases: Vec<Case>,
    mut each: impl FnMut(&Judged),
) -> anyhow::Result<Vec<Judged>> {
    let server = Arc::new(Server::new(settings, transport)?);
    let keys: Vec<String> = match settings.keys.iter().find(|key| key.contains(CASE)) {
        Some(key) => vec![key.clone(); settings.parallel.clamp(1, PARALLEL_MAX)],
        None => settings.keys.iter().take(settings.parallel.clamp(1, PARALLEL_MAX)).cloned().collect(),
    };
    ensure!(!keys.is_empty(), "no stream key");
    let order: Vec<&'static str> = cases.iter().map(|case| case.name).collect();
    let mut queue = cases;
    queue.sort_by_key(|case| std::cmp::Reverse(case.seconds));
    let queue = Arc::new(Mutex::new(VecDeque::from(queue)));
    let (done, mut over) = mpsc::channel(PARALLEL_MAX);
    let mut workers = JoinSet::new();
    for key in keys {
        let (server, queue, done) = (Arc::clone(&server), Arc::clone(&queue), done.clone());
        workers.spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(case) = next else { return Ok(()) };
                let judged = server.case(case, &key.replace(CASE, case.name), !key.contains(CASE)).await?;
                if done.send(judged).await.is_err() {
                    return anyhow::Ok(());
                }
            }
        });
    }
    drop(done);
    let mut all = Vec::new();
    while let Some(judged) = over.recv().await {
        each(&judged);
        all.push(judged);
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker broke")??;
    }
    all.sort_by_key(|judged| order.iter().position(|name| *name == judged.case));
    Ok(all)
}

/// Host with port, and application, of `rtmp://HOST[:PORT]/APPLICATION`.
fn parts(url: &str) -> anyhow::Result<(String, String)> {
    ensure!(
        !url.starts_with("rtmps://"),
        "{url:?}: only rtmp:// is spoken here, not RTMP over TLS; give the server's rtmp:// URL"
    );
    let rest = url.strip_prefix("rtmp://").with_context(|| format!("{url:?} is no rtmp:// URL"))?;
    let (host, application) = rest.split_once('/').context("the URL names no application: rtmp://HOST/live")?;
    let application = application.trim_end_matches('/');
    ensure!(!host.is_empty() && !application.is_empty(), "{url:?} names no host or no application");
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:1935") };
    Ok((address, application.to_owned()))
}

impl Server {
    fn new(settings: &Settings, transport: Arc<dyn Transport>) -> anyhow::Result<Self> {
        let (address, application) = parts(&settings.url)?;
        let directory = tempfile::tempdir()?;
        Ok(Self {
            address,
            application,
            url: settings.url.trim_end_matches('/').to_owned(),
            hls: settings.hls.clone(),
            transport,
            keeps_back: settings.keeps_back,
            clips: Clips::new(directory.path()),
            decoders: Semaphore::new(DECODERS_MAX),
            _directory: directory,
        })
    }

    /// Runs one case with a key. With `many` cases on the key, waits at the end until the normal publisher has left and all its media is
    /// listed, so that the next case does not count it.
    async fn case(self: &Arc<Self>, case: Case, key: &str, many: bool) -> anyhow::Result<Judged> {
        let target = Target { application: self.application.clone(), url: self.url.clone(), key: key.to_owned() };
        let (script, normal) = (self.written(case, &target).await?, self.written(NORMAL, &target).await?);
        let watch = Watch::begin(Arc::clone(&self.transport), self.hls.replace(KEY, key)).await;
        let happened = driver::play(&self.address, &script).await;
        let stays = happened.iter().all(|happened| happened.ended == Ended::Finished);
        let plays = !matches!(case.outcome, judge::Outcome::Refused | judge::Outcome::Survives) && stays;
        let (wanted, calm) = if plays { (script.media(), CALM) } else { (Duration::ZERO, CALM_WITHOUT) };
        let wanted = wanted.saturating_sub(self.keeps_back.min(WORTH_WAITING));
        let record = watch.settle(wanted, calm, LISTED_WAIT_MAX).await;
        let runs = {
            let _turn = self.decoders.acquire().await.context("decoders are gone")?;
            probe(&record).await?
        };
        let evidence = Evidence {
            script: &script,
            happened: &happened,
            record: &record,
            runs: &runs,
            keeps_back: self.keeps_back,
        };
        let mut faults = judge::judge(case.outcome, case.shows, evidence);
        faults.extend(self.takes(&normal, &watch).await);
        faults.dedup();
        if many {
            watch.settle(Duration::ZERO, CALM, LISTED_WAIT_MAX).await;
        }
        let (expected, came) = (case.outcome.to_string(), judge::came(evidence));
        Ok(Judged { case: case.name, what: case.what, expected, came, faults })
    }

    /// Writes the script of a case, on a thread that may block, because clips take a moment to make.
    async fn written(self: &Arc<Self>, case: Case, target: &Target) -> anyhow::Result<Script> {
        let (server, target) = (Arc::clone(self), target.clone());
        let write = move || (case.script)(&Studio { clips: &server.clips, target: &target });
        tokio::task::spawn_blocking(write).await?.with_context(|| format!("case {}", case.name))
    }

    /// Publishes normally with the same key. Returns the fault if that is not admitted and listed.
    async fn takes(&self, normal: &Script, watch: &Watch) -> Option<String> {
        let before = watch.media();
        let publisher = async {
            let mut unreachable = 0;
            while unreachable < UNREACHABLE_MAX {
                let happened = driver::play(&self.address, normal).await;
                let gone = |happened: &Happened| matches!(happened.ended, Ended::Unreachable(_));
                unreachable = if happened.iter().any(gone) { unreachable + 1 } else { 0 };
                tokio::time::sleep(NORMAL_RETRY).await;
            }
        };
        let listed = watch.more_than(before, NORMAL_WAIT_MAX);
        tokio::select! {
            () = publisher => Some("afterwards the server is gone".to_owned()),
            came = listed => (!came).then(|| "afterwards a normal publisher was not listed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_host_port_and_application_and_another_scheme_is_refused_by_name() {
        let of = |address: &str| Ok((address.to_owned(), "live".to_owned()));
        let said = |url| parts(url).map_err(|error| error.to_string());
        assert_eq!(said("rtmp://h/live/"), of("h:1935"));
        assert_eq!(said("rtmp://h:1936/live"), of("h:1936"));
        let error = said("rtmps://h:1936/live").unwrap_err();
        assert!(error.starts_with("\"rtmps://h:1936/live\": only rtmp:// is spoken here"), "{error}");
        for url in ["https://h/live", "rtmp://h", "rtmp:///live", "rtmp://h/"] {
            assert!(said(url).is_err(), "{url}");
        }
    }
}
