//! The nodes that are there, and which of them have taken what control wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use media::NodeId;
use metadata::EntrySequence;
use serde::Serialize;

use crate::ControlState;
use crate::log::{ACKNOWLEDGE_WAIT_MAX, ACKNOWLEDGE_WAIT_MIN};
use crate::nodes::{NodeInfo, OperatorState};

/// Which nodes have taken what was written.
#[derive(Debug, Serialize)]
pub(crate) struct AcknowledgedView {
    /// Nodes that are there and have it.
    pub(crate) acknowledged: Vec<NodeId>,
    /// Nodes that are there and have not said so in time.
    pub(crate) missing: Vec<NodeId>,
}

/// Waits for the nodes that are online to say that they have an entry. A command takes five seconds at most since it `began`.
pub(crate) async fn acknowledged(shared: &ControlState, sequence: EntrySequence, began: Duration) -> AcknowledgedView {
    let wait = ACKNOWLEDGE_WAIT_MAX.saturating_sub(shared.node.clock.elapsed().saturating_sub(began));
    let online: BTreeSet<NodeId> = nodes(shared)
        .into_iter()
        .filter(|info| info.health != "offline" && !info.operator.revoked && info.presence.node != shared.node.id)
        .map(|info| info.presence.node)
        .collect();
    let all = |have: &[NodeId]| online.iter().all(|node| have.contains(node));
    let have = shared.writer.acknowledged(sequence, all, wait.max(ACKNOWLEDGE_WAIT_MIN)).await;
    let (acknowledged, missing) = online.into_iter().partition(|node| have.contains(node));
    AcknowledgedView { acknowledged, missing }
}

impl AcknowledgedView {
    /// Whether all nodes that are there have it.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

pub(crate) fn nodes(shared: &ControlState) -> Vec<NodeInfo> {
    let operator = |node: &NodeId| OperatorState { drained: shared.is_drained(node), revoked: shared.is_revoked(node) };
    crate::nodes::all(&shared.cluster, operator)
}
