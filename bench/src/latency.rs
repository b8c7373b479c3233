//! Glass to glass: the age of the picture on the screen by the clock in it, over joins at random moments, and how often the picture
//! stands still. Peer: nginx-rtmp with 2 s fragments and the same source, browser and hls.js.

use crate::Figure;
use crate::joins::{self, Joins, Moments, load};
use crate::origin::{Cut, LADDER, Origin};
use crate::viewer::Browser;

/// Stay of each viewer after its first frame, in seconds.
const WATCH_SECONDS: f64 = 10.0;
/// Number of turns of each server.
const TURNS: usize = 2;
/// Parts of two fifths of the default, and one rung, which is the source passed through.
const LOW_LATENCY: &str = "part_target_ms = 200\n[role.ingest.pipeline]\nrungs = [{ short_side = 720 }]\n";
/// nginx-rtmp's usual settings for low latency.
const PEER: Cut = Cut { fragment_s: 2, keyframe_ms: 2_000 };

pub(crate) fn measure(joins: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run(joins, seed))
}

async fn run(count: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    let mut moments = Moments::new(seed);
    let per_turn = count.div_ceil(TURNS);
    let mut ladder = [Joins::new("3 rungs, our page"), Joins::new("3 rungs, hls.js")];
    let mut low =
        [Joins::new("part 0.2 s, passed through, our page"), Joins::new("part 0.2 s, passed through, hls.js")];
    let mut peer = Joins::new("nginx-rtmp, hls.js");
    for _ in 0..TURNS {
        for (toml, [page, bare]) in [(LADDER, &mut ladder), (LOW_LATENCY, &mut low)] {
            let origin = Origin::sealcast(toml)?;
            let lines = &mut [(origin.page()?, page), (origin.hls_js(), bare)];
            joins::turn(&origin, &mut moments, (per_turn, WATCH_SECONDS), lines).await?;
        }
        let origin = Origin::nginx(PEER)?;
        joins::turn(&origin, &mut moments, (per_turn, WATCH_SECONDS), &mut [(origin.hls_js(), &mut peer)]).await?;
    }
    let [ladder_page, ladder_bare] = &ladder;
    let [low_page, low_bare] = &low;
    let bound = "median <= 2.5 s, p95 <= 3.0 s";
    Ok(vec![
        figure(ladder_page, &peer, bound),
        figure(ladder_bare, &peer, bound),
        figure(low_page, &peer, "median <= 1.2 s"),
        figure(low_bare, &peer, "median <= 1.2 s"),
    ])
}

fn figure(ours: &Joins, peer: &Joins, bound: &'static str) -> Figure {
    let (our_ages, peer_ages) = (ours.ages(), peer.ages());
    let text = |joins: &Joins| {
        let ages = joins.ages();
        format!("{:.2} s, p95 {:.2} s, stalls {}", ages.median(), ages.p95(), joins.stalls())
    };
    Figure {
        what: format!(
            "glass to glass over {} joins: {}; peer: {} with 2 s fragments",
            ours.seen.len(),
            ours.name,
            peer.name
        ),
        ours: text(ours),
        peer: text(peer),
        ratio: Some(our_ages.median() / peer_ages.median()),
        bound,
    }
}

/// How often the picture stands still for one viewer of each kind in `seconds`.
pub(crate) fn stalls(seconds: u64) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let origin = Origin::sealcast(LADDER)?;
        let mut browser = Browser::open(&origin.hls_js()).await?;
        let mut figures = Vec::new();
        for (name, viewer) in [("our page", origin.page()?), ("hls.js", origin.hls_js())] {
            let mut joins = Joins::new(name);
            let seconds = std::time::Duration::from_secs(seconds).as_secs_f64();
            joins.add(&mut browser, &viewer, seconds).await?;
            let longest = joins.seen.iter().flat_map(|seen| &seen.stalls).map(|stall| stall.ms).fold(0.0, f64::max);
            figures.push(Figure {
                what: format!("stalls in {seconds} s, 3-rung ladder, {name} (load {})", load()),
                ours: format!(
                    "{} (longest {longest:.0} ms), {} errors, {:.2} s old",
                    joins.stalls(),
                    joins.errors(),
                    joins.ages().median()
                ),
                peer: "-".to_owned(),
                ratio: None,
                bound: "0",
            });
        }
        browser.close().await?;
        Ok(figures)
    })
}
