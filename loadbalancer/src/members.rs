//! The nodes behind the balancer: the view of the cluster, with each node's address resolved. Broadcast nodes answer viewers, and control
//! nodes requests of the API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster::placement::{self, Viewer};
use cluster::seats::{SeatId, Seats};
use cluster::{Health, Probe};
use media::NodeId;
use messages::{Presence, Role};
use node::CancellationToken;
use node::clock::Clock;
use node::cluster_view::{ClusterView, Malformed, Topics, Update};
use node::ops::ReadyFlag;
use tokio::task::JoinSet;

use crate::connect_limits::ConnectLimits;
use crate::node_connections::NodeConnections;
use crate::target::Target;

/// Longest wait for a node's name to resolve: shorter than the interval of presences, so that at most one look-up of a node is under way.
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Look-ups at once; a node that is left out publishes its address again in 2 s.
const LOOK_UPS_MAX: usize = 64;

struct Resolved {
    role: Role,
    url: String,
    address: SocketAddr,
    limits: ConnectLimits,
    connections: Arc<NodeConnections>,
}

impl Resolved {
    fn target(&self, node: &NodeId) -> Target {
        Target {
            node: node.clone(),
            role: self.role,
            address: self.address,
            limits: self.limits.clone(),
            connections: self.connections.clone(),
        }
    }
}

/// Which nodes a request may be sent to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Among {
    /// Any node: one without the stream pulls it.
    #[default]
    All,
    /// Nodes that own the stream.
    Owners,
}

/// The broadcast nodes, shared by all requests. No lock is held across an await.
pub(crate) struct Members {
    cluster: ClusterView,
    /// Addresses of nodes in the view. Where both are locked, the view is locked first.
    resolved: Mutex<BTreeMap<NodeId, Resolved>>,
    /// Addresses of control nodes, for requests of the API.
    controls: Mutex<BTreeMap<NodeId, Resolved>>,
    /// The control node that leads, as another one has said.
    leader: Mutex<Option<NodeId>>,
    /// Seats of viewers without a token.
    seats: Mutex<Seats>,
    clock: Clock,
}

impl Members {
    pub(crate) fn new(clock: Clock) -> Self {
        let (resolved, controls) = (Mutex::default(), Mutex::default());
        let (leader, seats) = (Mutex::default(), Mutex::default());
        Self { cluster: ClusterView::new(clock), resolved, controls, leader, seats, clock }
    }

    /// The view of the cluster.
    pub(crate) const fn cluster(&self) -> &ClusterView {
        &self.cluster
    }

    /// Cuts the connections to nodes that the view does not have any more.
    pub(crate) fn cut_revoked(&self) {
        self.cluster.look(|cluster| {
            let stays = |node: &NodeId, there: &mut Resolved| {
                let is_there = cluster.members.get(node).is_some();
                if !is_there {
                    there.connections.cut();
                }
                is_there
            };
            self.resolved().retain(stays);
            self.controls().retain(stays);
        });
    }

    fn controls(&self) -> MutexGuard<'_, BTreeMap<NodeId, Resolved>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which control node leads, as one that does not has said; `None` when that one knows of none.
    pub(crate) fn leads(&self, node: Option<NodeId>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }

    /// A control node that has not been tried yet: the one that leads, or else one that is online, comes first.
    pub(crate) fn control(&self, tried: &[NodeId]) -> Option<Target> {
        self.cluster.look(|cluster| {
            let controls = self.controls();
            let is_online =
                |node: &NodeId| cluster.members.get(node).is_some_and(|m| cluster.health(m) == Health::Online);
            let left = || controls.iter().filter(move |(node, _)| !tried.contains(node));
            let leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let leads = |node: &NodeId| leader.as_ref() == Some(node) && is_online(node);
            let found = left().find(|(node, _)| leads(node)).or_else(|| left().find(|(node, _)| is_online(node)));
            let found = found.or_else(|| left().next());
            found.map(|(node, there)| there.target(node))
        })
    }

