//! Viewers behind simulated access networks: how often the picture stands still, how old it is, and how large. Peer: the same player on
//! nginx-rtmp's HLS with the same ladder, in the same run. The picture has grain, so that each rung needs its whole bit rate.

mod link;
mod shaper;

use std::time::Duration;

use crate::Figure;
use crate::joins::load;
use crate::origin::{Cut, FILM, LADDER, Origin, SETTLE_BETWEEN};
use crate::viewer::{Browser, Seen, Viewer};
use link::{Link, SERVER};
use shaper::{OPEN, Shape};

/// nginx-rtmp's usual settings for low latency.
const PEER: Cut = Cut { fragment_s: 2, keyframe_ms: 2_000 };

/// A network: its shapes for packets to the viewer, and from it.
struct Network {
    name: &'static str,
    down: Shape,
    up: Shape,
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Delay of an ordinary access line in one direction, for every network that has no other.
const NEAR: Shape = Shape { delay: millis(10), ..OPEN };

const NETWORKS: [Network; 4] = [
    Network { name: "3 Mbit/s", down: Shape { bits_per_second: 3_000_000, ..NEAR }, up: NEAR },
    Network {
        name: "8 Mbit/s, 1.2 every other 20 s",
        down: Shape { bits_per_second: 8_000_000, falls_to: Some((1_200_000, millis(20_000))), ..NEAR },
        up: NEAR,
    },
    Network {
        name: "2 % loss, 80 ms round trip",
        down: Shape { bits_per_second: 20_000_000, delay: millis(40), lost_per_mille: 20, ..OPEN },
        up: Shape { delay: millis(40), ..OPEN },
    },
    Network {
        name: "pauses of 300 ms every 3 s",
        down: Shape { bits_per_second: 8_000_000, pause: Some((millis(300), millis(3_000))), ..NEAR },
        up: NEAR,
    },
];

/// What one viewer on one network saw.
struct Watched {
    player: &'static str,
    network: usize,
    seen: Seen,
    megabits_a_second: f64,
}

/// Runs each player on each network for `seconds`, first on Sealcast. With `only`: just networks whose name contains it, and no peer.
pub(crate) fn measure(seconds: f64, only: Option<&str>) -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let link = Link::open()?;
        let origin = Origin::sealcast_at(SERVER, &format!("{LADDER}{FILM}"))?;
        let page = ("our page", origin.page()?);
        let players = [page, ("hls.js", origin.hls_js()), ("Shaka", origin.shaka())];
        let ours = watch(&link, &players, only, seconds).await?;
        drop(origin);
        let theirs = if only.is_none() {
            let origin = Origin::nginx_film_ladder(SERVER, PEER)?;
            watch(&link, &[("hls.js", origin.hls_js()), ("Shaka", origin.shaka())], None, seconds).await?
        } else {
            Vec::new()
        };
        Ok(ours.iter().map(|watched| figure(watched, &theirs)).collect())
    })
}

async fn watch(
    link: &Link,
    players: &[(&'static str, Viewer)],
    only: Option<&str>,
    seconds: f64,
) -> anyhow::Result<Vec<Watched>> {
    let mut all = Vec::new();
    link.shape(OPEN, OPEN);
    let mut browser = Browser::open_in(&link.namespace, &players[0].1).await?;
    let chosen = |network: &Network| only.is_none_or(|only| network.name.contains(only));
    for (index, network) in NETWORKS.iter().enumerate().filter(|(_, network)| chosen(network)) {
        for (player, viewer) in players {
            link.shape(network.down, network.up);
            let seen = browser.watch(viewer, seconds).await?;
            let megabits_a_second = link.received_bytes() as f64 * 8.0 / 1e6 / seconds;
            let watched = Watched { player, network: index, seen, megabits_a_second };
            eprintln!("{} on {}: {} (load {})", player, network.name, words(&watched), load());
            all.push(watched);
            link.shape(OPEN, OPEN);
            tokio::time::sleep(SETTLE_BETWEEN).await;
        }
    }
    browser.close().await?;
    Ok(all)
}

fn words(Watched { seen, megabits_a_second, .. }: &Watched) -> String {
    let (count, seconds) = (seen.stalls.len(), seen.stalled_seconds());
    let first =
        seen.first_frame_ms.map_or_else(|| "no picture".to_owned(), |ms| format!("first frame {:.1} s", ms / 1e3));
    format!(
        "{count} stalls, {seconds:.1} s in all; {:.2} s old; {:.0}p; {megabits_a_second:.2} Mbit/s; {first}",
        crate::median(seen.ages()),
        seen.mean_height.unwrap_or(f64::NAN),
    )
}

/// Compares a result with the peer's. Sealcast's page has no counterpart, so it is compared with hls.js on the peer.
fn figure(ours: &Watched, theirs: &[Watched]) -> Figure {
    let player = if ours.player == "our page" { "hls.js" } else { ours.player };
    let peer = theirs.iter().find(|their| their.network == ours.network && their.player == player);
    let age = |watched: &Watched| crate::median(watched.seen.ages());
    Figure {
        what: format!("{}: {}; peer: {player} on nginx-rtmp", NETWORKS[ours.network].name, ours.player),
        ours: words(ours),
        peer: peer.map_or_else(|| "-".to_owned(), words),
        ratio: peer.map(|peer| age(ours) / age(peer)),
        bound: "stalls less, nearer to live",
    }
}
