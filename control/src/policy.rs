//! The policy message: the nodes that the operator has drained, as the metadata log has them. Published every 2 s, for nodes that know
//! no log yet.

use std::path::Path;

use anyhow::{Context as _, Result};
use messages::{Policy, Topic};
use node::{CancellationToken, files};
use tokio::time::MissedTickBehavior;

use crate::ControlState;

/// File in which versions before the metadata log kept the policy.
pub(crate) const OLD_FILE: &str = "policy.json";

/// Publishes the policy at once when the log changes, and every 2 s, until `shutdown`.
pub(crate) async fn say(shared: &ControlState, shutdown: &CancellationToken) -> Result<()> {
    let mut changes = shared.writer.log().changes();
    let mut ticks = tokio::time::interval(cluster::policy::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
            Ok(()) = changes.changed() => {}
        }
        let version = shared.writer.log().standing().sequence;
        let policy = Policy { version, at: shared.node.clock.wall(), drained: shared.drained(), ..Policy::default() };
        let payload = serde_json::to_vec(&policy).context("a policy has a JSON form")?;
        shared.publish(&Topic::Policy, payload.into()).await;
    }
}

/// Brings the drained nodes of a file that an older version kept into the log, and removes the file.
///
/// # Errors
/// When the file is no policy, or the log cannot be written; names the file.
pub(crate) async fn migrate(shared: &ControlState) -> Result<()> {
    let path = shared.node.data.join(OLD_FILE);
    if !path.exists() {
        return Ok(());
    }
    let policy = read(&path)?;
    for node in &policy.drained {
        shared.write_drain(node, true).await?;
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

fn read(path: &Path) -> Result<Policy> {
    serde_json::from_slice(&files::read_bounded(path)?)
        .with_context(|| format!("{} is not a policy; remove it to begin without one", path.display()))
}
