//! Hosts that take all they can of a server for viewers, and viewers who watch meanwhile.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

/// Requests of a hostile host that it keeps under way on a connection: a server takes 128.
const STREAMS: usize = 120;
/// Connections of an attack that holds requests.
const CONNECTIONS: usize = 24;
/// Connections of an attack that asks without pause.
const ASKING: usize = 8;
/// A window of HTTP/2 that a playlist fits in, and a segment does not.
const SHUT_WINDOW_BYTES: u32 = 16 * 1024;
const OPEN_WINDOW_BYTES: u32 = 1 << 20;

/// What one host does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Asks for segments on many streams, and reads none.
    SlowReading,
    /// Blocks thousands of reloads.
    BlockedFlood,
    /// Sends requests and takes them back at once (CVE-2023-44487).
    RapidReset,
    /// Connects, asks once, and leaves.
    Churn,
    /// Asks with query strings of many kilobytes.
    HugeQueries,
    /// Asks for the playlists of a recording and for the list of streams without pause.
    DvrScraping,
}

impl Attack {
    pub const ALL: [Self; 6] =
        [Self::SlowReading, Self::BlockedFlood, Self::RapidReset, Self::Churn, Self::HugeQueries, Self::DvrScraping];

    /// What it is called in a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowReading => "slow reading",
            Self::BlockedFlood => "blocked reloads",
            Self::RapidReset => "rapid reset",
            Self::Churn => "connection churn",
            Self::HugeQueries => "huge query strings",
            Self::DvrScraping => "DVR and list without pause",
        }
    }
}

/// A machine on loopback with an address of its own.
#[derive(Clone)]
pub struct Host {
    pub address: Ipv4Addr,
    /// Base URL of the server.
    pub server: String,
    pub tls: rustls::ClientConfig,
}

impl Host {
    /// A client with connections of its own, over HTTP/2.
    pub fn client(&self, window_bytes: u32) -> reqwest::Client {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let builder = reqwest::Client::builder().use_preconfigured_tls(tls).no_proxy();
        let builder = builder.local_address(IpAddr::V4(self.address)).http2_initial_stream_window_size(window_bytes);
        builder.http2_initial_connection_window_size(1 << 28).build().unwrap()
    }
}

/// A part, in one rendition of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub epoch: u64,
    pub msn: u64,
    pub part: u32,
}

/// Where a stream is.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Path of a rendition, such as `/live/demo/720p`.
    pub path: String,
    pub parts_per_segment: u32,
}

impl Timeline {
    pub const fn after(&self, place: Place) -> Place {
        let Place { epoch, msn, part } = place;
        if part + 1 == self.parts_per_segment {
            Place { epoch, msn: msn + 1, part: 0 }
        } else {
            Place { epoch, msn, part: part + 1 }
        }
    }

    fn reload(&self, Place { msn, part, .. }: Place) -> String {
        format!("{}/index.m3u8?_HLS_msn={msn}&_HLS_part={part}", self.path)
    }

    fn part(&self, Place { epoch, msn, part }: Place) -> String {
        format!("{}/{epoch}/{msn}.{part}.m4s", self.path)
    }
}

