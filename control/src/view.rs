//! What control knows of the cluster by listening: nodes, and the sessions of streams. For display only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::{Health, Membership};
use media::{NodeId, Now, StreamId};
use messages::{InputReport, Presence, SessionInfo, Topic};
use node::CancellationToken;
use node::bus::Message;

use crate::Shared;

/// Most sessions that are remembered: one for each stream that the catalogue can hold.
const SESSIONS_MAX: usize = 10_000;

/// A report of what comes in is shown for this long: they come every 2 s.
const REPORT_SHOWN: Duration = Duration::from_secs(10);

/// The view.
#[derive(Default)]
pub(crate) struct View {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Membership,
    sessions: BTreeMap<StreamId, SessionInfo>,
    /// What comes in, and when that was heard.
    inputs: BTreeMap<StreamId, (Duration, InputReport)>,
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

    /// What comes in from the publisher of a stream, if an ingest said so lately.
    pub(crate) fn input(&self, stream: &StreamId, now: Now) -> Option<InputReport> {
        let is_fresh = |heard: &Duration| now.elapsed.saturating_sub(*heard) <= REPORT_SHOWN;
        self.with(|state| {
            state.inputs.get(stream).filter(|(heard, _)| is_fresh(heard)).map(|(_, report)| report.clone())
        })
    }

    /// How many of the nodes that are there hold a stream.
    pub(crate) fn holders(&self, stream: &StreamId, now: Now) -> usize {
        self.with(|state| {
            let online = state.members.members().filter(|member| state.members.health(member, now) != Health::Offline);
            online.filter(|member| member.presence.streams.contains(stream)).count()
        })
    }

    /// All nodes, by name; `drained` says of which the operator wants nothing new.
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
            Topic::Input(stream) => {
                if let Ok(report) = serde_json::from_slice::<InputReport>(&message.payload)
                    && report.stream == *stream
                {
                    self.with(|state| state.report(report, now));
                }
            }
            _ => {}
        }
    }
}

impl State {
    fn report(&mut self, report: InputReport, now: Now) {
        self.inputs.retain(|_, (heard, _)| now.elapsed.saturating_sub(*heard) <= REPORT_SHOWN);
        // Of two ingests the one that has the publisher speaks for the stream.
        let is_of_another = |known: &InputReport| known.ingest != report.ingest && known.connected_at.is_some();
        if report.connected_at.is_none()
            && self.inputs.get(&report.stream).is_some_and(|(_, known)| is_of_another(known))
        {
            return;
        }
        if self.inputs.len() < SESSIONS_MAX || self.inputs.contains_key(&report.stream) {
            self.inputs.insert(report.stream.clone(), (now.elapsed, report));
        }
    }
}

/// Keeps the view from the bus until `shutdown`.
pub(crate) async fn follow(shared: Arc<Shared>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let node = &shared.node;
    let mut presences = node.bus.subscribe(&node.prefix.filter("nodes/+")).await?;
    let mut sessions = node.bus.subscribe(&node.prefix.filter("streams/+/session")).await?;
    let mut inputs = node.bus.subscribe(&node.prefix.filter("streams/+/input")).await?;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(message) = presences.recv() => message,
            Some(message) = sessions.recv() => message,
            Some(message) = inputs.recv() => message,
        };
        match node.prefix.parse(&message.topic) {
            Ok(topic) => shared.view.take(&topic, &message, node.clock.now()),
            Err(_) => metrics::counter!("control_messages_malformed_total").increment(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use media::UnixMillis;

    use super::*;

    fn now(seconds: u64) -> Now {
        Now { elapsed: Duration::from_secs(seconds), wall: UnixMillis(0) }
    }

    /// An ingest's report, with a publisher or without.
    fn say(view: &View, ingest: &str, connected: bool, at: u64) {
        let connected_at = if connected { "1" } else { "null" };
        let payload =
            format!(r#"{{"stream": "hall", "ingest": "{ingest}", "at": {at}, "connected_at": {connected_at}}}"#);
        let message = Message { topic: String::new(), payload: payload.into(), retain: false };
        view.take(&Topic::Input("hall".parse().unwrap()), &message, now(at));
    }

    fn shown(view: &View, at: u64) -> Option<String> {
        view.input(&"hall".parse().unwrap(), now(at)).map(|report| report.ingest.to_string())
    }

    #[test]
    fn report_is_shown_while_it_is_fresh() {
        let view = View::default();
        say(&view, "ingest1", true, 100);
        assert_eq!(shown(&view, 110).as_deref(), Some("ingest1"));
        assert_eq!(shown(&view, 111), None);
    }

    #[test]
    fn ingest_that_has_the_publisher_speaks_for_the_stream() {
        let view = View::default();
        say(&view, "ingest1", true, 100);
        say(&view, "ingest2", false, 101);
        assert_eq!(shown(&view, 102).as_deref(), Some("ingest1"));
        say(&view, "ingest2", true, 103);
        assert_eq!(shown(&view, 104).as_deref(), Some("ingest2"));
        say(&view, "ingest2", false, 105);
        assert_eq!(shown(&view, 106).as_deref(), Some("ingest2"), "and says itself when it is gone");
        say(&view, "ingest1", false, 120);
        assert_eq!(shown(&view, 121).as_deref(), Some("ingest1"), "what is old stands in nobody's way");
    }
}
