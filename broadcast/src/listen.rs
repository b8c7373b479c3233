//! What the node hears on the bus: grants, presence, sessions, seals. Anything else is counted and forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use media::NodeId;
use messages::{NodeState, Presence, Role, SessionInfo, SessionState, Topic};
use node::Context;
use node::bus::{Message, Subscription};
use tokio_util::sync::CancellationToken;

use crate::actor::{Board, Handle};
use crate::direct::{Directory, Neighbours};
use crate::gate::limits::{PEERS_MAX, STREAMS_MAX};
use crate::gate::{Input, Source};
use crate::peers::Addresses;

/// How often it is looked whether peers have fallen silent.
const PEERS_INTERVAL: Duration = Duration::from_secs(2);
/// Sessions that are remembered for display: those of the streams held, and as many again.
const SESSIONS_MAX: usize = 2 * STREAMS_MAX;

/// The subscriptions of a broadcast node.
pub(crate) struct Ears {
    keys: Subscription,
    nodes: Subscription,
    sessions: Subscription,
    heads: Subscription,
    seals: Subscription,
}

/// Where what is heard goes.
pub(crate) struct Listener {
    pub(crate) context: Context,
    pub(crate) handle: Handle,
    pub(crate) addresses: Addresses,
    pub(crate) sessions: Arc<Board<SessionInfo>>,
    peers: BTreeMap<NodeId, (String, Duration)>,
    told: Vec<NodeId>,
    directory: Directory,
}

impl Ears {
    /// Subscribes. Works while no broker is there.
    pub(crate) async fn open(context: &Context) -> Result<Self> {
        let subscribe = async |rest: &str| {
            let filter = context.prefix.filter(rest);
            context.bus.subscribe(&filter).await.with_context(|| format!("cannot subscribe to {filter}"))
        };
        Ok(Self {
            keys: subscribe("keys/#").await?,
            nodes: subscribe("nodes/+").await?,
            sessions: subscribe("streams/+/session").await?,
            heads: subscribe("streams/+/head").await?,
            seals: subscribe("streams/+/seals").await?,
        })
    }
}

impl Listener {
    pub(crate) fn new(
        context: Context,
        handle: Handle,
        addresses: Addresses,
        sessions: Arc<Board<SessionInfo>>,
        neighbours: Neighbours,
    ) -> Self {
        let directory = Directory::new(neighbours);
        Self { context, handle, addresses, sessions, peers: BTreeMap::new(), told: Vec::new(), directory }
    }

    /// Hears until `shutdown`, or until the bus or the gate is gone. What others rest on comes first: keys before seals.
    pub(crate) async fn run(mut self, mut ears: Ears, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(PEERS_INTERVAL);
        loop {
            let heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                message = ears.keys.recv() => message,
                message = ears.nodes.recv() => message,
                message = ears.sessions.recv() => message,
                message = ears.heads.recv() => message,
                message = ears.seals.recv() => message,
                _ = ticks.tick() => {
                    self.tell_peers().await;
                    continue;
                }
            };
            let Some(message) = heard else { return };
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
            // Empty: the broker forgets what it had retained.
            _ if raw.is_empty() => None,
            Topic::Key(_) => Some(Input::Grant(raw)),
            Topic::Revoked => Some(Input::Revocations(raw)),
            Topic::Seals(stream) => Some(Input::Seal { stream, raw, source: Source::Bus }),
            Topic::Head(stream) => Some(Input::Seal { stream, raw, source: Source::Head }),
            Topic::Session(stream) => match serde_json::from_slice::<SessionInfo>(&raw) {
                Ok(session) if session.stream == stream => {
                    self.session(session);
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

    fn session(&self, session: SessionInfo) {
        // An older session never replaces a newer one: brokers repeat what they keep.
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
        self.directory.heard(&presence, self.context.clock.elapsed());
        if presence.role != Role::Broadcast || presence.node == self.context.id {
            return;
        }
        let is_there = presence.state != NodeState::Offline;
        match presence.data.filter(|url| is_there && url.starts_with("https://")) {
            Some(url) if self.peers.contains_key(&presence.node) || self.peers.len() < PEERS_MAX => {
                self.peers.insert(presence.node, (url, self.context.clock.elapsed()));
            }
            Some(_) => return,
            None => _ = self.peers.remove(&presence.node),
        }
        self.tell_peers().await;
    }

    /// Tells the gate who is there, when that changed.
    async fn tell_peers(&mut self) {
        let now = self.context.clock.elapsed();
        self.directory.expire(now);
        self.peers.retain(|_, (_, heard)| *heard + node::presence::STALE_AFTER > now);
        self.addresses.set(self.peers.iter().map(|(node, (url, _))| (node.clone(), url.clone())).collect());
        let nodes: Vec<NodeId> = self.peers.keys().cloned().collect();
        if nodes != self.told {
            self.told.clone_from(&nodes);
            // The gate is gone only when the node stops.
            let _ = self.handle.send(Input::Peers(nodes)).await;
        }
    }
}