/// An attack that goes on until it is dropped.
pub struct Attacking {
    done: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Attacking {
    /// One host attacks.
    pub fn start(
        attack: Attack,
        host: &Host,
        timeline: &Timeline,
        newest: &tokio::sync::watch::Receiver<Place>,
    ) -> Self {
        let done = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        let connections = match attack {
            Attack::SlowReading | Attack::BlockedFlood => CONNECTIONS,
            _ => ASKING,
        };
        for _ in 0..connections {
            let attacker =
                Attacker { host: host.clone(), timeline: timeline.clone(), newest: newest.clone(), done: done.clone() };
            tasks.spawn(attacker.run(attack));
        }
        Self { done, _tasks: tasks }
    }

    /// How often it did what it does.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

struct Attacker {
    host: Host,
    timeline: Timeline,
    newest: tokio::sync::watch::Receiver<Place>,
    done: Arc<AtomicU64>,
}

impl Attacker {
    async fn run(mut self, attack: Attack) {
        loop {
            match attack {
                Attack::SlowReading => self.read_slowly().await,
                Attack::BlockedFlood => self.block().await,
                Attack::RapidReset => self.reset().await,
                Attack::Churn => self.come_and_go().await,
                Attack::HugeQueries => {
                    self.ask(&[format!("{}/index.m3u8?x={}", self.timeline.path, "x".repeat(12_000))]).await;
                }
                Attack::DvrScraping => {
                    let [playlist, list] = [format!("{}/dvr.m3u8", self.timeline.path), "/api/v1/streams".to_owned()];
                    self.ask(&[playlist, list]).await;
                }
            }
            // The runtime may be that of the viewers.
            tokio::task::yield_now().await;
        }
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> Option<reqwest::Response> {
        self.count();
        client.get(format!("{}{path}", self.host.server)).send().await.ok()
    }

    /// Until the connection is cut, asks for each segment as it comes.
    async fn read_slowly(&mut self) {
        let client = self.host.client(SHUT_WINDOW_BYTES);
        let mut unread = Vec::new();
        while unread.len() < STREAMS {
            let Place { epoch, msn, .. } = *self.newest.borrow_and_update();
            let path = format!("{}/{epoch}/{}.m4s", self.timeline.path, msn.saturating_sub(1));
            match self.get(&client, &path).await {
                Some(response) => unread.push(response),
                None => return,
            }
            if unread.len().is_multiple_of(5) && self.newest.changed().await.is_err() {
                return;
            }
        }
    }

    async fn block(&self) {
        let client = self.host.client(OPEN_WINDOW_BYTES);
        let mut blocked = JoinSet::new();
        for _ in 0..STREAMS {
            let next = self.timeline.after(self.timeline.after(*self.newest.borrow()));
            let request = client.get(format!("{}{}", self.host.server, self.timeline.reload(next)));
            self.count();
            blocked.spawn(async move { request.send().await.is_ok() });
        }
        while blocked.join_next().await.is_some() {}
    }

    async fn reset(&self) {
        let client = self.host.client(OPEN_WINDOW_BYTES);
        for _ in 0..STREAMS {
            let next = self.timeline.after(*self.newest.borrow());
            let mut request =
                Box::pin(client.get(format!("{}{}", self.host.server, self.timeline.reload(next))).send());
            // Polled until it is on its way, and dropped.
            for _ in 0..3 {
                if futures_util::poll!(&mut request).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            self.count();
        }
    }

    async fn come_and_go(&self) {
        let client = self.host.client(OPEN_WINDOW_BYTES);
        self.get(&client, &format!("{}/index.m3u8", self.timeline.path)).await;
    }

    async fn ask(&self, paths: &[String]) {
        let client = self.host.client(OPEN_WINDOW_BYTES);
        for path in paths.iter().cycle().take(STREAMS * paths.len()) {
            let Some(response) = self.get(&client, path).await else { return };
            if response.bytes().await.is_err() {
                return;
            }
        }
    }
}

/// Watches `parts` parts as a player does: blocks on the playlist of the next one, and loads it. Tells `seen` of each.
///
/// # Errors
/// Says what was not served.
pub async fn watch(
    client: reqwest::Client,
    (server, timeline): (String, Timeline),
    (mut place, parts): (Place, usize),
    mut seen: impl FnMut(Place),
) -> Result<(), String> {
    for _ in 0..parts {
        for path in [timeline.reload(place), timeline.part(place)] {
            let answer =
                client.get(format!("{server}{path}")).send().await.map_err(|error| format!("{path}: {error:?}"))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| format!("{path}: {error:?}"))?;
            if status != reqwest::StatusCode::OK || body.is_empty() {
                return Err(format!("{path}: {status}"));
            }
        }
        seen(place);
        place = timeline.after(place);
    }
    Ok(())
}
