//! The death of a broadcast node as viewers see it: killed and frozen, behind a load balancer and with a viewer straight on the node.
//! The cluster is plain processes; there is no named peer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use node::clock::Clock;
use testkit::browser::Browser;
use testkit::cluster::{Cluster, KEY, Node, STREAM};
use testkit::hls::playlist;
use testkit::process::Process;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::text;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::joins::load;
use crate::{Figure, startup};

const NODES: [&str; 3] = ["b1", "b2", "b3"];
/// Number of addresses that viewers come from; from one address, all of them would be on one node.
const ADDRESSES: usize = 50;
/// How long viewers watch before the node dies, and after.
const BEFORE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(15);
/// Longest wait of a viewer for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time that the direct viewer's page runs, and number of its reports (one per second) that are read before and after.
const PAGE_SECONDS: u32 = 60;
const REPORTS: usize = 10;

/// How a node dies: by SIGKILL, or frozen by SIGSTOP.
#[derive(Debug, Clone, Copy)]
enum Death {
    Killed,
    Frozen,
}

impl Death {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
        }
    }
}

/// The outcome of one request of a viewer.
struct Answer {
    viewer: usize,
    at: Duration,
    /// The node that answered, or the error.
    by: Result<String, String>,
}

pub(crate) fn measure(viewers: usize) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut figures = Vec::new();
        for death in [Death::Killed, Death::Frozen] {
            figures.push(behind_a_balancer(death, viewers).await?);
        }
        for death in [Death::Killed, Death::Frozen] {
            figures.push(direct(death).await?);
        }
        Ok(figures)
    })
}

/// A cluster with a live stream.
struct Stage {
    cluster: Cluster,
    nodes: BTreeMap<String, Node>,
    base: String,
    _others: (Node, Node, Node, Process),
}

impl Stage {
    async fn set(settings: &str) -> anyhow::Result<Self> {
        let mut cluster = Cluster::start(startup::sealcast()?).await;
        cluster.settings.push_str(settings);
        let control = cluster.node("control").await;
        let mut nodes = BTreeMap::new();
        for id in NODES {
            nodes.insert(id.to_owned(), cluster.node(id).await);
        }
        let (ingest, balancer) = (cluster.node("ingest").await, cluster.node("lb").await);
        let file = clip(cluster.directory.path(), Clip::default());
        let publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
        let base = text(&balancer.ready, "https");
        playlist(&cluster.http, &base, STREAM, "audio", 2).await;
        Ok(Self { cluster, nodes, base, _others: (control, ingest, balancer, publisher) })
    }

    fn strike(&mut self, node: &str, death: Death) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(node).context("the node is not ours")?;
        match death {
            Death::Killed => node.process.kill(),
            Death::Frozen => {
                let status = Command::new("kill").args(["-STOP", &node.process.id().to_string()]).status()?;
                ensure!(status.success(), "kill: {status}");
            }
        }
        Ok(())
    }
}

async fn behind_a_balancer(death: Death, viewers: usize) -> anyhow::Result<Figure> {
    let mut stage = Stage::set("").await?;
    let clock = Clock::new();
    let (answers, mut arrived) = mpsc::channel(viewers.max(1) * 4);
    let mut watching = JoinSet::new();
    let certificate = std::fs::read(stage.cluster.path("certs/ca.pem"))?;
    for address in 0..ADDRESSES.min(viewers) {
        let http = client(&certificate, address)?;
        for viewer in (address..viewers).step_by(ADDRESSES) {
            watching.spawn(watch(viewer, (http.clone(), stage.base.clone()), clock, answers.clone()));
        }
    }
    drop(answers);
    let mut last: BTreeMap<usize, String> = BTreeMap::new();
    let mut failed = collect(&mut arrived, BEFORE, |answer| drop(last.insert(answer.0, answer.1))).await;
    let dead = busiest(&last).context("nobody was answered")?;
    stage.strike(&dead, death)?;
    let struck_at = clock.elapsed();
    let concerned: Vec<usize> = last.iter().filter(|(_, node)| **node == dead).map(|(viewer, _)| *viewer).collect();
    let mut moved: BTreeMap<usize, Duration> = BTreeMap::new();
    failed.extend(
        collect(&mut arrived, AFTER, |(viewer, node, at)| {
            if node != dead {
                moved.entry(viewer).or_insert(at.saturating_sub(struck_at));
            }
        })
        .await,
    );
    watching.shutdown().await;
    for line in failed.iter().take(5) {
        eprintln!("failed: {line}");
    }
    let mut times: Vec<Duration> = concerned.iter().filter_map(|viewer| moved.get(viewer).copied()).collect();
    times.sort();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    Ok(Figure {
        what: format!(
            "a broadcast node is {} under {} of {viewers} viewers behind the balancer (load {})",
            death.name(),
            concerned.len(),
            load()
        ),
        ours: format!(
            "{} requests failed; answered elsewhere after {:.2} s (median), {:.2} s (last of {})",
            failed.len(),
            at(50).as_secs_f64(),
            at(100).as_secs_f64(),
            times.len()
        ),
        peer: "-".to_owned(),
        ratio: None,
        bound: "0 failed; <= 3 s",
    })
}