    /// Whether a control node is online that has not been tried yet.
    pub(crate) fn has_control(&self, tried: &[NodeId]) -> bool {
        self.cluster.look(|cluster| {
            let is_online =
                |node: &NodeId| cluster.members.get(node).is_some_and(|m| cluster.health(m) == Health::Online);
            self.controls().keys().any(|node| !tried.contains(node) && is_online(node))
        })
    }

    fn resolved(&self) -> MutexGuard<'_, BTreeMap<NodeId, Resolved>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The best of the nodes that have not been tried yet for this viewer.
    pub(crate) fn pick(&self, viewer: Viewer<'_>, among: Among, tried: &[NodeId]) -> Option<Target> {
        let owns = |presence: &Presence| viewer.stream.is_some_and(|stream| presence.streams.contains(stream));
        self.cluster.look(|cluster| {
            let resolved = self.resolved();
            let target = |presence: &Presence| Some(resolved.get(&presence.node)?.target(&presence.node));
            if tried.is_empty()
                && among == Among::All
                && let Some(member) = placement::stays(cluster.members, cluster.policy, viewer, cluster.now)
                && let Some(target) = target(&member.presence)
            {
                // Most requests: there is nothing to choose.
                return Some(target);
            }
            placement::candidates(cluster.members, cluster.policy, viewer, cluster.now)
                .into_iter()
                .map(|member| &member.presence)
                .filter(|presence| !tried.contains(&presence.node) && (among == Among::All || owns(presence)))
                .find_map(target)
        })
    }

    /// Whether a viewer who watches on this node stays there.
    pub(crate) fn keeps(&self, node: &NodeId) -> bool {
        let viewer = Viewer { watched_on: Some(node), ..Viewer::default() };
        self.cluster.look(|cluster| placement::stays(cluster.members, cluster.policy, viewer, cluster.now).is_some())
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a connection among those of its address.
    pub(crate) fn join(&self, address: u64) -> Option<SeatId> {
        self.seats().join(address, self.clock.now().elapsed)
    }

    pub(crate) fn leave(&self, seat: SeatId) {
        self.seats().leave(seat, self.clock.now().elapsed);
    }

    pub(crate) fn seat_node(&self, seat: SeatId) -> Option<NodeId> {
        self.seats().node(seat).cloned()
    }

    pub(crate) fn seated(&self, seat: SeatId, node: &NodeId) {
        self.seats().placed(seat, node);
    }

    /// Whether there is nowhere to send another viewer.
    pub(crate) fn is_full(&self) -> bool {
        self.cluster.look(|cluster| placement::is_full(cluster.members, cluster.policy, cluster.now))
    }

    /// The nodes to probe: all that are not offline.
    pub(crate) fn probed_nodes(&self) -> Vec<Target> {
        self.cluster.look(|cluster| {
            let is_there =
                |node: &NodeId| cluster.members.get(node).is_some_and(|m| cluster.health(m) != Health::Offline);
            let resolved = self.resolved();
            let nodes = resolved.iter().filter(|(node, _)| is_there(node));
            nodes.map(|(node, resolved)| resolved.target(node)).collect()
        })
    }

    /// Takes in the result of a probe. A miss of a suspect node cuts all connections to it, so that what waits there goes to others.
    pub(crate) fn probed(&self, target: &Target, probe: Probe) {
        let (is_news, health) = self.cluster.change(|members, now| {
            // An answer at an address where the node no longer is says nothing about it.
            let is_there = self.resolved().get(&target.node).is_some_and(|there| there.address == target.address);
            let is_news = is_there && members.probed(&target.node, probe);
            (is_news, members.get(&target.node).map(|member| members.health(member, now)))
        });
        let node = &target.node;
        match probe {
            Probe::Answered if is_news => tracing::info!(%node, "a broadcast node answers again"),
            Probe::Answered => {}
            Probe::Missed => {
                metrics::counter!("loadbalancer_probes_missed_total", "node" => node.to_string()).increment(1);
                if is_news {
                    tracing::warn!(%node, "a broadcast node has fallen silent");
                }
                if health == Some(Health::Suspect) {
                    target.connections.cut();
                }
            }
        }
    }

    /// Notes that a request failed before the node answered: others go first until it is heard again. Returns whether it was online
    /// before.
    pub(crate) fn failed(&self, node: &NodeId) -> bool {
        self.cluster.change(|members, now| {
            let was_well = members.get(node).is_some_and(|member| members.health(member, now) == Health::Online);
            members.failed(node, now);
            was_well
        })
    }

    fn found(&self, (node, role): (NodeId, Role), url: String, address: SocketAddr) {
        let connections = Arc::new(NodeConnections::new(self.clock));
        let resolved = Resolved { role, url, address, limits: ConnectLimits::default(), connections };
        let mut nodes = if role == Role::Control { self.controls() } else { self.resolved() };
        nodes.insert(node, resolved);
    }

    fn any_online(&self) -> bool {
        self.cluster.look(|cluster| {
            let resolved = self.resolved();
            cluster.members.online(Role::Broadcast, cluster.now).any(|m| resolved.contains_key(&m.presence.node))
        })
    }

    /// Takes in what a broadcast or control node says of itself. Returns its URL when its address is not known yet.
    fn heard(&self, presence: Presence, is_news: bool) -> Option<((NodeId, Role), String)> {
        let Presence { node, role, https, data, state, .. } = presence;
        let known = self.cluster.look(|cluster| {
            let mut nodes = if role == Role::Control { self.controls() } else { self.resolved() };
            nodes.retain(|node, _| cluster.members.get(node).is_some());
            nodes.get(&node).map(|there| there.url.clone())
        });
        if is_news {
            tracing::info!(%node, %role, ?state, "node");
        }
        let url = if role == Role::Control { data } else { https };
        // A node that was restarted may be behind another address under the same name.
        url.filter(|url| is_news || known.as_ref() != Some(url)).map(|url| ((node, role), url))
    }

    /// What `/status` shows.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.cluster.look(|cluster| {
            let nodes = cluster.members.members().filter(|m| m.presence.role == Role::Broadcast).map(|member| {
                let health = cluster.health(member).label();
                serde_json::json!({ "node": member.presence.node, "health": health, "load": member.presence.load,
                    "headroom": placement::headroom(&member.presence.load) })
            });
            serde_json::json!({ "broadcast": nodes.collect::<Vec<_>>(), "policy": cluster.policy.version })
        })
    }
}

