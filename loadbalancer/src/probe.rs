//! Probes: each node is asked for something small, the way viewers ask, whether or not viewers do.
//!
//! A process that is frozen or stuck still has its connections accepted by the kernel, and its presence counts for seconds.
//! Owns the rhythm and the probes' own connections; what follows from a miss is decided in [`Members`].

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

use crate::certificate;
use crate::members::{Members, Target};

/// How often a node is probed. The next probe does not wait for the one before: a node that is frozen has missed two after
/// [`INTERVAL`] (until the first), [`INTERVAL`] (until the second) and [`TIMEOUT`], which is 2 s.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a node has to answer. Some hundred times what it takes, so that a node that is only busy is not given up.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Probes under way at once: those of a thousand nodes. What is beyond has its turn 500 ms later.
const PROBES_MAX: usize = 3 * 1_024;

/// The probes' own connection to a node.
#[derive(Default)]
struct Connection(Mutex<Option<Kept>>);

struct Kept {
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
                    target.line.heard();
                    members.probed(&target, Probe::Answered);
                } else {
                    connection.drop_unless_in_use();
                    // Its answers to viewers are as good: it is slow, or has no room for another connection.
                    let was_heard = target.line.was_heard_since(asked_at);
                    if !was_heard && !is_our_delay(clock.elapsed().saturating_sub(asked_at)) {
                        members.probed(&target, Probe::Missed);
                    }
                }
            });
        }
    }
}

/// Whether a probe that was under way for so long says more about this process than about the node: it did not run when the time was
/// up, and the answer may be waiting.
fn is_our_delay(under_way: Duration) -> bool {
    under_way > TIMEOUT + INTERVAL
}

impl Connection {
    /// Any answer will do: what it says is for viewers to judge.
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
        let stream = certificate::connect(target, identity).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // How it ended shows in the probes.
            let _ = connection.await;
        });
        *kept = Some(Kept { sender: sender.clone(), _driver: AbortOnDropHandle::new(driver) });
        Ok(sender)
    }

    /// The next probe makes another connection. Another probe may be doing so already.
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
