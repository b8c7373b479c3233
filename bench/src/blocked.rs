//! Many viewers blocked on the next part of one stream of one node. Measures how soon after the push of the seal each has its
//! playlist, how much memory a waiting viewer needs besides its connection, and whether CPU is in proportion to the bytes sent.

mod arrival;
mod server;
pub(crate) mod viewer;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use media::{ObjectName, Slot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::log::Row;
use crate::{Figure, balancer_process};
use viewer::Viewer;

pub(crate) use server::{Addresses, Idle, Server, serve};

/// Bytes of a part: half a second at 1.6 Mbit/s.
const PART_BYTES: usize = 100_000;
/// Segments before viewers come, so that playlists are as long as they get.
const SEGMENTS: usize = 13;
/// Rows that are measured; each viewer gets one playlist per row.
const ROWS: usize = 40;
/// Interval between rows.
const ROW: Duration = Duration::from_millis(500);
/// Most viewers that connect at the same time.
const CONNECTING_MAX: usize = 64;
/// Pause before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// CPU is compared with that of a run with this fraction of the viewers.
const FEWER: usize = 5;
/// Open files of the viewers' process besides their connections.
const OTHER_FILES: u64 = 256;

struct Run {
    viewers: usize,
    /// Times from the push of the seal to the arrival of the last byte of each answer, in milliseconds, sorted.
    delays: Vec<f64>,
    /// Bytes of memory per connection that has sent all its first requests and does not wait.
    connection: f64,
    /// Additional bytes per connection while it waits.
    waiting: f64,
    /// Additional bytes per connection after all rows.
    served: f64,
    cpu_s: f64,
    bytes: usize,
    /// Requests that wait on the node while all viewers wait.
    on_the_node: u64,
}

pub(crate) fn measure(viewers: usize) -> anyhow::Result<Vec<Figure>> {
    let open_files = node::files::raise_open_files_limit();
    let wanted = u64::try_from(viewers)? + OTHER_FILES;
    ensure!(open_files >= wanted, "{viewers} viewers need {wanted} open files, {open_files} are allowed: ulimit -n");
    let [first, second, third] = [Idle::spawn()?, Idle::spawn()?, Idle::spawn()?];
    let balancer = balancer_process::idle()?;
    step_back()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let few = runtime.block_on(run(first, None, viewers / FEWER))?;
    let many = runtime.block_on(run(second, None, viewers))?;
    let balanced = runtime.block_on(run(third, Some(balancer), viewers))?;
    let mut figures = figures(&few, &many);
    figures.push(balanced.through_a_balancer());
    Ok(figures)
}

/// Lowers the priority of this process: real viewers have their own machines, so here the server gets the cores first.
pub(crate) fn step_back() -> anyhow::Result<()> {
    let this = std::process::id().to_string();
    let status = Command::new("renice").args(["-n", "19", "-p", &this]).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "renice: {status}");
    Ok(())
}

