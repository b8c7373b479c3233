//! What a load balancer costs a viewer who waits for a part: its added delay, its CPU and its memory. Sealcast's balancer and
//! HAProxy run in front of the same node, each in a process of its own. The node is a stand-in that holds requests back, so that
//! only the balancers differ. The node, its viewers and the broker run in this process.

mod cluster;
mod haproxy;
mod running;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::blocked::viewer::Viewer;
use crate::{Figure, median};
use cluster::PARTS;

pub(crate) use cluster::{Cluster, PLAYLIST, PLAYLIST_BYTES, SEGMENT_BYTES};
pub(crate) use running::SEGMENT;

/// Viewers who wait for each part when delay is measured.
const VIEWERS: usize = 20;
const PARTS_PER_ROUND: usize = 60;
/// Playlists that each viewer requests in a round, one after the other.
const PLAYLISTS_PER_ROUND: usize = 400;
/// Viewers who wait when memory is measured.
const CROWD: usize = 2_000;
/// Most viewers that connect at the same time.
const CONNECTING_MAX: usize = 64;
/// Pause before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// Longest time until the requests of the whole crowd wait on the node.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Results of one way to the node: straight, or through one of the balancers.
#[derive(Debug, Default)]
struct Way {
    /// Times from the release of a part to its last byte, in milliseconds.
    delays: Vec<f64>,
    /// CPU of the balancer in microseconds per part and per playlist, one value for each round.
    part_cpu: Vec<f64>,
    playlist_cpu: Vec<f64>,
    /// Memory of the balancer per viewer of the crowd, in bytes, and its connections to the node at that time.
    waiting_bytes: f64,
    connections: usize,
}

impl Way {
    fn delay(&self, share: f64) -> f64 {
        let mut delays = self.delays.clone();
        delays.sort_by(f64::total_cmp);
        let index = (delays.len() as f64 * share) as usize;
        delays.get(index.min(delays.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run(rounds))
}

async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let mut cluster = Cluster::start(directory.path()).await?;
    let (mut direct, mut ours, mut theirs) = (Way::default(), Way::default(), Way::default());
    for _ in 0..rounds {
        round(&mut cluster, None, &mut direct).await?;
        round(&mut cluster, Some(Which::Ours), &mut ours).await?;
        round(&mut cluster, Some(Which::Haproxy), &mut theirs).await?;
    }
    crowd(&mut cluster, Which::Ours, &mut ours).await?;
    crowd(&mut cluster, Which::Haproxy, &mut theirs).await?;
    Ok(figures(&direct, &ours, &theirs))
}

/// Which of the two balancers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    Ours,
    Haproxy,
}

fn figures(direct: &Way, ours: &Way, theirs: &Way) -> Vec<Figure> {
    let figure = |what: String, value: &dyn Fn(&Way) -> f64, unit: &str, bound| Figure {
        what,
        ours: format!("{:.2} {unit}", value(ours)),
        peer: format!("HAProxy {:.2} {unit}", value(theirs)),
        ratio: Some(value(ours) / value(theirs)),
        bound,
    };
    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let straight = direct.delay(share);
        figures.push(figure(
            format!("blocked part through a balancer, release to last byte, {name}; direct {straight:.2} ms"),
            &|way: &Way| way.delay(share),
            "ms",
            "as HAProxy",
        ));
        figures.push(figure(
            format!("of that added by the balancer, {name}"),
            &|way: &Way| way.delay(share) - straight,
            "ms",
            "-",
        ));
    }
    figures.push(figure("CPU for a part of 60 kB".to_owned(), &|way: &Way| median(way.part_cpu.clone()), "us", "-"));
    figures.push(figure(
        "CPU for a playlist of 2 kB".to_owned(),
        &|way: &Way| median(way.playlist_cpu.clone()),
        "us",
        "-",
    ));
    figures.push(figure(
        format!("memory for each of {CROWD} viewers who wait, connection and TLS included"),
        &|way: &Way| way.waiting_bytes / 1e3,
        "KB",
        "-",
    ));
    figures.push(Figure {
        what: format!("connections to the node for {CROWD} viewers who wait"),
        ours: ours.connections.to_string(),
        peer: format!("HAProxy {}", theirs.connections),
        ratio: None,
        bound: "not one each",
    });
    figures
}

