//! The nodes of the cluster as control shows them: their health and load, with the operator's decisions.

use cluster::Health;
use media::{NodeId, StreamId};
use messages::{Presence, Role};
use node::cluster_view::ClusterView;

/// What the operator has decided about a node.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct OperatorState {
    /// It takes no viewers and no streams.
    pub(crate) drained: bool,
    /// It is not trusted any more.
    pub(crate) revoked: bool,
}

/// A node as the routes under `/cluster/v1/admin/nodes` show it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct NodeInfo {
    pub(crate) health: &'static str,
    #[serde(flatten)]
    pub(crate) operator: OperatorState,
    /// What is left of its scarcest resource, 0 to 1: of its cores, or of its egress where that is configured.
    pub(crate) headroom: f64,
    #[serde(flatten)]
    pub(crate) presence: Presence,
}

impl NodeInfo {
    /// Whether it takes viewers and streams.
    pub(crate) fn is_usable(&self) -> bool {
        self.health == "online" && !self.operator.drained && !self.operator.revoked
    }
}

/// How many nodes that are not offline hold a stream.
pub(crate) fn holders(cluster: &ClusterView, stream: &StreamId) -> usize {
    cluster.look(|cluster| {
        let online = cluster.members.members().filter(|member| cluster.health(member) != Health::Offline);
        online.filter(|member| member.presence.streams.contains(stream)).count()
    })
}

/// The base URL of a balancer; `None` when none is there. One that listens on all addresses is reached by this machine's name for itself.
pub(crate) fn viewers_base(cluster: &ClusterView) -> Option<String> {
    let https = cluster.look(|cluster| {
        let mut balancers = cluster.members.members().filter(|member| member.presence.role == Role::LoadBalancer);
        balancers.find(|member| cluster.health(member) == Health::Online)?.presence.https.clone()
    })?;
    Some(https.replace("://0.0.0.0:", "://localhost:").replace("://[::]:", "://localhost:"))
}

/// All nodes, by name, with the operator's decision about each.
pub(crate) fn all(cluster: &ClusterView, operator: impl Fn(&NodeId) -> OperatorState) -> Vec<NodeInfo> {
    cluster.look(|cluster| {
        let info = |member: &cluster::Member| NodeInfo {
            operator: operator(&member.presence.node),
            headroom: cluster::placement::headroom(&member.presence.load),
            health: cluster.health(member).label(),
            presence: member.presence.clone(),
        };
        cluster.members.members().map(info).collect()
    })
}
