//! Probes: the balancer asks each node for something small, as viewers do, whether or not any viewer asks.
//!
//! The kernel still accepts connections for a process that is frozen or stuck, and its presence counts for seconds. Owns the interval and
//! the probes' own connections; [`Members`] decides what follows from a miss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::Probe;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use media::NodeId;
use node::CancellationToken;
use node::clock::Clock;
use node::tls::Identity;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::members::Members;
use crate::proof;
use crate::target::Target;

/// How often a node is probed. A probe does not wait for the one before, so a frozen node has missed two after 2 s: [`INTERVAL`] until
/// the first, [`INTERVAL`] until the second, and [`TIMEOUT`].
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a node has to answer: some hundred times what it takes, so that a node that is only busy is not given up.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Probes under way at once: those of a thousand nodes. The others wait 500 ms for their turn.
const PROBES_MAX: usize = 3 * 1_024;

/// The probes' own connection to a node.
#[derive(Default)]
struct Connection(Mutex<Option<ProbeConnection>>);

struct ProbeConnection {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// Probes all nodes until `shutdown`.
pub(crate) async fn run(members: Arc<Members>, identity: Arc<Identity>, clock: Clock, shutdown: CancellationToken) {
    let mut connections: BTreeMap<NodeId, Arc<Connection>> = BTreeMap::new();
    let mut probes = JoinSet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = probes.join_next() => continue,
            _ = ticks.tick() => {}
        }
        let targets = members.probed_nodes();
        connections.retain(|node, _| targets.iter().any(|target| target.node == *node));
        for target in targets.into_iter().take(PROBES_MAX.saturating_sub(probes.len())) {
            let connection = connections.entry(target.node.clone()).or_default().clone();
            let (members, identity) = (members.clone(), identity.clone());
            probes.spawn(async move {
                let asked_at = clock.elapsed();
                let answer = tokio::time::timeout(TIMEOUT, connection.ask(&target, &identity)).await;
                if matches!(answer, Ok(Ok(()))) {
                    target.connections.heard();
                    members.probed(&target, Probe::Answered);
                } else {
                    connection.drop_unless_in_use();
                    // Its answers to viewers count as well: it is only slow, or has no room for another connection.
                    let was_heard = target.connections.was_heard_since(asked_at);
                    if !was_heard && !is_our_delay(clock.elapsed().saturating_sub(asked_at)) {
                        members.probed(&target, Probe::Missed);
                    }
                }
            });
        }
    }
}

/// Whether a probe that took this long says more about this process than about the node: this process did not run at the timeout, and the
/// answer may be waiting.
fn is_our_delay(under_way: Duration) -> bool {
    under_way > TIMEOUT + INTERVAL
}

impl Connection {
    /// Any answer counts, whatever its status: viewers judge that.
    async fn ask(&self, target: &Target, identity: &Identity) -> anyhow::Result<()> {
        let mut sender = self.sender(target, identity).await?;
        sender.ready().await?;
        let request = Request::builder().method(Method::HEAD).uri(format!("https://{}/", target.node));
        sender.send_request(request.body(Empty::new())?).await?;
        Ok(())
    }

    async fn sender(&self, target: &Target, identity: &Identity) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| !kept.sender.is_closed()) {
            return Ok(kept.sender.clone());
        }
        let stream = proof::connect(target, identity).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // The probes show how it ended.
            let _ = connection.await;
        });
        *kept = Some(ProbeConnection { sender: sender.clone(), _driver: AbortOnDropHandle::new(driver) });
        Ok(sender)
    }

    /// Drops the connection, so that the next probe makes another. Does nothing while another probe is making one.
    fn drop_unless_in_use(&self) {
        if let Ok(mut kept) = self.0.try_lock() {
            *kept = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancer_that_was_frozen_itself_blames_nobody() {
        assert!(!is_our_delay(TIMEOUT));
        assert!(!is_our_delay(TIMEOUT + INTERVAL));
        assert!(is_our_delay(Duration::from_secs(5)));
    }
}
