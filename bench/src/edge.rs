//! Scaling by nodes that own no stream: a crowd on a cold edge, and how much four nodes send per CPU second compared with one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use crate::blocked::viewer::Viewer;
use crate::blocked::{since_1970, step_back};
use crate::fleet::Fleet;
use crate::{Figure, median};

/// Bytes of a part: half a second at 870 kbit/s, the 360p rung.
const PART_BYTES: usize = 54_000;
/// Segments before viewers come: a whole window.
const SEGMENTS: usize = 13;
/// Viewers who arrive on the cold edge.
const CROWD: usize = 1_000;
/// Time over which they arrive, evenly.
const ARRIVAL: Duration = Duration::from_secs(1);
/// Viewers who load segments as fast as they can, when bytes per CPU second are measured.
const TAKERS: usize = 64;
/// Segments that each of them loads in a round.
const TAKEN: usize = 40;
/// How long a source runs before its pushes count, and how long they count.
const SETTLE: Duration = Duration::from_secs(12);
const PUSHING: Duration = Duration::from_secs(24);
/// Rounds of one node and of four.
const ROUNDS: usize = 3;

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    node::files::raise_open_files_limit();
    let runtime = tokio::runtime::Runtime::new()?;
    step_back()?;
    let mut figures = runtime.block_on(crowd())?;
    figures.push(runtime.block_on(efficiency())?);
    drop(runtime);
    figures.push(pushes()?);
    Ok(figures)
}

/// Bit rate that the ingest pushes for the same source to a cluster of two nodes and of eight.
fn pushes() -> anyhow::Result<Figure> {
    let few = pushed(2)?;
    let many = pushed(8)?;
    Ok(Figure {
        what: "bits a second that the ingest pushes to eight nodes against two, two owners each".to_owned(),
        ours: format!("{:.2} Mbit/s against {:.2} Mbit/s", many / 1e6, few / 1e6),
        peer: "-".to_owned(),
        ratio: Some(many / few),
        bound: "none beyond its owners': 1.0x",
    })
}

/// Bits per second that `sealcast up` with this many nodes pushes.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn pushed(nodes: u16) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let (running, _) = crate::startup::start(directory.path(), &["--broadcast", &nodes.to_string()])?;
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(directory.path().join("ready.json"))?)?;
    let metrics = format!("{}/metrics", ready["ops"].as_str().context("no ops in the ready file")?);
    let runtime = tokio::runtime::Runtime::new()?;
    let count = || {
        let text: anyhow::Result<String> =
            runtime.block_on(async { Ok(reqwest::Client::new().get(&metrics).send().await?.text().await?) });
        let text = text?;
        let line = text.lines().find_map(|line| line.strip_prefix("ingest_pushed_bytes_total "));
        anyhow::Ok(line.and_then(|bytes| bytes.trim().parse::<f64>().ok()).unwrap_or(0.0))
    };
    std::thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), count()?);
    std::thread::sleep(PUSHING);
    let (took, bytes) = (began.elapsed(), count()? - before);
    drop(running);
    Ok(bytes * 8.0 / took.as_secs_f64())
}

