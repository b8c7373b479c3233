//! Follows the nodes of the cluster by their presence on the bus, to know where to push. A presence is a claim: connections to a node
//! are bound to its name and role. Only the configuration says where control is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bus::Message;
use cluster::Membership;
use cluster::owners::Replicas;
use cluster::policy::PolicyInForce;
use cluster::replicas::{Owned, Placed};
use media::{NodeId, StreamId, UnixMillis};
use messages::{NodeState, Policy, Presence, Role, Topic};
use node::CancellationToken;
use node::clock::Clock;
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
    /// Held for one look, never across an await.
    cluster: Arc<Mutex<Cluster>>,
    clock: Clock,
}

/// The view and the policy that owners are chosen by.
#[derive(Debug, Default)]
struct Cluster {
    view: Membership,
    policy: PolicyInForce,
}

impl Nodes {
    /// Listens to presence and policy until `shutdown`.
    pub(crate) async fn start(context: &node::Context, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let mut presences = context.bus.subscribe(&context.prefix.filter("nodes/+")).await?;
        let mut policies = context.bus.subscribe(&context.prefix.filter("policy")).await?;
        let broadcast = watch::Sender::new(Map::default());
        let clock = context.clock;
        let cluster = Arc::<Mutex<Cluster>>::default();
        let nodes = Self { broadcast: broadcast.subscribe(), cluster, clock };
        let (prefix, heard) = (context.prefix.clone(), nodes.clone());
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    () = shutdown.cancelled() => return,
                    message = presences.recv() => message,
                    message = policies.recv() => message,
                };
                let Some(message) = message else { return };
                let Ok(topic) = prefix.parse(&message.topic) else { continue };
                let Some(presence) = heard.hear(&topic, &message) else { continue };
                if presence.role == Role::Broadcast {
                    note(&broadcast, presence);
                }
            }
        });
        Ok(nodes)
    }

    /// Takes a message into the view of the cluster. Returns the presence if the message is one that the view has accepted.
    fn hear(&self, topic: &Topic, message: &Message) -> Option<Presence> {
        let now = self.clock.now();
        match topic {
            Topic::Policy => {
                let policy: Policy = serde_json::from_slice(&message.payload).ok()?;
                self.with(|cluster| cluster.policy.heard(policy, now));
                None
            }
            Topic::Node(node) => {
                let presence: Presence = serde_json::from_slice(&message.payload).ok()?;
                // A node speaks for itself only, whatever the broker let through.
                if presence.node != *node {
                    return None;
                }
                // The last will of a process that was replaced meanwhile says nothing about its successor.
                let is_taken = self.with(|cluster| {
                    cluster.view.heard(presence.clone(), now);
                    cluster.view.expire(now);
                    let known =
                        cluster.view.get(node).map(|member| (member.presence.started_at, member.presence.state));
                    known == Some((presence.started_at, presence.state))
                });
                is_taken.then_some(presence)
            }
            _ => None,
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Cluster) -> T) -> T {
        look(&mut self.cluster.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides which nodes a stream is pushed to from now on.
    pub(crate) fn place(&self, owned: &mut Owned, stream: &StreamId, replicas: Replicas) -> Placed {
        let now = self.clock.now();
        self.with(|cluster| owned.decide((&cluster.view, cluster.policy.policy(now)), stream, replicas, now))
    }

    /// When an ingest was started; `None` when it is not online, as far as the bus says.
    pub(crate) fn ingest_started_at(&self, id: &NodeId) -> Option<UnixMillis> {
        let now = self.clock.now();
        self.with(|cluster| {
            cluster.view.expire(now);
            let found = cluster.view.online(Role::Ingest, now).find(|member| member.presence.node == *id);
            found.map(|member| member.presence.started_at)
        })
    }

    /// Rank of an ingest, by name, among all that were seen in whatever state, itself included; and their number.
    pub(crate) fn rank_of_ingest(&self, id: &NodeId) -> (u64, u64) {
        self.with(|cluster| {
            let ingests = || cluster.view.members().filter(|member| member.presence.role == Role::Ingest);
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
