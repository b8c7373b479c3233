//! Time to the first frame of viewers that come at random moments. Peer: nginx-rtmp with a keyframe and a fragment each second.

use crate::Figure;
use crate::joins::{self, Joins, Moments};
use crate::origin::{Cut, LADDER, Origin};

/// Stay of each viewer after its first frame, in seconds: long enough to see that the picture moves.
const WATCH_SECONDS: f64 = 1.0;
/// Number of turns of each server.
const TURNS: usize = 2;
const PEER: Cut = Cut { fragment_s: 1, keyframe_ms: 1_000 };

pub(crate) fn measure(joins: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run(joins, seed))
}

async fn run(count: usize, seed: u64) -> anyhow::Result<Vec<Figure>> {
    let mut moments = Moments::new(seed);
    let mut ours = Joins::new("hls.js from loadSource");
    let mut page = Joins::new("our page from the start of the navigation");
    let mut peer = Joins::new("nginx-rtmp, hls.js from loadSource");
    for _ in 0..TURNS {
        let origin = Origin::sealcast(LADDER)?;
        let lines = &mut [(origin.hls_js(), &mut ours), (origin.page()?, &mut page)];
        joins::turn(&origin, &mut moments, (count.div_ceil(TURNS), WATCH_SECONDS), lines).await?;
        drop(origin);
        let origin = Origin::nginx(PEER)?;
        joins::turn(&origin, &mut moments, (count.div_ceil(TURNS), WATCH_SECONDS), &mut [(origin.hls_js(), &mut peer)])
            .await?;
    }
    Ok(vec![figure(&ours, &peer, "median <= 350 ms"), figure(&page, &peer, "median <= 500 ms")])
}

fn figure(ours: &Joins, peer: &Joins, bound: &'static str) -> Figure {
    let first = |joins: &Joins| joins.each(|seen| seen.first_frame_ms);
    let text = |joins: &Joins| {
        let moving = joins.each(|seen| seen.second_frame_ms).median();
        format!("{:.0} ms, p95 {:.0} ms, moving {moving:.0} ms", first(joins).median(), first(joins).p95())
    };
    Figure {
        what: format!("first frame over {} joins: {}; peer: {}", ours.seen.len(), ours.name, peer.name),
        ours: text(ours),
        peer: text(peer),
        ratio: Some(first(ours).median() / first(peer).median()),
        bound,
    }
}