/// What one viewer of the crowd saw, in milliseconds since it came.
struct Seen {
    /// Arrival of the first byte of its first segment.
    first: f64,
    /// Arrival of the last byte of that segment.
    last: f64,
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn crowd() -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let fleet = Fleet::start(directory.path(), (3, 2), PART_BYTES, SEGMENTS).await?;
    let edge = fleet.nodes.last().context("three nodes")?;
    let before = edge.status().await?;
    ensure!(before["streams"].as_array().is_some_and(Vec::is_empty), "the edge is not cold: {before}");
    let (address, tls, stream) = (edge.addresses.https, Arc::new(fleet.viewers.clone()), fleet.author.stream.clone());
    let base = format!("/live/{stream}");
    let segment = format!("{base}/r00/1/{}.m4s", SEGMENTS - 1);
    let mut coming = JoinSet::new();
    let began = tokio::time::Instant::from_std(Instant::now());
    for number in 0..CROWD {
        let (tls, base, segment) = (tls.clone(), base.clone(), segment.clone());
        coming.spawn(async move {
            tokio::time::sleep_until(began + ARRIVAL.mul_f64(number as f64 / CROWD as f64)).await;
            join(address, tls, &base, &segment).await
        });
    }
    let mut seen = Vec::with_capacity(CROWD);
    while let Some(viewer) = coming.join_next().await {
        seen.push(viewer??);
    }
    let pulls = edge.status().await?["edge"]["pulls"].as_u64().context("an edge counts its pulls")?;
    let at = |value: &dyn Fn(&Seen) -> f64, share: f64| {
        let mut values: Vec<f64> = seen.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get((values.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
    };
    let ours = format!(
        "first byte p50 {:.0} ms, p99 {:.0} ms; whole segment p50 {:.0} ms, p99 {:.0} ms",
        at(&|seen| seen.first, 0.5),
        at(&|seen| seen.first, 0.99),
        at(&|seen| seen.last, 0.5),
        at(&|seen| seen.last, 0.99)
    );
    let figure = |what: String, ours: String, bound| Figure { what, ours, peer: "-".to_owned(), ratio: None, bound };
    Ok(vec![
        figure(
            format!("{CROWD} viewers come to a cold edge within a second: from the TCP connect to their first segment"),
            ours,
            "p99 <= 300 ms",
        ),
        figure(
            "pulls of the edge for the two objects that they took, and the newest part, which it fetches ahead"
                .to_owned(),
            pulls.to_string(),
            "3: one for each",
        ),
    ])
}

/// Runs a viewer from its connect to the end of its first segment.
async fn join(address: SocketAddr, tls: Arc<rustls::ClientConfig>, base: &str, segment: &str) -> anyhow::Result<Seen> {
    let came = since_1970()?;
    let mut viewer = Viewer::connect(address, tls).await?;
    for path in ["index.m3u8", "r00/index.m3u8", "r00/1/init.mp4"] {
        viewer.ask(&format!("{base}/{path}")).await?;
        viewer.answer().await.with_context(|| path.to_owned())?;
    }
    viewer.ask(segment).await?;
    viewer.answer().await.with_context(|| segment.to_owned())?;
    let since = |at: Duration| at.saturating_sub(came).as_secs_f64() * 1e3;
    Ok(Seen { first: since(viewer.began()), last: since(viewer.arrived()) })
}

async fn efficiency() -> anyhow::Result<Figure> {
    let directory = tempfile::tempdir()?;
    let fleet = Fleet::start(directory.path(), (4, 2), PART_BYTES, SEGMENTS).await?;
    let (mut one, mut four) = (Vec::new(), Vec::new());
    // This round does not count, because edges fetch the segments in it.
    round(&fleet, 4).await?;
    for _ in 0..ROUNDS {
        one.push(round(&fleet, 1).await?);
        four.push(round(&fleet, 4).await?);
    }
    let (one, four) = (median(one), median(four));
    Ok(Figure {
        what: "bytes served for a second of CPU, by four nodes (two owners, two edges) against one, on the same cores"
            .to_owned(),
        ours: format!("{:.0} MB/s against {:.0} MB/s", four / 1e6, one / 1e6),
        peer: "-".to_owned(),
        ratio: Some(four / one),
        bound: ">= 0.9x",
    })
}

/// Lets viewers load segments from the first `nodes` nodes. Returns the bytes they got per second of the nodes' CPU.
async fn round(fleet: &Fleet, nodes: usize) -> anyhow::Result<f64> {
    let serving: Vec<_> = fleet.nodes.iter().take(nodes).collect();
    let cpu = || fleet.nodes.iter().map(crate::fleet::Node::cpu).sum::<anyhow::Result<f64>>();
    let tls = Arc::new(fleet.viewers.clone());
    let mut viewers = Vec::with_capacity(TAKERS);
    for number in 0..TAKERS {
        let node = serving.get(number % nodes).context("so many nodes")?;
        let mut viewer = Viewer::connect(node.addresses.https, tls.clone()).await?;
        viewer.ask(&format!("/live/{}/r00/index.m3u8", fleet.author.stream)).await?;
        viewer.answer().await?;
        viewers.push(viewer);
    }
    let before = cpu()?;
    let mut taking = JoinSet::new();
    for mut viewer in viewers {
        let base = format!("/live/{}/r00/1", fleet.author.stream);
        taking.spawn(async move {
            let mut bytes = 0;
            for number in 0..TAKEN {
                viewer.ask(&format!("{base}/{}.m4s", 1 + number % (SEGMENTS - 1))).await?;
                bytes += viewer.answer().await?;
            }
            anyhow::Ok(bytes)
        });
    }
    let mut bytes = 0;
    while let Some(taken) = taking.join_next().await {
        bytes += taken??;
    }
    Ok(bytes as f64 / (cpu()? - before))
}
