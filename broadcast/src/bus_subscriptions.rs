//! Bus messages other than those of followed streams: grants, revocations, presence, policy, sessions. What cannot be parsed is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use bus::{Message, Subscription};
use cluster::policy::PolicyInForce;
use cluster::{Health, Membership};
use media::NodeId;
use messages::{Policy, Presence, Role, SessionInfo, SessionState, Topic};
use node::Context;
use tokio_util::sync::CancellationToken;

use crate::actor::{Board, Handle};
use crate::direct::Neighbours;
use crate::follow::{Follower, subscribe};
use crate::peers::Addresses;
use gate::Input;
use gate::limits::{HEADS_MAX, PEERS_MAX};

/// How often the node looks whether peers have fallen silent, and whether streams are not asked for any more.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions that are remembered, to list what this node does not hold.
const SESSIONS_MAX: usize = HEADS_MAX;

/// The subscriptions of a broadcast node that last as long as it does.
pub(crate) struct BusSubscriptions {
    keys: Subscription,
    nodes: Subscription,
    policy: Subscription,
    sessions: Subscription,
}

/// Passes on what the subscriptions deliver.
pub(crate) struct Listener {
    pub(crate) context: Context,
    pub(crate) handle: Handle,
    pub(crate) addresses: Addresses,
    pub(crate) sessions: Arc<Board<SessionInfo>>,
    pub(crate) follower: Follower,
    /// The operator has drained this node.
    pub(crate) draining: Arc<AtomicBool>,
    /// Whether a message came by the bus since the start.
    pub(crate) has_heard: Arc<AtomicBool>,
    pub(crate) view: Membership,
    pub(crate) policy: PolicyInForce,
    pub(crate) told: Vec<NodeId>,
    /// Where browsers reach the nodes, this one included.
    pub(crate) neighbours: Neighbours,
}

impl BusSubscriptions {
    /// Subscribes. Works while no broker is there.
    pub(crate) async fn open(context: &Context) -> Result<Self> {
        Ok(Self {
            keys: subscribe(context, "keys/#").await?,
            nodes: subscribe(context, "nodes/+").await?,
            policy: subscribe(context, "policy").await?,
            sessions: subscribe(context, "streams/+/session").await?,
        })
    }
}

impl Listener {
    /// Runs until `shutdown`, or until the bus or the gate is gone. Keys come first, because seals rest on them.
    pub(crate) async fn run(mut self, mut ears: BusSubscriptions, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        loop {
            let heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                message = ears.keys.recv() => message,
                message = ears.nodes.recv() => message,
                message = ears.policy.recv() => message,
                message = ears.sessions.recv() => message,
                () = self.follower.heed() => continue,
                _ = ticks.tick() => {
                    self.tell_peers().await;
                    self.follower.tick().await;
                    self.handle.interrupted().tick(self.context.clock.elapsed());
                    continue;
                }
            };
            let Some(message) = heard else { return };
            self.has_heard.store(true, Ordering::Relaxed);
            let Some(input) = self.hear(message).await else { continue };
            if self.handle.send(input).await.is_err() {
                return;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Option<Input> {
        let Ok(topic) = self.context.prefix.parse(&message.topic) else {
            return Some(Input::Garbage("a topic of ours"));
        };
        let raw = message.payload;
        match topic {
            // An empty payload clears a retained message.
            _ if raw.is_empty() => None,
            Topic::Key(_) => Some(Input::Grant(raw)),
            Topic::Revoked => Some(Input::Revocations(raw)),
            Topic::Policy => match serde_json::from_slice::<Policy>(&raw) {
                Ok(policy) => {
                    self.policy(policy);
                    None
                }
                Err(_) => Some(Input::Garbage("the policy")),
            },
            Topic::Session(stream) => match serde_json::from_slice::<SessionInfo>(&raw) {
                Ok(session) if session.stream == stream => {
                    self.session(session).await;
                    None
                }
                _ => Some(Input::Garbage("the session of its stream")),
            },
            Topic::Node(node) => match serde_json::from_slice::<Presence>(&raw) {
                Ok(presence) if presence.node == node => {
                    self.presence(presence).await;
                    None
                }
                _ => Some(Input::Garbage("the presence of its node")),
            },
            _ => None,
        }
    }

    async fn session(&mut self, session: SessionInfo) {
        self.follower.session(&session).await;
        // An older session never replaces a newer one: brokers repeat what they retain.
        let known = self.sessions.get(&session.stream);
        if known.as_ref().is_some_and(|known| known.epoch > session.epoch) {
            return;
        }
        let is_gone = session.state == SessionState::Ended && self.handle.views().get(&session.stream).is_none();
        if is_gone {
            self.sessions.remove(&session.stream);
        } else {
            self.sessions.set(session.stream.clone(), session, SESSIONS_MAX);
        }
    }

    async fn presence(&mut self, presence: Presence) {
        if presence.node != self.context.id {
            self.handle.interrupted().are_elsewhere(presence.streams.iter().chain(&presence.edges));
        }
        self.view.heard(presence, self.context.clock.now());
        self.tell_peers().await;
    }

    /// The last policy about this node stands, even when nobody publishes it any more.
    fn policy(&mut self, policy: Policy) {
        let is_drained = policy.drained.contains(&self.context.id);
        if self.policy.heard(policy, self.context.clock.now())
            && self.draining.swap(is_drained, Ordering::Relaxed) != is_drained
        {
            tracing::info!(node = %self.context.id, is_drained, "the operator's policy changed whether this node drains");
        }
    }

    /// Tells the gate which peers are there, when that changed.
    async fn tell_peers(&mut self) {
        let now = self.context.clock.now();
        self.view.expire(now);
        self.neighbours.follow(&self.view, now);
        let peers = self.view.members().filter(|member| {
            let presence = &member.presence;
            let is_peer = presence.role == Role::Broadcast && presence.node != self.context.id;
            is_peer && self.view.health(member, now) != Health::Offline
        });
        let reachable = peers.filter_map(|member| {
            let url = member.presence.data.clone().filter(|url| url.starts_with("https://"))?;
            Some((member.presence.node.clone(), url))
        });
        let peers: BTreeMap<NodeId, String> = reachable.take(PEERS_MAX).collect();
        let nodes: Vec<NodeId> = peers.keys().cloned().collect();
        self.addresses.set(peers);
        if nodes != self.told {
            self.told.clone_from(&nodes);
            // The gate is gone only when the node stops.
            let _ = self.handle.send(Input::Peers(nodes)).await;
        }
    }
}
