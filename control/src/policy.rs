//! The policy: which nodes the operator has drained, so that they take no new viewers and own no streams. Kept on disk, published every 2
//! s.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use media::{NodeId, UnixMillis};
use messages::{Policy, Topic};
use node::CancellationToken;
use node::files::{self, MODE_PUBLIC};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::ControlState;

/// Drained nodes that are remembered; more than any cluster has.
const DRAINED_MAX: usize = cluster::NODES_MAX;

/// The policy, and where it is kept.
pub(crate) struct PolicyStore {
    path: PathBuf,
    policy: Mutex<Policy>,
    /// Held while the file is written, so that readers of the policy do not wait for the disk.
    writing: Mutex<()>,
    changed: Notify,
}

/// What the operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It finishes what it has.
    Drain,
    /// It takes viewers and streams.
    Undrain,
}

impl PolicyStore {
    /// Reads what was kept; nothing is drained when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a policy; names it.
    pub(crate) fn load(path: PathBuf) -> Result<Self> {
        let policy = if path.exists() {
            serde_json::from_slice(&files::read_bounded(&path)?)
                .with_context(|| format!("{} is not a policy; remove it to begin without one", path.display()))?
        } else {
            Policy::default()
        };
        Ok(Self { path, policy: Mutex::new(policy), writing: Mutex::default(), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a node is drained.
    pub(crate) fn is_drained(&self, node: &NodeId) -> bool {
        self.lock().drained.contains(node)
    }

    /// Drains a node, or undrains it. Blocks for the disk. Returns whether that changed anything.
    ///
    /// # Errors
    /// When the policy cannot be written: then nothing has changed.
    pub(crate) fn wish(&self, node: &NodeId, wish: Wish, now: UnixMillis) -> Result<bool> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.lock().clone();
        if next.drained.contains(node) == (wish == Wish::Drain) {
            return Ok(false);
        }
        match wish {
            Wish::Drain => {
                anyhow::ensure!(next.drained.len() < DRAINED_MAX, "{DRAINED_MAX} nodes are drained already");
                next.drained.push(node.clone());
            }
            Wish::Undrain => next.drained.retain(|drained| drained != node),
        }
        (next.version, next.at) = (next.version + 1, now);
        let text = serde_json::to_vec_pretty(&next).context("a policy has a JSON form")?;
        files::atomic_write(&self.path, &text, MODE_PUBLIC)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        *self.lock() = next;
        self.changed.notify_one();
        Ok(true)
    }
}

/// Publishes the policy at once when it changes, and every 2 s, until `shutdown`.
pub(crate) async fn say(shared: &ControlState, shutdown: &CancellationToken) -> Result<()> {
    let mut ticks = tokio::time::interval(cluster::policy::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
            () = shared.standing.changed.notified() => {}
        }
        let policy = Policy { at: shared.node.clock.wall(), ..shared.standing.lock().clone() };
        let payload = serde_json::to_vec(&policy).context("a policy has a JSON form")?;
        shared.publish(&Topic::Policy, payload.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drained_node_stays_drained_over_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (path, b1) = (directory.path().join("policy.json"), NodeId::new("b1").unwrap());
        let standing = PolicyStore::load(path.clone()).unwrap();
        assert!(standing.wish(&b1, Wish::Drain, UnixMillis(1)).unwrap());
        assert!(!standing.wish(&b1, Wish::Drain, UnixMillis(2)).unwrap(), "it is already");
        let again = PolicyStore::load(path.clone()).unwrap();
        assert!(again.is_drained(&b1));
        assert_eq!(again.lock().version, 1);
        assert!(again.wish(&b1, Wish::Undrain, UnixMillis(3)).unwrap());
        assert_eq!(again.lock().version, 2);
        assert!(!again.is_drained(&b1));
        std::fs::write(&path, "{").unwrap();
        assert!(format!("{:#}", PolicyStore::load(path).err().unwrap()).contains("policy.json"));
    }
}
