//! What control learns about streams from the bus: their sessions, and the reports of ingests about their input. For display, and for
//! events ([`crate::hooks`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::Message;
use media::{BitsPerSecond, NodeId, Now, StreamId};
use messages::{Alert, InputReport, SessionInfo, Topic};
use node::CancellationToken;
use node::cluster_view::{Malformed, Topics, Update};
use tokio::sync::mpsc;

use crate::ControlState;
use crate::hooks::Heard;

/// Most sessions that are remembered: one for each stream that the catalogue can hold.
const SESSIONS_MAX: usize = 10_000;

/// Ingests of one stream whose reports are kept.
const INGESTS_MAX: usize = 8;

/// An input report is shown for this long; ingests send one every 2 s.
const REPORT_SHOWN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct View {
    state: Mutex<State>,
    /// Who makes events of what is heard.
    tells: Option<mpsc::Sender<Heard>>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<StreamId, SessionInfo>,
    /// The input report of each ingest, and when it was heard.
    inputs: BTreeMap<StreamId, BTreeMap<NodeId, (Duration, InputReport)>>,
}

impl View {
    /// A view that tells what it hears.
    pub(crate) fn telling(tells: mpsc::Sender<Heard>) -> Self {
        Self { tells: Some(tells), ..Self::default() }
    }

    fn tell(&self, heard: Heard) {
        if self
            .tells
            .as_ref()
            .is_some_and(|tells| matches!(tells.try_send(heard), Err(mpsc::error::TrySendError::Full(_))))
        {
            metrics::counter!("control_heard_dropped_total").increment(1);
        }
    }

    /// All sessions that are known.
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        self.with(|state| state.sessions.values().cloned().collect())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn session(&self, stream: &StreamId) -> Option<SessionInfo> {
        self.with(|state| state.sessions.get(stream).cloned())
    }

    /// Fresh input reports of a stream; the ingest that has its publisher comes first.
    pub(crate) fn inputs(&self, stream: &StreamId, now: Now) -> Vec<InputReport> {
        let mut reports: Vec<InputReport> = self.with(|state| {
            let known = state.inputs.get(stream).into_iter().flat_map(BTreeMap::values);
            known.filter(|(heard, _)| is_fresh(*heard, now)).map(|(_, report)| report.clone()).collect()
        });
        reports.sort_by_key(|report| (report.standby, report.connected_at.is_none(), std::cmp::Reverse(report.at)));
        // The list ends before the first ingest without a publisher. When none has one, a single report says all there is to say.
        let first_away = reports.iter().position(|report| report.connected_at.is_none()).unwrap_or(reports.len());
        reports.truncate(first_away.max(1));
        reports
    }

    /// Streams that are published, with the bit rates of their publishers. One that stands by is none of its own.
    pub(crate) fn published(&self, now: Now) -> Vec<(StreamId, BitsPerSecond)> {
        self.with(|state| {
            let published = state.inputs.iter().filter_map(|(stream, ingests)| {
                let fresh = ingests.values().filter(|(heard, report)| {
                    is_fresh(*heard, now) && report.connected_at.is_some() && !report.standby
                });
                let rates: Vec<u64> = fresh.map(|(_, report)| report.bit_rate.0).collect();
                let sum = rates.iter().fold(0, |sum: u64, rate| sum.saturating_add(*rate));
                (!rates.is_empty()).then(|| (stream.clone(), BitsPerSecond(sum)))
            });
            published.collect()
        })
    }

    fn take(&self, topic: &Topic, message: &Message, now: Now) {
        match topic {
            Topic::Session(stream) => {
                if let Ok(session) = serde_json::from_slice::<SessionInfo>(&message.payload)
                    && session.stream == *stream
                {
                    self.tell(Heard::Session(session.clone()));
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
                    self.tell(Heard::Input(Box::new(report.clone())));
                    self.with(|state| state.report(report, now));
                }
            }
            Topic::Alerts => {
                if let Ok(alert) = serde_json::from_slice::<Alert>(&message.payload) {
                    self.tell(Heard::Alert(alert));
                }
            }
            _ => {}
        }
    }
}

