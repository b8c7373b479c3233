//! The broadcast nodes behind the balancer: the view of the cluster that the bus gives, with each node's address resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Message;
use cluster::placement::{self, Viewer};
use cluster::seats::{SeatId, Seats};
use cluster::{Health, Membership, Probe, policy};
use media::NodeId;
use messages::{Policy, Presence, Role, Topic};
use node::CancellationToken;
use node::clock::Clock;
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
    url: String,
    address: SocketAddr,
    limits: ConnectLimits,
    connections: Arc<NodeConnections>,
}

impl Resolved {
    fn target(&self, node: &NodeId) -> Target {
        Target {
            node: node.clone(),
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

#[derive(Default)]
struct State {
    view: Membership,
    resolved: BTreeMap<NodeId, Resolved>,
    policy: policy::PolicyInForce,
}

/// The view, shared by all requests. The lock is held for one selection, never across an await.
pub(crate) struct Members {
    state: Mutex<State>,
    /// Seats of viewers without a token.
    seats: Mutex<Seats>,
    clock: Clock,
}

impl Members {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { state: Mutex::default(), seats: Mutex::default(), clock }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The best of the nodes that have not been tried yet for this viewer.
    pub(crate) fn pick(&self, viewer: Viewer<'_>, among: Among, tried: &[NodeId]) -> Option<Target> {
        let now = self.clock.now();
        let owns = |presence: &Presence| viewer.stream.is_some_and(|stream| presence.streams.contains(stream));
        self.with(|state| {
            placement::candidates(&state.view, state.policy.policy(now), viewer, now)
                .into_iter()
                .map(|member| &member.presence)
                .filter(|presence| !tried.contains(&presence.node) && (among == Among::All || owns(presence)))
                .find_map(|presence| Some(state.resolved.get(&presence.node)?.target(&presence.node)))
        })
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
        let now = self.clock.now();
        self.with(|state| placement::is_full(&state.view, state.policy.policy(now), now))
    }

    /// The nodes to probe: all that are not offline.
    pub(crate) fn probed_nodes(&self) -> Vec<Target> {
        let now = self.clock.now();
        self.with(|state| {
            let is_there =
                |node: &NodeId| state.view.get(node).is_some_and(|m| state.view.health(m, now) != Health::Offline);
            let nodes = state.resolved.iter().filter(|(node, _)| is_there(node));
            nodes.map(|(node, resolved)| resolved.target(node)).collect()
        })
    }

    /// Takes in the result of a probe. A miss of a suspect node cuts all connections to it, so that what waits there goes to others.
    pub(crate) fn probed(&self, target: &Target, probe: Probe) {
        let now = self.clock.now();
        let (is_news, health) = self.with(|state| {
            // An answer at an address where the node no longer is says nothing about it.
            let is_there = state.resolved.get(&target.node).is_some_and(|resolved| resolved.address == target.address);
            let is_news = is_there && state.view.probed(&target.node, probe);
            (is_news, state.view.get(&target.node).map(|member| state.view.health(member, now)))
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
        let now = self.clock.now();
        self.with(|state| {
            let was_well = state.view.get(node).is_some_and(|member| state.view.health(member, now) == Health::Online);
            state.view.failed(node, now);
            was_well
        })
    }

    fn found(&self, node: NodeId, url: String, address: SocketAddr) {
        let connections = Arc::new(NodeConnections::new(self.clock));
        let resolved = Resolved { url, address, limits: ConnectLimits::default(), connections };
        self.with(|state| state.resolved.insert(node, resolved));
    }

    fn any_online(&self) -> bool {
        let now = self.clock.now();
        self.with(|state| {
            state.view.online(Role::Broadcast, now).any(|m| state.resolved.contains_key(&m.presence.node))
        })
    }

    /// What `/status` shows.
    pub(crate) fn status(&self) -> serde_json::Value {
        let now = self.clock.now();
        self.with(|state| {
            let nodes = state.view.members().filter(|m| m.presence.role == Role::Broadcast).map(|member| {
                let health = match state.view.health(member, now) {
                    Health::Online => "online",
                    Health::Draining => "draining",
                    Health::Suspect => "suspect",
                    Health::Offline => "offline",
                };
                serde_json::json!({ "node": member.presence.node, "health": health, "load": member.presence.load,
                    "headroom": placement::headroom(&member.presence.load) })
            });
            serde_json::json!({ "broadcast": nodes.collect::<Vec<_>>(), "policy": state.policy.policy(now).version })
        })
    }
}

/// Updates the view from the bus until `shutdown`. `ready` is set while some broadcast node can be used.
pub(crate) async fn follow(
    members: Arc<Members>,
    node: node::Context,
    ready: ReadyFlag,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut presences = node.bus.subscribe(&node.prefix.filter("nodes/+")).await?;
    let mut policies = node.bus.subscribe(&node.prefix.filter("policy")).await?;
    // Names are looked up beside the loop: one that hangs must not make the other nodes look stale.
    let mut look_ups = JoinSet::new();
    loop {
        let deadline = members.with(|state| state.view.next_deadline(node.clock.now()));
        let expiry = async {
            match deadline {
                Some(elapsed) => tokio::time::sleep_until(node.clock.instant(elapsed)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(message) = presences.recv() => {
                if let Some((id, url)) = heard(&members, &node, &message).filter(|_| look_ups.len() < LOOK_UPS_MAX) {
                    look_ups.spawn(async move { (resolve(&url).await, id, url) });
                }
            }
            Some(Ok((address, id, url))) = look_ups.join_next() => match address {
                Some(address) => members.found(id, url, address),
                None => tracing::warn!(node = %id, url, "the address of a broadcast node does not resolve"),
            },
            Some(message) = policies.recv() => policy(&members, &message),
            () = expiry => {}
        }
        members.with(|state| state.view.expire(node.clock.now()));
        ready.set(members.any_online());
    }
}

/// Takes in a presence. Returns a node and its URL when its address is not known yet.
fn heard(members: &Members, node: &node::Context, message: &Message) -> Option<(NodeId, String)> {
    let presence = match (node.prefix.parse(&message.topic), serde_json::from_slice::<Presence>(&message.payload)) {
        // A node speaks for itself only, whatever the broker let through.
        (Ok(Topic::Node(topic)), Ok(presence)) if presence.node == topic => presence,
        _ => {
            metrics::counter!("loadbalancer_presence_malformed_total").increment(1);
            return None;
        }
    };
    if presence.role != Role::Broadcast {
        // Of no use to viewers, but a sign that the bus works.
        members.with(|all| all.view.heard(presence, node.clock.now()));
        return None;
    }
    let (id, url, state) = (presence.node.clone(), presence.https.clone(), presence.state);
    let (changed, known) = members.with(|all| {
        let changed = all.view.heard(presence, node.clock.now());
        let State { view, resolved, .. } = all;
        resolved.retain(|node, _| view.get(node).is_some());
        (changed, resolved.get(&id).map(|node| node.url.clone()))
    });
    if changed {
        tracing::info!(node = %id, ?state, "broadcast node");
    }
    // A node that was restarted may be behind another address under the same name.
    url.filter(|url| changed || known.as_ref() != Some(url)).map(|url| (id, url))
}

/// The address behind `https://HOST:PORT`.
async fn resolve(url: &str) -> Option<SocketAddr> {
    let authority = url.strip_prefix("https://")?.trim_end_matches('/');
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(authority)).await.ok()?.ok()?;
    found.into_iter().next()
}

fn policy(members: &Members, message: &Message) {
    match serde_json::from_slice::<Policy>(&message.payload) {
        Ok(policy) => _ = members.with(|state| state.policy.heard(policy, members.clock.now())),
        Err(_) => metrics::counter!("loadbalancer_policy_malformed_total").increment(1),
    }
}
