//! Nodes that the operator drains, whichever way the command comes.

use axum::http::StatusCode;
use media::NodeId;
use messages::Role;

use crate::ControlState;
use crate::acknowledged::nodes;
use crate::nodes::NodeInfo;
use crate::refusal::{Refusal, not_logged};

/// Finds a node that is present, or was a while ago.
pub(crate) fn known(shared: &ControlState, name: &str) -> Result<NodeInfo, Refusal> {
    let found = nodes(shared).into_iter().find(|info| info.presence.node.as_str() == name);
    found.ok_or_else(|| {
        let detail = format!("no node {name:?} has been seen; `sealcast node list` shows those that have");
        Refusal(StatusCode::NOT_FOUND, detail)
    })
}

/// Finds a broadcast node that is present, or was a while ago: other roles have nothing to drain.
fn broadcast_node(shared: &ControlState, name: &str) -> Result<NodeInfo, Refusal> {
    let info = known(shared, name)?;
    if info.presence.role == Role::Broadcast {
        return Ok(info);
    }
    let detail = format!("{name} is a node of role {}: only broadcast nodes are drained", info.presence.role);
    Err(Refusal(StatusCode::BAD_REQUEST, detail))
}

impl ControlState {
    /// Has a broadcast node take no new viewers and no new streams.
    ///
    /// # Errors
    /// When there is no such node, or no other one could take over.
    pub(crate) async fn drain(&self, name: &str) -> Result<NodeInfo, Refusal> {
        let info = broadcast_node(self, name)?;
        let takes_over = |other: &NodeInfo| {
            other.presence.role == Role::Broadcast && other.presence.node != info.presence.node && other.is_usable()
        };
        if !nodes(self).iter().any(takes_over) {
            let detail = format!("no other broadcast node is online to take over from {name}: add one, or undrain one");
            return Err(Refusal(StatusCode::CONFLICT, detail));
        }
        self.wish(&info.presence.node, true).await
    }

    /// Ends that.
    ///
    /// # Errors
    /// When there is no such node.
    pub(crate) async fn undrain(&self, name: &str) -> Result<NodeInfo, Refusal> {
        let info = broadcast_node(self, name)?;
        self.wish(&info.presence.node, false).await
    }

    async fn wish(&self, node: &NodeId, is_drained: bool) -> Result<NodeInfo, Refusal> {
        if self.write_drain(node, is_drained).await.map_err(|error| not_logged(&error))? {
            tracing::info!(%node, is_drained, "the operator drained or undrained a node");
        }
        known(self, node.as_str())
    }
}
