//! Bus messages other than those of followed streams: sessions, and what the view of the cluster learns from
//! presences and the policy. The gate counts what cannot be parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bus::{Message, Subscription};
use cluster::Health;
use media::NodeId;
use messages::{Presence, Role, SessionInfo, SessionState, Topic};
use node::Context;
use node::cluster_view::{self, ClusterView, Malformed, Topics, Update};
use replica::Log;
use tokio_util::sync::CancellationToken;

use crate::actor::{Board, Handle};
use crate::direct::Neighbours;
use crate::follow::{Follower, subscribe};
use crate::peers::Addresses;
use crate::viewers::ChatHub;
use gate::Input;
use gate::limits::{HEADS_MAX, PEERS_MAX};

/// How often the node looks whether peers have fallen silent, and whether streams are not asked for any more.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions that are remembered, to list what this node does not hold.
const SESSIONS_MAX: usize = HEADS_MAX;

/// The subscriptions of a broadcast node that last as long as it does.
pub(crate) struct BusSubscriptions {
    cluster: cluster_view::Subscription,
    sessions: Subscription,
    chats: Subscription,
}

/// What a subscription delivers.
enum Heard {
    Message(Message),
    Cluster(Update),
}

/// What the node learns from the bus, for its other parts. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct FromBus {
    /// Where the peers' data planes are.
    pub(crate) addresses: Addresses,
    /// Sessions of streams, for display only.
    pub(crate) sessions: Arc<Board<SessionInfo>>,
    /// Where browsers reach the nodes, this one included.
    pub(crate) neighbours: Neighbours,
    /// Whether the operator has drained this node.
    pub(crate) draining: Arc<AtomicBool>,
    /// Whether a message came by the bus since the start.
    pub(crate) has_heard: Arc<AtomicBool>,
}

impl FromBus {
    /// Takes from the policy in force whether this node is drained.
    pub(crate) fn note_policy(&self, node: &NodeId, cluster: &ClusterView) {
        let is_drained = cluster.look(|cluster| cluster.policy.drained.contains(node));
        if self.draining.swap(is_drained, Ordering::Relaxed) != is_drained {
            tracing::info!(%node, is_drained, "the operator's policy changed whether this node drains");
        }
    }
}

/// Passes on what the subscriptions deliver.
pub(crate) struct Listener {
    pub(crate) context: Context,
    pub(crate) handle: Handle,
    pub(crate) follower: Follower,
    pub(crate) cluster: ClusterView,
    pub(crate) log: Arc<Log>,
    pub(crate) from_bus: FromBus,
    pub(crate) chat: Arc<ChatHub>,
    /// The peers that the gate was told of last.
    pub(crate) told: Vec<NodeId>,
}

impl BusSubscriptions {
    /// Subscribes, for the view of the cluster too. Works while no broker is there.
    pub(crate) async fn open(context: &Context, cluster: &ClusterView) -> Result<Self> {
        Ok(Self {
            cluster: cluster
                .subscribe(context, Topics::NodesAndPolicy)
                .await
                .context("cannot subscribe to presences and the policy")?,
            sessions: subscribe(context, "streams/+/session").await?,
            chats: subscribe(context, "streams/+/chat").await?,
        })
    }
}

impl Listener {
    /// Runs until `shutdown`, or until the bus or the gate is gone. Ready inputs take turns at random, so that a flood on one topic holds
    /// up neither the others nor what viewers ask for.
    pub(crate) async fn run(mut self, mut subscriptions: BusSubscriptions, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        loop {
            if shutdown.is_cancelled() {
                return;
            }
            let heard = tokio::select! {
                () = shutdown.cancelled() => return,
                update = subscriptions.cluster.next() => update.map(Heard::Cluster),
                message = subscriptions.sessions.recv() => message.map(Heard::Message),
                message = subscriptions.chats.recv() => message.map(Heard::Message),
                () = self.follower.heed() => continue,
                _ = ticks.tick() => {
                    self.tell_peers().await;
                    self.note_control();
                    self.follower.tick().await;
                    self.handle.interrupted().tick(self.context.clock.elapsed());
                    continue;
                }
            };
            let Some(heard) = heard else { return };
            self.from_bus.has_heard.store(true, Ordering::Relaxed);
            let input = match heard {
                Heard::Message(message) => self.message(message).await,
                Heard::Cluster(update) => self.update(update).await,
            };
            let Some(input) = input else { continue };
            if self.handle.send(input).await.is_err() {
                return;
            }
        }
    }

