//! Viewers who open the page at the same moment while encoders keep all cores busy: when each has its picture, and how long it stands
//! still after it. The source is a film as OBS sends it; what the ingest sheds under such a load is part of it.

use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::Figure;
use crate::joins::{Joins, Moments, load};
use crate::support::Up;
use crate::support::publish::{busy_encoders, film, publish};
use crate::viewer::{Browser, Viewer};

const VIEWERS: usize = 4;
/// A core each.
const ENCODERS: usize = 2;
const FILM_SECONDS: u32 = 30;
/// Each viewer stays so long after its first picture, in seconds: two segments.
const WATCH_SECONDS: f64 = 8.0;
/// What each viewer should have: its picture, and no longer standstill after it, in milliseconds.
const PICTURE_MS_MAX: f64 = 3_000.0;
const STALL_MS_MAX: f64 = 500.0;

pub(crate) fn measure(rounds: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run(rounds, seed))
}

async fn run(rounds: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let film = film(directory.path(), FILM_SECONDS);
    std::fs::write(directory.path().join("sealcast.toml"), "[[streams]]\nname = \"hall\"\nkey = \"bench-only\"\n")?;
    let up = Up::start_in(directory, &["--no-source"]).await;
    let _publisher = publish(&film, &up.rtmp(), &up.key("hall"));
    let lines = [
        ("our page", Viewer::Page(format!("{}/watch/hall", up.https()))),
        ("hls.js", Viewer::HlsJs(format!("{}/live/hall/index.m3u8", up.https()))),
    ];
    let warm = &lines.first().context("there are two")?.1;
    let mut browsers = try_join_all((0..VIEWERS).map(|_| Browser::open(warm))).await?;
    let mut moments = Moments::new(seed);
    let mut crowds = lines.each_ref().map(|(name, _)| Joins::new(name));
    let _encoders = busy_encoders(ENCODERS);
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
    Ok(vec![figure(page, bare, rounds)])
}

fn figure(page: &Joins, bare: &Joins, rounds: usize) -> Figure {
    let picture = |joins: &Joins| joins.each(|seen| seen.first_frame_ms);
    let longest = |joins: &Joins| joins.each(|seen| Some(seen.longest_stall_ms()));
    let text = |joins: &Joins| {
        let late = joins.seen.iter().filter(|seen| seen.first_frame_ms.is_none_or(|ms| ms > PICTURE_MS_MAX)).count();
        let stalled = joins.seen.iter().filter(|seen| seen.longest_stall_ms() > STALL_MS_MAX).count();
        let (first, still) = (picture(joins), longest(joins));
        format!(
            "picture {:.0} ms, p95 {:.0} ms, {late} late; longest stall p95 {:.0} ms, {stalled} over {STALL_MS_MAX:.0} ms",
            first.median(),
            first.p95(),
            still.p95(),
        )
    };
    Figure {
        what: format!(
            "{VIEWERS} viewers at once, {rounds} rounds, {ENCODERS} encoders beside (load {}): page; peer: hls.js",
            load()
        ),
        ours: text(page),
        peer: text(bare),
        ratio: Some(picture(page).median() / picture(bare).median()),
        bound: "none late, none over 500 ms",
    }
}