impl Run {
    /// The delay that this share of all answers did not exceed, in milliseconds.
    fn delay(&self, share: f64) -> f64 {
        let index = (self.delays.len() as f64 * share) as usize;
        self.delays.get(index.min(self.delays.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    fn delays(&self) -> String {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| self.delay(share));
        format!("p50 {half:.1} ms, p99 {most:.1} ms, last {all:.1} ms")
    }

    fn through_a_balancer(&self) -> Figure {
        let (each, viewers) = (self.cpu_s * 1e6 / self.delays.len() as f64, self.viewers);
        Figure {
            what: format!("the same {viewers} viewers, connected to a load balancer before that node"),
            ours: format!(
                "{}; {each:.0} us of CPU of the balancer a playlist; a viewer who waits {:.1} KB there, its connection {:.1} KB; \
                 requests that wait on the node: {}",
                self.delays(),
                self.waiting / 1e3,
                self.connection / 1e3,
                self.on_the_node
            ),
            peer: "-".to_owned(),
            ratio: None,
            bound: "-",
        }
    }
}

fn figures(few: &Run, many: &Run) -> Vec<Figure> {
    let per_kilobyte = |run: &Run| run.cpu_s * 1e9 / run.bytes as f64;
    let figure = |what: String, ours: String, ratio, bound| Figure { what, ours, peer: "-".to_owned(), ratio, bound };
    let (now, before) = (per_kilobyte(many), per_kilobyte(few));
    vec![
        figure(
            format!(
                "{} viewers blocked on a part: from the push of its seal to the arrival of the whole playlist",
                many.viewers
            ),
            many.delays(),
            None,
            "p99 <= 50 ms",
        ),
        figure(
            "memory of a viewer who waits, besides its connection".to_owned(),
            format!(
                "{:.1} KB; after {ROWS} playlists {:.1} KB; the connection (TLS, HTTP/2) {:.1} KB",
                many.waiting / 1e3,
                many.served / 1e3,
                many.connection / 1e3
            ),
            None,
            "<= 16 KB",
        ),
        figure(
            format!("CPU a byte sent, {} viewers against {}", many.viewers, few.viewers),
            format!("{now:.1} ns against {before:.1} ns"),
            Some(now / before),
            "in proportion: <= 1.2x",
        ),
    ]
}

/// Runs a node, and before it a balancer, if there is one: then memory and CPU are the balancer's.
async fn run(child: Idle, balancer: Option<balancer_process::Running>, viewers: usize) -> anyhow::Result<Run> {
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(child, directory.path(), PART_BYTES, SEGMENTS).await?;
    if let Some(balancer) = balancer {
        server.put_behind(balancer).await?;
    }
    let playlist = format!("/live/{}/r00/index.m3u8", server.author.stream);
    tokio::time::sleep(SETTLE).await;
    let alone = server.resident()?;
    let connected = connect(&server, &playlist, viewers).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = server.resident()?;

    let mut row = server.next_row()?;
    let mut blocked = BlockedViewers::new(connected, &playlist, &row);
    blocked.all_wait(&server).await?;
    tokio::time::sleep(SETTLE).await;
    let waiting = server.resident()?;
    let on_the_node = server.waiting_on_the_node().await?;

    let (mut delays, mut bytes) = (Vec::with_capacity(viewers * ROWS), 0);
    let cpu = server.cpu()?;
    let mut ticks = tokio::time::interval(ROW);
    for _ in 0..ROWS {
        server.push_bytes(&row).await?;
        ticks.tick().await;
        let began = since_1970()?;
        server.push_seal(&row).await?;
        for _ in 0..viewers {
            let (at, length) = blocked.answer().await?;
            delays.push(at.saturating_sub(began).as_secs_f64() * 1e3);
            bytes += length;
        }
        row = server.next_row()?;
        blocked.places.send_replace(place_of(&row));
        blocked.all_wait(&server).await?;
    }
    let cpu_s = server.cpu()? - cpu;
    let served = server.resident()?;
    blocked.tasks.shutdown().await;
    delays.sort_by(f64::total_cmp);
    let each = |bytes: u64, before: u64| bytes.saturating_sub(before) as f64 / viewers as f64;
    Ok(Run {
        viewers,
        delays,
        connection: each(idle, alone),
        waiting: each(waiting, idle),
        served: each(served, idle),
        cpu_s,
        bytes,
        on_the_node,
    })
}

/// Connects viewers, which send enough requests that their connections are as large as they get.
async fn connect(server: &Server, playlist: &str, viewers: usize) -> anyhow::Result<Vec<Viewer>> {
    let tls = Arc::new(server.viewers.clone());
    let mut connecting = JoinSet::new();
    let mut connected = Vec::with_capacity(viewers);
    for _ in 0..viewers {
        if connecting.len() >= CONNECTING_MAX {
            connected.push(connecting.join_next().await.context("nobody connects")???);
        }
        let (address, tls, playlist) = (server.https, tls.clone(), playlist.to_owned());
        connecting.spawn(async move {
            let mut viewer = Viewer::connect(address, tls).await?;
            for _ in 0..ROWS {
                viewer.ask(&playlist).await?;
                viewer.answer().await?;
            }
            anyhow::Ok(viewer)
        });
    }
    while let Some(viewer) = connecting.join_next().await {
        connected.push(viewer??);
    }
    Ok(connected)
}

/// Viewers that request the playlist with one row after the other, before the node has it.
struct BlockedViewers {
    count: usize,
    /// The row that they request.
    places: watch::Sender<(u64, u32)>,
    answers: mpsc::UnboundedReceiver<(Duration, usize)>,
    tasks: JoinSet<anyhow::Error>,
}

impl BlockedViewers {
    /// The viewers request the playlist with `row`.
    fn new(connected: Vec<Viewer>, playlist: &str, row: &Row) -> Self {
        let (places, place) = watch::channel(place_of(row));
        let (answered, answers) = mpsc::unbounded_channel();
        let (count, mut tasks) = (connected.len(), JoinSet::new());
        for viewer in connected {
            tasks.spawn(watch_on(viewer, playlist.to_owned(), place.clone(), answered.clone()));
        }
        Self { count, places, answers, tasks }
    }

    /// Waits until the server holds a request of each.
    async fn all_wait(&mut self, server: &Server) -> anyhow::Result<()> {
        tokio::select! {
            waited = server.holds(u64::try_from(self.count)?) => waited,
            Some(ended) = self.tasks.join_next() => bail!("a viewer gave up: {:#}", ended?),
        }
    }

    /// The arrival and the length of the next answer.
    async fn answer(&mut self) -> anyhow::Result<(Duration, usize)> {
        tokio::select! {
            Some(answer) = self.answers.recv() => Ok(answer),
            Some(ended) = self.tasks.join_next() => bail!("a viewer gave up: {:#}", ended?),
        }
    }
}

/// Now, by the clock of the kernel's timestamps.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub(crate) fn since_1970() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Media sequence number and part index of a row.
pub(crate) fn place_of(row: &Row) -> (u64, u32) {
    let place = |(name, _): &(ObjectName, Bytes)| match name.slot {
        Slot::Part { msn, part } => Some((msn.0, part.0)),
        _ => None,
    };
    row.objects.iter().find_map(place).expect("a row has parts")
}

/// Requests the playlist for each place in turn, and sends the arrival and the length of the answer. Ends with an error.
async fn watch_on(
    mut viewer: Viewer,
    playlist: String,
    mut place: watch::Receiver<(u64, u32)>,
    answered: mpsc::UnboundedSender<(Duration, usize)>,
) -> anyhow::Error {
    let mut rows = async || {
        loop {
            let (msn, part) = *place.borrow_and_update();
            viewer.ask(&format!("{playlist}?_HLS_msn={msn}&_HLS_part={part}")).await?;
            let bytes = viewer.answer().await?;
            answered.send((viewer.arrived(), bytes))?;
            place.changed().await?;
        }
    };
    let ended: anyhow::Result<std::convert::Infallible> = rows().await;
    match ended {
        Ok(never) => match never {},
        Err(error) => error,
    }
}
