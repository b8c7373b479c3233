//! Keeps a replica up to date: what the bus says, and what control and other nodes answer when the bus says nothing or something is
//! missing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bus::Message;
use bytes::Bytes;
use messages::Topic;
use metadata::limits::{ENTRY_BYTES_MAX, HEAD_BYTES_MAX, ROWS_BYTES_MAX};
use metadata::{EntrySequence, Input, Output};
use node::CancellationToken;
use rand::Rng as _;
use tokio::time::MissedTickBehavior;

use crate::log::Wanted;
use crate::peers::{EntriesAnswer, Peer, Peers};
use crate::{Log, frames};

/// How often control and two other nodes are asked, whatever the bus says, in milliseconds: 10 s, give or take 2.
const ROUND_MS: std::ops::RangeInclusive<u64> = 8_000..=12_000;
/// The same while nothing has been heard yet.
const FIRST_ROUND: Duration = Duration::from_millis(300);
/// Shortest time between two rounds that something missing causes: what a stranger sends can cause no more.
const HURRY_MIN: Duration = Duration::from_millis(500);
/// How often the metrics are set.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the log up to date until `shutdown`, or until the bus is closed.
///
/// # Errors
/// When the bus takes no subscription.
pub async fn keep_up(log: Arc<Log>, node: node::Context, peers: Peers, shutdown: CancellationToken) -> Result<()> {
    let entries = node.bus.subscribe(&node.prefix.name(&Topic::MetadataLog)).await?;
    let heads = node.bus.subscribe(&node.prefix.name(&Topic::MetadataHead)).await?;
    // All three go on at once: each may wait for the log while another has it.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = listen(Arc::clone(&log), entries, heads) => {}
        () = ask(Arc::clone(&log), peers) => {}
        () = measure(&log) => {}
    }
    Ok(())
}

/// Takes what comes by the bus, and what comes with time.
async fn listen(log: Arc<Log>, mut entries: bus::Subscription, mut heads: bus::Subscription) {
    loop {
        let inputs = tokio::select! {
            Some(message) = entries.recv() => entry(&message),
            Some(message) = heads.recv() => head(message),
            () = until_deadline(&log) => vec![Input::Tick],
            else => return,
        };
        // A failed disk was logged; the replica in memory goes on.
        let _ = log.take(inputs).await;
    }
}

async fn measure(log: &Log) {
    let mut ticks = tokio::time::interval(MEASURE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        log.measure();
    }
}

async fn until_deadline(log: &Log) {
    match log.next_deadline() {
        Some(elapsed) => tokio::time::sleep_until(log.clock().instant(elapsed)).await,
        None => std::future::pending().await,
    }
}

/// An entry with its rows, as `metadata/log` carries them.
fn entry(message: &Message) -> Vec<Input> {
    if message.payload.len() > frames::pair_bytes_max(ENTRY_BYTES_MAX + ROWS_BYTES_MAX) {
        return Vec::new();
    }
    let pairs = frames::split_pairs(&message.payload).unwrap_or_default();
    pairs.into_iter().take(1).map(|(entry, rows)| Input::Entry { entry, rows }).collect()
}

fn head(message: Message) -> Vec<Input> {
    let is_one = !message.payload.is_empty() && message.payload.len() <= HEAD_BYTES_MAX;
    if is_one { vec![Input::Head(message.payload)] } else { Vec::new() }
}

/// Asks in rounds, and at once when something is missing.
async fn ask(log: Arc<Log>, peers: Peers) {
    let mut wanted = log.wanted();
    let mut pause = FIRST_ROUND;
    loop {
        let hurry = async {
            // The sender lives as long as the log.
            let _ = wanted.changed().await;
            tokio::time::sleep(HURRY_MIN).await;
        };
        tokio::select! {
            () = hurry => {}
            () = tokio::time::sleep(pause) => {}
        }
        let place = || log.with(|replica| replica.place());
        let said = place();
        let (mut has_answered, mut has_told) = (false, false);
        for peer in peers.draw() {
            match catch_up(&log, &peer).await {
                Ok(has_ours) => {
                    has_answered = true;
                    has_told |= has_ours;
                }
                Err(error) => {
                    tracing::debug!(url = peer.url, error = format!("{error:#}"), "no help with the metadata log");
                }
            }
        }
        wanted.borrow_and_update();
        if has_told {
            log.answered();
        }
        pause = if has_answered && place() != said {
            // Those that were asked do not know yet how far this node is, and an operator may wait for it.
            HURRY_MIN
        } else if has_answered {
            Duration::from_millis(rand::rng().random_range(ROUND_MS))
        } else {
            (pause * 2).min(Duration::from_millis(*ROUND_MS.start()))
        };
    }
}

/// Takes from one node what is newer than what is here. It is asked for entries whatever it says of the newest head: after a restart it has
/// heard none yet, and a control node that was restored from a backup says old ones. Returns whether it has all that is here.
async fn catch_up(log: &Arc<Log>, peer: &Peer) -> Result<bool> {
    let have = log.with(|replica| replica.place().sequence);
    let mut missing = Wanted::default();
    match peer.head(have).await? {
        Some(head) => missing.note(&log.take(vec![Input::Head(head)]).await?),
        None => missing.roots_after = Some(log.with(|replica| replica.roots().version())),
    }
    let mut has_ours = fetch_entries(log, peer, &mut missing).await?;
    if let Some(after) = missing.roots_after {
        let statements = peer.roots(after).await?;
        // One by one: each is kept on disk under the version that is in force then.
        for statement in statements {
            log.take(vec![Input::Root(statement)]).await?;
        }
        // It may be that head and entries could not be judged without them.
        if let Some(head) = peer.head(have).await? {
            log.take(vec![Input::Head(head)]).await?;
        }
        has_ours = fetch_entries(log, peer, &mut missing).await?;
    }
    Ok(has_ours)
}

/// Takes entries until the other node has no more that count here. The newest one that is here is asked for again: if the other node has
/// another one in its place, control has signed two. Returns whether the other node has all that is here.
async fn fetch_entries(log: &Arc<Log>, peer: &Peer, missing: &mut Wanted) -> Result<bool> {
    loop {
        let place = || log.with(|replica| replica.place().sequence);
        let before = place();
        let mut answer = peer.entries(before.max(EntrySequence(1))).await?;
        if matches!(answer, EntriesAnswer::Pruned) {
            answer = peer.entries(before.next()).await?;
        }
        let has_ours = match answer {
            EntriesAnswer::Entries(entries) => {
                let has_ours = before == EntrySequence(0) || !entries.is_empty();
                let inputs = entries.into_iter().map(|(entry, rows): (Bytes, Bytes)| Input::Entry { entry, rows });
                missing.note(&log.take(inputs.collect()).await?);
                has_ours
            }
            EntriesAnswer::Pruned => {
                if let Some((entry, rows)) = peer.snapshot().await? {
                    log.take_snapshot(entry, rows).await?;
                }
                true
            }
        };
        if place() <= before {
            return Ok(has_ours);
        }
    }
}

impl Wanted {
    fn note(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::FetchRoots(after) => self.roots_after = Some(*after),
                Output::FetchEntries(from) => self.entries_from = Some(*from),
                _ => {}
            }
        }
    }
}
