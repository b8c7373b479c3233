//! The broadcast nodes behind the balancer: the cluster's view, kept from the bus, with each node's address resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::placement::{self, Viewer};
use cluster::{Health, Membership};
use media::NodeId;
use messages::{Policy, Presence, Role, Topic};
use node::CancellationToken;
use node::bus::Message;
use node::clock::Clock;
use node::ops::ReadyFlag;
use tokio::task::JoinSet;

use crate::upstream::Door;

/// Longest wait for a node's name to resolve: less than a presence, so that at most one look-up of a node is under way.
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Look-ups at once; a node that is passed over says its address again in 2 s.
const LOOK_UPS_MAX: usize = 64;

/// A broadcast node that a request can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) door: Door,
}

struct Place {
    url: String,
    address: SocketAddr,
    door: Door,
}

#[derive(Default)]
struct State {
    view: Membership,
    places: BTreeMap<NodeId, Place>,
    policy: Policy,
}

/// The view, shared by all requests. The lock is held for one selection, never across an await.
pub(crate) struct Members {
    state: Mutex<State>,
    clock: Clock,
}

impl Members {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { state: Mutex::default(), clock }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The best node for a viewer that has not been tried yet.
    pub(crate) fn pick(&self, viewer: Viewer<'_>, tried: &[NodeId]) -> Option<Target> {
        let now = self.clock.now();
        self.with(|state| {
            placement::candidates(&state.view, &state.policy, viewer, now)
                .into_iter()
                .map(|member| &member.presence.node)
                .filter(|node| !tried.contains(node))
                .find_map(|node| {
                    let Place { address, door, .. } = state.places.get(node)?;
                    Some(Target { node: node.clone(), address: *address, door: door.clone() })
                })
        })
    }

    /// A request to the node failed before it answered: others go first until it speaks again. Says whether that is news.
    pub(crate) fn failed(&self, node: &NodeId) -> bool {
        let now = self.clock.now();
        self.with(|state| {
            let was_well = state.view.get(node).is_some_and(|member| state.view.health(member, now) == Health::Online);
            state.view.failed(node, now);
            was_well
        })
    }

    fn any_online(&self) -> bool {
        let now = self.clock.now();
        self.with(|state| state.view.online(Role::Broadcast, now).any(|m| state.places.contains_key(&m.presence.node)))
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
                serde_json::json!({ "node": member.presence.node, "health": health, "load": member.presence.load })
            });
            serde_json::json!({ "broadcast": nodes.collect::<Vec<_>>(), "policy": state.policy.version })
        })
    }
}

/// Keeps the view from the bus until `shutdown`. `ready` is set while some broadcast node can be used.
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
                Some(address) => members.with(|state| drop(state.places.insert(id, Place { url, address, door: Door::default() }))),
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
        // Of no use to viewers, but a sign that the bus carries anything.
        members.with(|all| all.view.heard(presence, node.clock.now()));
        return None;
    }
    let (id, url, state) = (presence.node.clone(), presence.https.clone(), presence.state);
    let (changed, known) = members.with(|all| {
        let changed = all.view.heard(presence, node.clock.now());
        let State { view, places, .. } = all;
        places.retain(|node, _| view.get(node).is_some());
        (changed, places.get(&id).map(|place| place.url.clone()))
    });
    if changed {
        tracing::info!(node = %id, ?state, "broadcast node");
    }
    url.filter(|url| known.as_ref() != Some(url)).map(|url| (id, url))
}

/// The address behind `https://HOST:PORT`.
async fn resolve(url: &str) -> Option<SocketAddr> {
    let authority = url.strip_prefix("https://")?.trim_end_matches('/');
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(authority)).await.ok()?.ok()?;
    found.into_iter().next()
}

fn policy(members: &Members, message: &Message) {
    match serde_json::from_slice::<Policy>(&message.payload) {
        Ok(policy) => members.with(|state| {
            if policy.version >= state.policy.version {
                state.policy = policy;
            }
        }),
        Err(_) => metrics::counter!("loadbalancer_policy_malformed_total").increment(1),
    }
}
