//! Pushes bytes and seals to one broadcast node, entry by entry, in log order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use media::{NodeId, ObjectName};
use messages::NodeState;
use node::CancellationToken;
use reqwest::StatusCode;
use tokio::sync::watch;

use super::StreamPush;
use super::ring::{Found, RingEntry};
use crate::nodes::BroadcastNode;

/// Time limit of one request. A part of a 10 Mbit/s rung takes milliseconds, so a connection that needs longer is not worth the wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// Attempts for one object or seal while the node answers that it is busy. Then the whole entry is tried again, unless it has left the
/// ring meanwhile.
const BUSY_ATTEMPTS_MAX: u32 = 4;
/// Waits between attempts: from the first, doubling, to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Stored, or there already.
    Acknowledged,
    /// Refused for good.
    Refused,
    /// The node answered, but cannot take it now.
    Busy,
    /// No answer.
    Unreachable,
}

pub(super) struct NodeTask {
    id: NodeId,
    shared: Arc<StreamPush>,
    http: reqwest::Client,
    node: watch::Receiver<BroadcastNode>,
    shutdown: CancellationToken,
    /// Whether the node takes seals over HTTP; one that answers 404 or 405 does not.
    takes_seals: bool,
}

impl NodeTask {
    pub(super) fn new(
        id: NodeId,
        shared: Arc<StreamPush>,
        http: reqwest::Client,
        node: watch::Receiver<BroadcastNode>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { id, shared, http, node, shutdown, takes_seals: true }
    }

    pub(super) async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = self.drive() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn drive(&mut self) {
        let mut end = self.shared.end.subscribe();
        let mut started_at = None;
        let mut cursor = 0;
        loop {
            let node = self.node.borrow_and_update().clone();
            if node.state == NodeState::Offline {
                if self.node.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if started_at != Some(node.started_at) {
                cursor = self.first_entry();
                started_at = Some(node.started_at);
                self.takes_seals = true;
                let inits = self.shared.with_ring(|ring| ring.inits());
                self.put_all(&node, &inits).await;
            }
            let Some(found) = self.shared.with_ring(|ring| ring.at(cursor)) else {
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { return },
                    changed = self.node.changed() => if changed.is_err() { return },
                }
                continue;
            };
            if found.missed > 0 {
                tracing::warn!(stream = %self.shared.stream, peer = %self.id, entries = found.missed, "node was away longer than the ring reaches: it has to pull from its peers");
                metrics::counter!("ingest_push_missed_total").increment(found.missed);
            }
            cursor = self.deliver(&node, &found).await;
        }
    }

    /// The first entry for a node that is new or was restarted: the oldest one in the ring that no node has acknowledged. The node
    /// pulls older entries from its peers.
    fn first_entry(&self) -> u64 {
        let acknowledged = *self.shared.acknowledged.borrow();
        self.shared.with_ring(|ring| {
            (ring.start()..ring.end())
                .find(|index| ring.at(*index).is_some_and(|found| Some(place(&found.entry)) > acknowledged))
                .unwrap_or_else(|| ring.end())
        })
    }

    /// Sends one entry and returns the next cursor. While the node does not answer or has no room, for the seal or an object, the
    /// cursor stays. The ring moves on meanwhile, which bounds how much is kept for the node.
    async fn deliver(&mut self, node: &BroadcastNode, found: &Found) -> u64 {
        // The seal goes first, and the objects do not wait for its answer.
        let (seal, objects) = tokio::join!(self.put_seal(node, &found.entry), self.put_all(node, &found.entry.objects));
        if matches!(seal.1, Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) {
            self.takes_seals = false;
        }
        let seal = seal.0;
        if objects == Outcome::Acknowledged {
            self.shared.acknowledge(place(&found.entry));
        }
        match objects.max(seal) {
            // The node would refuse it again; its peers may have taken it.
            Outcome::Acknowledged | Outcome::Refused => found.index.saturating_add(1),
            Outcome::Busy | Outcome::Unreachable => {
                tokio::time::sleep(BACKOFF.1).await;
                found.index
            }
        }
    }

    async fn put_seal(&self, node: &BroadcastNode, entry: &RingEntry) -> (Outcome, Option<StatusCode>) {
        if !self.takes_seals {
            return (Outcome::Acknowledged, None);
        }
        let path = format!("/live/{}/seals", self.shared.stream);
        let (outcome, status) = self.put(node, &path, &entry.seal).await;
        if status == Some(StatusCode::CONFLICT) {
            self.shared.conflicts(place(entry));
        }
        (outcome, status)
    }

    /// Sends all objects concurrently over one connection and returns the worst outcome.
    async fn put_all(&self, node: &BroadcastNode, objects: &[(ObjectName, Bytes)]) -> Outcome {
        let outcomes = join_all(objects.iter().map(|(name, bytes)| async move {
            let (outcome, _) = self.put(node, &name.to_string(), bytes).await;
            outcome
        }))
        .await;
        outcomes.into_iter().max().unwrap_or(Outcome::Acknowledged)
    }

    /// Sends one object or seal. Returns the status of the last answer, too; `None` without one, or after the last busy attempt.
    async fn put(&self, node: &BroadcastNode, path: &str, bytes: &Bytes) -> (Outcome, Option<StatusCode>) {
        let url = format!("{}{path}", node.data);
        let mut wait = BACKOFF.0;
        for attempt in 1..=BUSY_ATTEMPTS_MAX {
            let request = self.http.put(&url).timeout(REQUEST_TIMEOUT).body(bytes.clone());
            let (outcome, status, detail) = match request.send().await {
                Ok(answer) => (judge(answer.status()), Some(answer.status()), answer.status().to_string()),
                Err(error) => (Outcome::Unreachable, None, error.without_url().to_string()),
            };
            count(outcome, bytes.len());
            match outcome {
                Outcome::Busy if attempt < BUSY_ATTEMPTS_MAX => {}
                // One retry: a connection that was closed while idle fails only now.
                Outcome::Unreachable if attempt == 1 => {}
                Outcome::Acknowledged => return (outcome, status),
                _ => {
                    tracing::warn!(peer = %self.id, path, %detail, "object or seal not taken");
                    return (outcome, status);
                }
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(BACKOFF.1);
        }
        (Outcome::Busy, None)
    }
}

pub(super) fn place(entry: &RingEntry) -> super::LogPlace {
    (entry.epoch, entry.sequence)
}

fn judge(status: StatusCode) -> Outcome {
    match status {
        status if status.is_success() => Outcome::Acknowledged,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Outcome::Busy,
        status if status.is_server_error() => Outcome::Busy,
        _ => Outcome::Refused,
    }
}

fn count(outcome: Outcome, bytes: usize) {
    let label = match outcome {
        Outcome::Acknowledged => {
            metrics::counter!("ingest_pushed_bytes_total").increment(u64::try_from(bytes).unwrap_or(u64::MAX));
            "acknowledged"
        }
        Outcome::Refused => "refused",
        Outcome::Busy => "busy",
        Outcome::Unreachable => "unreachable",
    };
    metrics::counter!("ingest_push_requests_total", "outcome" => label).increment(1);
}