    async fn message(&mut self, message: Message) -> Option<Input> {
        let Ok(topic) = self.context.prefix.parse(&message.topic) else {
            return Some(Input::Garbage("a topic of ours"));
        };
        let raw = message.payload;
        match topic {
            // An empty payload clears a retained message.
            _ if raw.is_empty() => None,
            Topic::Session(stream) => match serde_json::from_slice::<SessionInfo>(&raw) {
                Ok(session) if session.stream == stream => {
                    self.session(session).await;
                    None
                }
                _ => Some(Input::Garbage("the session of its stream")),
            },
            Topic::Chat(stream) => match serde_json::from_slice(&raw) {
                Ok(changes) => {
                    self.chat.heard(&stream, changes);
                    None
                }
                Err(_) => Some(Input::Garbage("the chat of its stream")),
            },
            _ => None,
        }
    }

    /// Without control nobody can write in a chat.
    fn note_control(&self) {
        let is_there = self.cluster.look(|cluster| {
            let mut controls = cluster.members.members().filter(|member| member.presence.role == Role::Control);
            controls.any(|member| cluster.health(member) != Health::Offline)
        });
        self.chat.pause(!is_there);
    }

    /// Acts on what a message did to the view of the cluster.
    async fn update(&mut self, update: Update) -> Option<Input> {
        match update {
            Update::Presence { presence, .. } => {
                self.note_control();
                self.presence(&presence).await;
            }
            Update::Policy(_) => self.from_bus.note_policy(&self.context.id, &self.cluster),
            Update::Unchanged => {}
            Update::Malformed(Malformed::Topic) => return Some(Input::Garbage("a topic of ours")),
            Update::Malformed(Malformed::Presence) => return Some(Input::Garbage("the presence of its node")),
            Update::Malformed(Malformed::Policy) => return Some(Input::Garbage("the policy")),
        }
        None
    }

    async fn session(&mut self, session: SessionInfo) {
        // Without a place in the catalogue, a stream takes none here: nobody may publish it.
        let may_exist = self.log.look(|view| view.cluster().is_none() || view.stream(&session.stream).is_some());
        if !may_exist {
            metrics::counter!("broadcast_sessions_unknown_total").increment(1);
            return;
        }
        self.follower.session(&session).await;
        if !self.follower.is_newest(&session) {
            return;
        }
        let is_gone = session.state == SessionState::Ended && self.handle.views().get(&session.stream).is_none();
        if is_gone {
            self.from_bus.sessions.remove(&session.stream);
        } else {
            self.from_bus.sessions.set(session.stream.clone(), session, SESSIONS_MAX);
        }
    }

    async fn presence(&mut self, presence: &Presence) {
        if presence.node != self.context.id {
            self.handle.interrupted().are_elsewhere(presence.streams.iter().chain(&presence.edges));
        }
        self.tell_peers().await;
    }

    /// Tells the gate which peers are there, when that changed.
    async fn tell_peers(&mut self) {
        let peers: BTreeMap<NodeId, String> = self.cluster.look(|cluster| {
            let url_of = |node: &NodeId| self.log.look(|view| view.member(node)?.public_url.clone());
            self.from_bus.neighbours.follow(cluster.members, url_of, cluster.now);
            let peers = cluster.members.members().filter(|member| {
                let presence = &member.presence;
                let is_peer = presence.role == Role::Broadcast && presence.node != self.context.id;
                is_peer && cluster.health(member) != Health::Offline
            });
            let reachable = peers.filter_map(|member| {
                let url = member.presence.data.clone().filter(|url| url.starts_with("https://"))?;
                Some((member.presence.node.clone(), url))
            });
            reachable.take(PEERS_MAX).collect()
        });
        let nodes: Vec<NodeId> = peers.keys().cloned().collect();
        self.from_bus.addresses.set(peers);
        if nodes != self.told {
            self.told.clone_from(&nodes);
            // The gate is gone only when the node stops.
            let _ = self.handle.send(Input::Peers(nodes)).await;
        }
    }
}