impl State {
    fn report(&mut self, report: InputReport, now: Now) {
        self.inputs.retain(|_, ingests| {
            ingests.retain(|_, (heard, _)| is_fresh(*heard, now));
            !ingests.is_empty()
        });
        if self.inputs.len() >= SESSIONS_MAX && !self.inputs.contains_key(&report.stream) {
            return;
        }
        let ingests = self.inputs.entry(report.stream.clone()).or_default();
        if ingests.len() < INGESTS_MAX || ingests.contains_key(&report.ingest) {
            ingests.insert(report.ingest.clone(), (now.elapsed, report));
        }
    }
}

fn is_fresh(heard: Duration, now: Now) -> bool {
    now.elapsed.saturating_sub(heard) <= REPORT_SHOWN
}

/// Updates the view of streams, and that of nodes, until `shutdown`.
pub(crate) async fn follow(shared: Arc<ControlState>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let node = &shared.node;
    // The policy is control's own.
    let mut nodes = shared.cluster.subscribe(node, Topics::Nodes).await?;
    let mut sessions = node.bus.subscribe(&node.prefix.filter("streams/+/session")).await?;
    let mut inputs = node.bus.subscribe(&node.prefix.filter("streams/+/input")).await?;
    let mut alerts = node.bus.subscribe(&node.prefix.filter("alerts")).await?;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(update) = nodes.next() => {
                if update == Update::Malformed(Malformed::Topic) {
                    count_malformed();
                }
                continue;
            }
            Some(message) = sessions.recv() => message,
            Some(message) = inputs.recv() => message,
            Some(message) = alerts.recv() => message,
        };
        match node.prefix.parse(&message.topic) {
            Ok(topic) => shared.view.take(&topic, &message, node.clock.now()),
            Err(_) => count_malformed(),
        }
    }
}

fn count_malformed() {
    metrics::counter!("control_messages_malformed_total").increment(1);
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
        let (connected_at, standby) = (if connected { "1" } else { "null" }, ingest == "standby");
        let payload = format!(
            r#"{{"stream": "hall", "ingest": "{ingest}", "at": {at}, "connected_at": {connected_at}, "standby": {standby}}}"#
        );
        let message = Message { topic: String::new(), payload: payload.into(), retain: false };
        view.take(&Topic::Input("hall".parse().unwrap()), &message, now(at));
    }

    fn shown(view: &View, at: u64) -> Vec<String> {
        view.inputs(&"hall".parse().unwrap(), now(at)).iter().map(|report| report.ingest.to_string()).collect()
    }

    #[test]
    fn report_is_shown_while_it_is_fresh() {
        let view = View::default();
        say(&view, "ingest1", true, 100);
        assert_eq!(shown(&view, 110), ["ingest1"]);
        assert!(shown(&view, 111).is_empty());
    }

    #[test]
    fn ingest_that_has_the_stream_comes_first_and_who_stands_by_after_it() {
        let view = View::default();
        say(&view, "ingest1", true, 100);
        say(&view, "ingest2", false, 101);
        assert_eq!(shown(&view, 102), ["ingest1"], "the one that has the publisher");
        say(&view, "standby", true, 103);
        say(&view, "ingest2", true, 104);
        say(&view, "ingest1", false, 104);
        assert_eq!(shown(&view, 104), ["ingest2"]);
        say(&view, "ingest1", true, 105);
        assert_eq!(shown(&view, 105), ["ingest1", "ingest2", "standby"]);
        for ingest in ["ingest1", "ingest2", "standby"] {
            say(&view, ingest, false, 106);
        }
        assert_eq!(shown(&view, 106).len(), 1, "nobody has it");
    }
}
