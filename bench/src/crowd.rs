//! Viewers who open the page at the same moment on a busy machine: when each has its picture, and how long the picture then stands
//! still. The source is a film as OBS sends it; the rungs that the ingest sheds under the load are part of the result. One run has
//! encoders beside it that keep all cores busy. The other is a cluster of separate processes with publishers on both of its ingests.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use testkit::cluster::{Cluster, KEY, STREAM};
use testkit::hls::playlist;
use testkit::publish::{busy_encoders, film, publish};
use testkit::sealcast::{Up, text};

use crate::joins::{Joins, Moments, load};
use crate::viewer::{Browser, Viewer};
use crate::{Figure, startup};

/// How many viewers come, and what keeps the machine busy.
struct Crowd {
    name: &'static str,
    viewers: usize,
    /// Encoders that run beside the cluster, one core each.
    encoders: usize,
}

const BESIDE_ENCODERS: Crowd = Crowd { name: "`sealcast up`, two encoders beside", viewers: 4, encoders: 2 };
const ON_A_CLUSTER: Crowd = Crowd { name: "control, 2 ingests, 3 nodes and a balancer", viewers: 3, encoders: 0 };

const FILM_SECONDS: u32 = 30;
/// Stay of each viewer after its first picture, in seconds: two segments.
const WATCH_SECONDS: f64 = 8.0;
/// Longest times that each viewer should see, until its picture and of a standstill after it, in milliseconds.
const PICTURE_MS_MAX: f64 = 3_000.0;
const STALL_MS_MAX: f64 = 500.0;
/// No standstill may be longer than this while the cluster serves, in milliseconds.
const FROZEN_MS: f64 = 3_000.0;

pub(crate) fn measure(rounds: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run(rounds, seed))
}

async fn run(rounds: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![on_one_process(rounds, seed).await?, on_a_cluster(rounds, seed).await?])
}

async fn on_one_process(rounds: usize, seed: u64) -> anyhow::Result<Figure> {
    let directory = tempfile::tempdir()?;
    let film = film(directory.path(), FILM_SECONDS);
    std::fs::write(directory.path().join("sealcast.toml"), "[[streams]]\nname = \"hall\"\nkey = \"bench-only\"\n")?;
    let up = Up::start_in(startup::sealcast()?, directory, &["--no-source"]).await;
    let _publisher = publish(&film, &up.rtmp(), &up.key("hall"));
    BESIDE_ENCODERS.comes(&up.https(), rounds, seed).await
}

async fn on_a_cluster(rounds: usize, seed: u64) -> anyhow::Result<Figure> {
    let mut cluster = Cluster::start(startup::sealcast()?).await;
    let film = film(cluster.directory.path(), FILM_SECONDS);
    let mut nodes = BTreeMap::new();
    for id in ["control", "b1", "b2", "b3", "ingest", "ingest2", "lb"] {
        nodes.insert(id, cluster.node(id).await);
    }
    let ready = |id: &str, what: &str| text(&nodes[id].ready, what);
    let publishers = ["ingest", "ingest2"].map(|id| publish(&film, &ready(id, "rtmp"), KEY));
    let base = ready("lb", "https");
    playlist(&cluster.http, &base, STREAM, "audio", 3).await;
    let figure = ON_A_CLUSTER.comes(&base, rounds, seed).await;
    // Publishers end before the ingests.
    drop(publishers);
    figure
}

impl Crowd {
    /// Runs `rounds` of the page and of hls.js in turns, on a server with the stream `hall`.
    async fn comes(&self, base: &str, rounds: usize, seed: u64) -> anyhow::Result<Figure> {
        let lines = [
            ("our page", Viewer::Page(format!("{base}/watch/{STREAM}"))),
            ("hls.js", Viewer::HlsJs(format!("{base}/live/{STREAM}/index.m3u8"))),
        ];
        let warm = &lines.first().context("there are two")?.1;
        let mut browsers = try_join_all((0..self.viewers).map(|_| Browser::open(warm))).await?;
        let mut moments = Moments::new(seed);
        let mut crowds = lines.each_ref().map(|(name, _)| Joins::new(name));
        let _encoders = busy_encoders(self.encoders);
        for _ in 0..rounds {
            for ((_, viewer), crowd) in lines.iter().zip(&mut crowds) {
                tokio::time::sleep(moments.pause()).await;
                crowd.add_all(&mut browsers, viewer, WATCH_SECONDS).await?;
            }
        }
        for browser in browsers {
            browser.close().await?;
        }
        let [page, bare] = &crowds;
        Ok(figure(self, page, bare, rounds))
    }
}

fn figure(crowd: &Crowd, page: &Joins, bare: &Joins, rounds: usize) -> Figure {
    let picture = |joins: &Joins| joins.each(|seen| seen.first_frame_ms);
    let longest = |joins: &Joins| joins.each(|seen| Some(seen.longest_stall_ms()));
    let text = |joins: &Joins| {
        let late = joins.seen.iter().filter(|seen| seen.first_frame_ms.is_none_or(|ms| ms > PICTURE_MS_MAX)).count();
        let still_over = |ms: f64| joins.seen.iter().filter(|seen| seen.longest_stall_ms() > ms).count();
        let (stalled, frozen) = (still_over(STALL_MS_MAX), still_over(FROZEN_MS));
        let (first, still) = (picture(joins), longest(joins));
        format!(
            "picture {:.0} ms, p95 {:.0} ms, {late} late; longest stall p95 {:.0} ms, {stalled} over \
             {STALL_MS_MAX:.0} ms, {frozen} over {FROZEN_MS:.0} ms",
            first.median(),
            first.p95(),
            still.p95(),
        )
    };
    Figure {
        what: format!(
            "{} viewers at once, {rounds} rounds, {} (load {}): page; peer: hls.js",
            crowd.viewers,
            crowd.name,
            load()
        ),
        ours: text(page),
        peer: text(bare),
        ratio: Some(picture(page).median() / picture(bare).median()),
        bound: "none late, none over 500 ms",
    }
}