/// Passes answers to `good` for a while. Returns the errors.
async fn collect(
    arrived: &mut mpsc::Receiver<Answer>,
    time: Duration,
    mut good: impl FnMut((usize, String, Duration)),
) -> Vec<String> {
    let mut failed = Vec::new();
    let end = tokio::time::sleep(time);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return failed,
            Some(Answer { viewer, at, by }) = arrived.recv() => match by {
                Ok(node) => good((viewer, node, at)),
                Err(why) => failed.push(why),
            },
        }
    }
}

fn busiest(last: &BTreeMap<usize, String>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    last.values().for_each(|node| *counts.entry(node).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(node, _)| node.to_owned())
}

/// A client with its own address of the loopback network. Without cookies, only the address keeps a viewer on its node.
fn client(ca: &[u8], address: usize) -> anyhow::Result<reqwest::Client> {
    let [.., high, low] = (u32::try_from(address)? + 2).to_be_bytes();
    Ok(reqwest::Client::builder()
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(reqwest::Certificate::from_pem(ca)?)
        .local_address(IpAddr::from(Ipv4Addr::new(127, 0, high, low)))
        .timeout(PATIENCE)
        .build()?)
}

/// Sends a low-latency player's requests: again and again the playlist with the next part.
async fn watch(
    viewer: usize,
    (http, base): (reqwest::Client, String),
    clock: Clock,
    answers: mpsc::Sender<Answer>,
) -> Option<()> {
    let playlist = format!("{base}/live/{STREAM}/audio/index.m3u8");
    let mut next = String::new();
    loop {
        let by = match ask(&http, &format!("{playlist}{next}")).await {
            Ok((node, text)) => {
                next = after(&text).unwrap_or_default();
                Ok(node)
            }
            Err(error) => Err(format!("{error:#}")),
        };
        answers.send(Answer { viewer, at: clock.elapsed(), by }).await.ok()?;
    }
}

async fn ask(http: &reqwest::Client, url: &str) -> anyhow::Result<(String, String)> {
    let answer = http.get(url).send().await?;
    ensure!(answer.status() == reqwest::StatusCode::OK, "{url}: {}", answer.status());
    let node = answer.headers().get("x-sealcast-node").context("no node named itself")?.to_str()?.to_owned();
    Ok((node, answer.text().await?))
}

/// The delivery directives for the part after the last one in `text`: `…URI="1/4.5.m4s"` is part 5 of segment 4.
fn after(text: &str) -> Option<String> {
    let line = text.lines().rev().find(|line| line.starts_with("#EXT-X-PART:"))?;
    let uri = line.split("URI=\"").nth(1)?.split('"').next()?;
    let (msn, rest) = uri.rsplit('/').next()?.split_once('.')?;
    let part: u32 = rest.split('.').next()?.parse().ok()?;
    Some(format!("?_HLS_msn={msn}&_HLS_part={}", part + 1))
}

/// Sealcast's page in a browser, which plays straight from a node that dies.
async fn direct(death: Death) -> anyhow::Result<Figure> {
    let mut stage = Stage::set("\n[role.broadcast]\ndirect = true\n").await?;
    let mut browser = Browser::open(&format!("{}/watch/{STREAM}", stage.base), PAGE_SECONDS);
    browser.until_playing().await;
    browser.for_seconds(REPORTS).await;
    let origin = |browser: &Browser| {
        let report = browser.reports.last();
        report.and_then(|report| report["player"]["origin"].as_str()).unwrap_or_default().to_owned()
    };
    let before = origin(&browser);
    let serves = |node: &Node| node.ready["broadcast"][0]["https"] == before.as_str();
    let dead = stage.nodes.iter().find(|(_, node)| serves(node)).map(|(id, _)| id.clone());
    let dead = dead.context("the page does not play from a node")?;
    stage.strike(&dead, death)?;
    let struck_ms = Clock::new().wall().0;
    browser.for_seconds(REPORTS).await;
    let moved = origin(&browser) != before;
    let player = browser.reports.last().map(|report| report["player"].clone()).unwrap_or_default();
    let errors = player["errors"].as_array().into_iter().flatten();
    let noticed = errors.filter_map(|error| error["at"].as_i64()).find(|at| *at >= struck_ms - 100);
    Ok(Figure {
        what: format!("a broadcast node is {} under a direct viewer, our page (load {})", death.name(), load()),
        ours: format!(
            "{}first error after {} ms; picture stood still for {:.0} ms at most; {} fatal errors",
            if moved { "" } else { "did not move; " },
            noticed.map_or_else(|| "?".to_owned(), |at| (at - struck_ms).max(0).to_string()),
            player["stalls"]["longestMs"].as_f64().unwrap_or(f64::NAN),
            player["fatalErrors"]
        ),
        peer: "-".to_owned(),
        ratio: None,
        bound: "<= 5 s, 0 fatal",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_request_is_for_the_part_after_the_last() {
        let text =
            "#EXTM3U\n#EXT-X-PART:DURATION=0.5,URI=\"1/4.5.m4s\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART\n";
        assert_eq!(after(text).as_deref(), Some("?_HLS_msn=4&_HLS_part=6"));
        assert_eq!(after("#EXTM3U\n"), None);
    }
}
