//! The nodes of the cluster as the ingest uses them: which to push to, where their data planes are, and which ingests there are. A
//! presence is a claim: connections to a node are bound to its name and role. Only the configuration says where control is.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::owners::Replicas;
use cluster::replicas::{Owned, Placed};
use media::{NodeId, StreamId, UnixMillis};
use messages::{NodeState, Presence, Role};
use node::CancellationToken;
use node::cluster_view::{ClusterView, Topics, Update};
use tokio::sync::watch;

/// Most broadcast nodes that are known at once.
const NODES_MAX: usize = cluster::NODES_MAX;
/// Longest base URL of a data plane, in bytes.
const URL_BYTES_MAX: usize = 256;

/// A node with a data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BroadcastNode {
    /// Base URL of its data plane, without a slash at the end.
    pub(crate) data: String,
    /// State that its presence states.
    pub(crate) state: NodeState,
    /// When its process was started; a restarted node has another time.
    pub(crate) started_at: UnixMillis,
}

/// Where a node's data plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataPlane {
    /// The node whose data plane it is; HTTP clients are bound to one node.
    pub(crate) node: NodeId,
    /// Base URL, without a slash at the end.
    pub(crate) url: String,
}

type Map = Arc<BTreeMap<NodeId, BroadcastNode>>;

/// What is known of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    broadcast: watch::Receiver<Map>,
    cluster: ClusterView,
}

impl Nodes {
    /// Follows presences and the policy until `shutdown`.
    pub(crate) async fn start(context: &node::Context, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let cluster = ClusterView::new(context.clock);
        let mut updates = cluster.subscribe(context, Topics::NodesAndPolicy).await?;
        let broadcast = watch::Sender::new(Map::default());
        let nodes = Self { broadcast: broadcast.subscribe(), cluster };
        tokio::spawn(shutdown.run_until_cancelled_owned(async move {
            while let Some(update) = updates.next().await {
                if let Update::Presence { presence, .. } = update
                    && presence.role == Role::Broadcast
                {
                    note(&broadcast, *presence);
                }
            }
        }));
        Ok(nodes)
    }

    /// The view of the cluster.
    pub(crate) const fn cluster(&self) -> &ClusterView {
        &self.cluster
    }

    /// Decides which nodes a stream is pushed to from now on.
    pub(crate) fn place(&self, owned: &mut Owned, stream: &StreamId, replicas: Replicas) -> Placed {
        self.cluster.look(|cluster| owned.decide((cluster.members, cluster.policy), stream, replicas, cluster.now))
    }

    /// When an ingest was started; `None` when it is not online, as far as the bus says.
    pub(crate) fn ingest_started_at(&self, id: &NodeId) -> Option<UnixMillis> {
        self.cluster.look(|cluster| {
            let mut online = cluster.members.online(Role::Ingest, cluster.now);
            online.find(|member| member.presence.node == *id).map(|member| member.presence.started_at)
        })
    }

    /// Rank of an ingest, by name, among all that were seen in whatever state, itself included; and their number.
    pub(crate) fn rank_of_ingest(&self, id: &NodeId) -> (u64, u64) {
        self.cluster.look(|cluster| {
            let ingests = || cluster.members.members().filter(|member| member.presence.role == Role::Ingest);
            let others = || ingests().map(|member| &member.presence.node).filter(|other| *other != id);
            let before = others().filter(|other| *other < id).count();
            (u64::try_from(before).unwrap_or(0), u64::try_from(others().count()).unwrap_or(0).saturating_add(1))
        })
    }

    /// All broadcast nodes seen, whatever their state.
    pub(crate) fn watch(&self) -> watch::Receiver<Map> {
        self.broadcast.clone()
    }

    /// Data planes of the broadcast nodes that are not offline.
    pub(crate) fn online(&self) -> Vec<DataPlane> {
        there(&self.broadcast.borrow()).collect()
    }

    /// Data planes of at most `max` broadcast nodes that are not offline: of `wanted` ones, or of any when all of `wanted` are offline.
    pub(crate) fn some(&self, wanted: &[NodeId], max: usize) -> Vec<DataPlane> {
        let map = self.broadcast.borrow();
        let named: Vec<_> = there(&map).filter(|plane| wanted.contains(&plane.node)).take(max).collect();
        if named.is_empty() { there(&map).take(max).collect() } else { named }
    }
}

fn there(map: &Map) -> impl Iterator<Item = DataPlane> {
    let online = map.iter().filter(|(_, node)| node.state != NodeState::Offline);
    online.map(|(id, node)| DataPlane { node: id.clone(), url: node.data.clone() })
}

/// Takes a presence into the map. An offline message carries no URL: the known one stays.
fn note(map: &watch::Sender<Map>, presence: Presence) {
    map.send_if_modified(|map| {
        let known = map.get(&presence.node);
        let data = presence.data.or_else(|| known.map(|known| known.data.clone()));
        let Some(data) = data.filter(|url| url.starts_with("https://") && url.len() <= URL_BYTES_MAX) else {
            return false;
        };
        let data = data.trim_end_matches('/').to_owned();
        let node = BroadcastNode { data, state: presence.state, started_at: presence.started_at };
        if known == Some(&node) || (known.is_none() && map.len() >= NODES_MAX) {
            return false;
        }
        Arc::make_mut(map).insert(presence.node, node);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_that_stops_keeps_its_data_plane_until_it_names_another() {
        let say = |state, data: Option<&str>| Presence {
            node: NodeId::new("b1").unwrap(),
            role: Role::Broadcast,
            state,
            at: UnixMillis(2),
            started_at: UnixMillis(1),
            https: None,
            data: data.map(str::to_owned),
            public: None,
            load: messages::Load::default(),
            streams: Vec::new(),
            edges: Vec::new(),
            tenants: Vec::new(),
        };
        let map = watch::Sender::new(Map::default());
        let seen = |map: &watch::Sender<Map>| {
            let map = map.borrow();
            let nodes: Vec<_> = map.values().map(|node| (node.data.clone(), node.state)).collect();
            (nodes, there(&map).count())
        };
        note(&map, say(NodeState::Offline, None));
        note(&map, say(NodeState::Online, Some("http://127.0.0.1:9201")));
        assert_eq!(seen(&map), (vec![], 0), "no data plane, and one without TLS");
        note(&map, say(NodeState::Online, Some("https://127.0.0.1:9201/")));
        assert_eq!(seen(&map), (vec![("https://127.0.0.1:9201".to_owned(), NodeState::Online)], 1));
        note(&map, say(NodeState::Offline, None));
        assert_eq!(seen(&map), (vec![("https://127.0.0.1:9201".to_owned(), NodeState::Offline)], 0));
        note(&map, say(NodeState::Draining, Some("https://127.0.0.1:9301")));
        assert_eq!(seen(&map), (vec![("https://127.0.0.1:9301".to_owned(), NodeState::Draining)], 1));
    }
}
