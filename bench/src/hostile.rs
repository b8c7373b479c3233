//! Viewers who play from one node while one host does all it can. Each viewer blocks on the playlist of the next part and loads it, as
//! players of low latency do; it stalls when a part comes later than its buffer lasts, or when it is refused.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use testkit::hostile::{Attack, Attacking, Host, Place, Timeline, watch};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::blocked::{Idle, Server, place_of, since_1970, step_back};
use crate::log::Row;
use crate::{Figure, percentile};

/// Most addresses of viewers.
const ADDRESSES: usize = 250;
/// Bytes of a part: half a second at 400 kbit/s.
const PART_BYTES: usize = 25_000;
const SEGMENTS: usize = 13;
/// Rows of each attack: ten seconds.
const ROWS: usize = 20;
const ROW: Duration = Duration::from_millis(500);
/// Length of a player's buffer: three parts.
const BUFFER_MS: f64 = 1_500.0;
/// Memory for media of the node, in bytes.
const MEDIA_BYTES_MAX: u64 = 256 * 1024 * 1024;
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const WINDOW_BYTES: u32 = 1 << 20;
const OTHER_FILES: u64 = 2_048;

pub(crate) fn measure(viewers: usize) -> anyhow::Result<Vec<Figure>> {
    let wanted = u64::try_from(viewers)? + OTHER_FILES;
    let open_files = node::files::raise_open_files_limit();
    anyhow::ensure!(open_files >= wanted, "{wanted} open files are needed, {open_files} are allowed: ulimit -n");
    let child = Idle::spawn()?;
    step_back()?;
    tokio::runtime::Runtime::new()?.block_on(run(child, viewers))
}

struct Round {
    /// Parts that were refused, or that came later than a buffer lasts.
    stalled: usize,
    worst_ms: f64,
    p99_ms: f64,
    resident: u64,
    attacks: u64,
}

async fn run(child: Idle, viewers: usize) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let media = Some(MEDIA_BYTES_MAX);
    let mut server = Server::start_attacked(child, directory.path(), (PART_BYTES, SEGMENTS), media).await?;
    let stream = server.author.stream.clone();
    let timeline = Timeline { path: format!("/live/{stream}/r00"), parts_per_segment: 8 };
    let base = format!("https://{}", server.https);
    let tls = server.viewers.clone();
    let host = |address| Host { address, server: base.clone(), tls: tls.clone() };
    let attacker = host(ATTACKER);
    let clients: Vec<reqwest::Client> = (0..viewers)
        .map(|number| {
            let last = u8::try_from(number % ADDRESSES).expect("there are fewer addresses");
            host(Ipv4Addr::new(127, 0, 1, last)).client(WINDOW_BYTES)
        })
        .collect();
    let (mut rounds, mut row) = (Vec::new(), server.next_row()?);
    for attack in [None].into_iter().chain(Attack::ALL.map(Some)) {
        rounds.push((
            attack,
            round((&mut server, &mut row), (&clients, &base, &timeline), attack.map(|attack| (attack, &attacker)))
                .await?,
        ));
    }
    let calm = rounds.first().context("there is one without an attack")?.1.p99_ms;
    Ok(rounds.iter().map(|(attack, round)| figure((*attack, viewers), round, calm)).collect())
}

async fn round(
    (server, row): (&mut Server, &mut Row),
    (clients, base, timeline): (&[reqwest::Client], &str, &Timeline),
    attack: Option<(Attack, &Host)>,
) -> anyhow::Result<Round> {
    let (msn, part) = place_of(row);
    let first = Place { epoch: 1, msn, part };
    let newest = watch::Sender::new(first);
    let attacking = attack.map(|(attack, host)| Attacking::start(attack, host, timeline, &newest.subscribe()));
    let (seen, mut arrivals) = mpsc::unbounded_channel();
    let mut viewers = JoinSet::new();
    for client in clients {
        let seen = seen.clone();
        let noted = move |place: Place| _ = seen.send((place, since_1970()));
        viewers.spawn(watch(client.clone(), (base.to_owned(), timeline.clone()), (first, ROWS), noted));
    }
    drop(seen);
    let (mut pushed, mut place) = (Vec::new(), first);
    let mut ticks = tokio::time::interval(ROW);
    for _ in 0..ROWS {
        server.push_bytes(row).await?;
        ticks.tick().await;
        pushed.push((place, since_1970()?));
        server.push_seal(row).await?;
        newest.send_replace(place);
        place = timeline.after(place);
        *row = server.next_row()?;
    }
    let mut refused = 0;
    while let Some(viewer) = viewers.join_next().await {
        if let Err(why) = viewer? {
            refused += 1;
            if refused == 1 {
                eprintln!("a viewer was refused: {why}");
            }
        }
    }
    let mut late = Vec::new();
    while let Some((place, at)) = arrivals.recv().await {
        let (_, began) = pushed.iter().find(|(known, _)| *known == place).context("a row that was not pushed")?;
        late.push(at?.saturating_sub(*began).as_secs_f64() * 1e3);
    }
    let stalls = late.iter().filter(|ms| **ms > BUFFER_MS).count();
    Ok(Round {
        stalled: refused + stalls,
        worst_ms: late.iter().copied().fold(0.0, f64::max),
        p99_ms: percentile(late, 0.99),
        resident: server.resident()?,
        attacks: attacking.map_or(0, |attacking| attacking.done()),
    })
}

fn figure((attack, viewers): (Option<Attack>, usize), round: &Round, calm_ms: f64) -> Figure {
    let Round { stalled, worst_ms, p99_ms, resident, attacks } = round;
    let what = match attack {
        None => format!("{viewers} viewers play, nobody attacks"),
        Some(attack) => format!("{viewers} viewers play, one host: {} ({attacks} times)", attack.name()),
    };
    Figure {
        what,
        ours: format!(
            "{stalled} stalls; part p99 {p99_ms:.0} ms, worst {worst_ms:.0} ms; node {:.0} MB, of which media may take {:.0} MB",
            *resident as f64 / 1e6,
            MEDIA_BYTES_MAX as f64 / 1e6
        ),
        peer: "-".to_owned(),
        ratio: Some(p99_ms / calm_ms),
        bound: "0 stalls; DVR: p99 within 2x",
    }
}