/// Follows the cluster until `shutdown`. `ready` is set while some broadcast node can be used.
pub(crate) async fn follow(
    members: Arc<Members>,
    node: node::Context,
    ready: ReadyFlag,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut updates = members.cluster.subscribe(&node, Topics::NodesAndPolicy).await?;
    // Names are looked up beside the loop: one that hangs must not make the other nodes look stale.
    let mut look_ups = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(update) = updates.next() => match update {
                // Nodes of other roles answer nothing.
                Update::Presence { presence, is_news } if matches!(presence.role, Role::Broadcast | Role::Control) => {
                    let unknown = members.heard(*presence, is_news).filter(|_| look_ups.len() < LOOK_UPS_MAX);
                    if let Some((id, url)) = unknown {
                        look_ups.spawn(async move { (resolve(&url).await, id, url) });
                    }
                }
                Update::Malformed(what) => count_malformed(what),
                Update::Presence { .. } | Update::Policy(_) | Update::Unchanged => {}
            },
            Some(Ok((address, id, url))) = look_ups.join_next() => match address {
                Some(address) => members.found(id, url, address),
                None => tracing::warn!(node = %id.0, url, "the address of a node does not resolve"),
            },
            () = members.cluster.until_health_changes() => {}
        }
        ready.set(members.any_online());
    }
}

fn count_malformed(what: Malformed) {
    match what {
        Malformed::Topic | Malformed::Presence => {
            metrics::counter!("loadbalancer_presence_malformed_total").increment(1);
        }
        Malformed::Policy => metrics::counter!("loadbalancer_policy_malformed_total").increment(1),
    }
}

/// The first address behind `https://HOST:PORT`; none when the name does not resolve in time.
async fn resolve(url: &str) -> Option<SocketAddr> {
    let authority = url.strip_prefix("https://")?.trim_end_matches('/');
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(authority)).await.ok()?.ok()?;
    found.into_iter().next()
}
