//! What control knows of the cluster by listening: nodes, and the sessions of streams. For display only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cluster::{Health, Membership};
use media::{NodeId, Now, StreamId};
use messages::{Presence, SessionInfo, Topic};
use node::CancellationToken;
use node::bus::Message;

use crate::Shared;

/// Most sessions that are remembered: one for each stream that the catalogue can hold.
const SESSIONS_MAX: usize = 10_000;

/// The view.
#[derive(Default)]
pub(crate) struct View {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Membership,
    sessions: BTreeMap<StreamId, SessionInfo>,
}

/// A node, for display.
#[derive(Debug, serde::Serialize)]
pub(crate) struct NodeInfo {
    health: &'static str,
    /// The operator has drained it.
    pub(crate) drained: bool,
    /// Share of what is scarcest on it that is left, 0 to 1: of its cores, and of its egress where that is configured.
    headroom: f64,
    #[serde(flatten)]
    pub(crate) presence: Presence,
}

impl NodeInfo {
    /// It takes viewers and streams.
    pub(crate) fn is_usable(&self) -> bool {
        self.health == "online" && !self.drained
    }
}

impl View {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn session(&self, stream: &StreamId) -> Option<SessionInfo> {
        self.with(|state| state.sessions.get(stream).cloned())
    }

    /// All nodes, by name; `drained` says of which the operator wants nothing new.
    /// How many of the nodes that are there hold a stream.
    pub(crate) fn holders(&self, stream: &StreamId, now: Now) -> usize {
        self.with(|state| {
            let online = state.members.members().filter(|member| state.members.health(member, now) != Health::Offline);
            online.filter(|member| member.presence.streams.contains(stream)).count()
        })
    }

    pub(crate) fn nodes(&self, drained: impl Fn(&NodeId) -> bool, now: Now) -> Vec<NodeInfo> {
        self.with(|state| {
            let info = |member: &cluster::Member| NodeInfo {
                drained: drained(&member.presence.node),
                headroom: cluster::placement::headroom(&member.presence.load),
                health: match state.members.health(member, now) {
                    Health::Online => "online",
                    Health::Draining => "draining",
                    Health::Suspect => "suspect",
                    Health::Offline => "offline",
                },
                presence: member.presence.clone(),
            };
            state.members.members().map(info).collect()
        })
    }

    fn take(&self, topic: &Topic, message: &Message, now: Now) {
        match topic {
            Topic::Node(node) => {
                if let Ok(presence) = serde_json::from_slice::<Presence>(&message.payload)
                    && presence.node == *node
                {
                    self.with(|state| {
                        state.members.heard(presence, now);
                        state.members.expire(now);
                    });
                }
            }
            Topic::Session(stream) => {
                if let Ok(session) = serde_json::from_slice::<SessionInfo>(&message.payload)
                    && session.stream == *stream
                {
                    self.with(|state| {
                        // An older session never replaces a newer one: brokers repeat what they keep.
                        if state.sessions.get(stream).is_some_and(|known| known.epoch > session.epoch) {
                            return;
                        }
                        if state.sessions.len() < SESSIONS_MAX || state.sessions.contains_key(stream) {
                            state.sessions.insert(stream.clone(), session);
                        }
                    });
                }
            }
            _ => {}
        }
    }
}

/// Keeps the view from the bus until `shutdown`.
pub(crate) async fn follow(shared: Arc<Shared>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let node = &shared.node;
    let mut presences = node.bus.subscribe(&node.prefix.filter("nodes/+")).await?;
    let mut sessions = node.bus.subscribe(&node.prefix.filter("streams/+/session")).await?;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(message) = presences.recv() => message,
            Some(message) = sessions.recv() => message,
        };
        match node.prefix.parse(&message.topic) {
            Ok(topic) => shared.view.take(&topic, &message, node.clock.now()),
            Err(_) => metrics::counter!("control_messages_malformed_total").increment(1),
        }
    }
}
