//! Delay that the gate adds, from the arrival of seal and bytes until the row is listed, with 20 renditions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ::gate::{Answer, Effect, Gate, Input, Settings, Source};
use anyhow::{Context as _, ensure};
use broadcast::actor::Actor;
use media::NodeId;
use node::CancellationToken;

use crate::Figure;
use crate::log::Author;

const RENDITIONS: u32 = 20;
/// Bytes of a part: half a second at 2.4 Mbit/s.
const PART_BYTES: usize = 150_000;
/// Rows measured: 400 s of a stream.
const ROWS: usize = 800;
/// Longest wait for a row.
const WAIT_MAX: Duration = Duration::from_secs(5);

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn run() -> anyhow::Result<Vec<Figure>> {
    let clock = node::clock::Clock::new();
    let mut author = Author::new(RENDITIONS, PART_BYTES, clock.wall())?;
    let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 2 << 30 };
    let gate = Gate::new(settings, std::sync::Arc::new(author.keyring.clone()), BTreeMap::new());
    let shutdown = CancellationToken::new();
    let (handle, mut effects, thread) = Actor::spawn(gate, clock, shutdown.clone())?.into_parts();
    handle.send(Input::Peers(Vec::new())).await?;
    let peer = NodeId::new("ingest")?;
    let mut delays = Vec::with_capacity(ROWS);
    for _ in 0..ROWS {
        let row = author.next(clock.wall())?;
        for (name, bytes) in row.objects {
            let digest = seal::digest(&bytes);
            let answer = handle.push(Input::Object { name, digest, bytes, peer: peer.clone() }).await?;
            ensure!(answer == Answer::Stored, "bytes were not taken: {answer:?}");
        }
        let raw = row.sealed.raw().clone();
        let seal = Input::Seal { stream: author.stream.clone(), raw, source: Source::Put(peer.clone()) };
        let began = Instant::now();
        handle.push(seal).await?;
        let listed = || handle.views().get(&author.stream)?.newest().map(|newest| newest.digest());
        let mut first = tokio::time::interval(Duration::from_millis(1));
        while listed() != Some(row.sealed.digest()) {
            // The answer to a push comes when the row is listed, except for a stream's first row, which waits for peers that may know more.
            ensure!(delays.is_empty() && began.elapsed() < WAIT_MAX, "the row was not listed");
            first.tick().await;
        }
        delays.push(began.elapsed().as_secs_f64() * 1e3);
        while let Ok(effect) = effects.try_recv() {
            ensure!(!matches!(effect, Effect::Refused(_)), "{effect:?}");
        }
    }
    delays.remove(0);
    shutdown.cancel();
    thread.join().ok().context("the gate's thread panicked")?;
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok(vec![Figure {
        what: format!("gate: seal and bytes here to listed, {RENDITIONS} renditions"),
        ours: format!("p50 {:.2} ms, p99 {:.2} ms", at(50), at(99)),
        peer: "-".to_owned(),
        ratio: None,
        bound: "p99 <= 5 ms",
    }])
}