async fn round(cluster: &mut Cluster, which: Option<Which>, way: &mut Way) -> anyhow::Result<()> {
    let mut viewers = connect(cluster, cluster.address(which), VIEWERS).await?;
    let cpu = cluster.cpu(which)?;
    for _ in 0..PARTS_PER_ROUND {
        let (delays, back) = part(cluster, viewers).await?;
        way.delays.extend(delays);
        viewers = back;
    }
    let after_parts = cluster.cpu(which)?;
    let mut asking = JoinSet::new();
    for mut viewer in viewers {
        asking.spawn(async move {
            for _ in 0..PLAYLISTS_PER_ROUND {
                viewer.ask(PLAYLIST).await?;
                viewer.answer().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended??;
    }
    let after_playlists = cluster.cpu(which)?;
    way.part_cpu.push((after_parts - cpu) * 1e6 / (VIEWERS * PARTS_PER_ROUND) as f64);
    way.playlist_cpu.push((after_playlists - after_parts) * 1e6 / (VIEWERS * PLAYLISTS_PER_ROUND) as f64);
    Ok(())
}

/// Releases the next part once all viewers wait for it. Returns each viewer's delay, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn part(cluster: &mut Cluster, viewers: Vec<Viewer>) -> anyhow::Result<(Vec<f64>, Vec<Viewer>)> {
    let next = cluster.next_part();
    let count = viewers.len();
    let mut waiting = JoinSet::new();
    for mut viewer in viewers {
        waiting.spawn(async move {
            viewer.ask(&format!("{PARTS}/{next}.m4s")).await?;
            viewer.answer().await?;
            anyhow::Ok((Instant::now(), viewer))
        });
    }
    tokio::time::timeout(WAIT_MAX, cluster.all_wait(count)).await.context("not all viewers came to wait")?;
    let began = Instant::now();
    cluster.release(next);
    let (mut delays, mut back) = (Vec::with_capacity(count), Vec::with_capacity(count));
    while let Some(ended) = waiting.join_next().await {
        let (at, viewer) = ended??;
        delays.push(at.duration_since(began).as_secs_f64() * 1e3);
        back.push(viewer);
    }
    Ok((delays, back))
}

async fn crowd(cluster: &mut Cluster, which: Which, way: &mut Way) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let before = cluster.resident(which)?;
    let viewers = connect(cluster, cluster.address(Some(which)), CROWD).await?;
    let next = cluster.next_part();
    cluster.forget_connections();
    let mut waiting = JoinSet::new();
    for mut viewer in viewers {
        waiting.spawn(async move {
            viewer.ask(&format!("{PARTS}/{next}.m4s")).await?;
            viewer.answer().await
        });
    }
    tokio::time::timeout(WAIT_MAX, cluster.all_wait(CROWD)).await.context("not all of the crowd came to wait")?;
    tokio::time::sleep(SETTLE).await;
    way.waiting_bytes = cluster.resident(which)?.saturating_sub(before) as f64 / CROWD as f64;
    way.connections = cluster.connections();
    cluster.release(next);
    while let Some(ended) = waiting.join_next().await {
        ended??;
    }
    Ok(())
}

/// Connects viewers, each of which has sent one request.
async fn connect(cluster: &Cluster, address: SocketAddr, count: usize) -> anyhow::Result<Vec<Viewer>> {
    let tls = Arc::new(cluster.viewers.clone());
    let mut connecting = JoinSet::new();
    let mut viewers = Vec::with_capacity(count);
    for _ in 0..count {
        if connecting.len() >= CONNECTING_MAX {
            viewers.push(connecting.join_next().await.context("nobody connects")???);
        }
        let tls = tls.clone();
        connecting.spawn(async move {
            let mut viewer = Viewer::connect(address, tls).await?;
            viewer.ask(PLAYLIST).await?;
            viewer.answer().await?;
            anyhow::Ok(viewer)
        });
    }
    while let Some(viewer) = connecting.join_next().await {
        viewers.push(viewer??);
    }
    Ok(viewers)
}
