//! Which events follow from what control hears of streams: sessions, which nodes hold them, warnings and refusals. Pure.
//!
//! - A broadcast begins with `connected`, is `live` once a node has admitted its first row, and ends with `ended`. Reconnects within the
//!   grace period are `reconnecting` and `live` again. An end that was missed is made up for before the next broadcast begins.
//! - Messages come twice, late and out of order: an older epoch says nothing, and a state that is known says nothing again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catalogue::{LiveEvent, LiveState};
use media::{Now, StreamId, UnixMillis};
use messages::{Alert, AlertReason, InputReport, SessionInfo, SessionState};
use serde_json::{Value, json};

/// Streams of which something is remembered: as many as the catalogue can hold.
const STREAMS_MAX: usize = 10_000;
/// Warnings and refusals of a stream that are remembered.
const TOLD_MAX: usize = 32;
/// The same warning or refusal of a stream is an event this often at most.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// Where a broadcast is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connected,
    Live,
    Reconnecting,
    Ended,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Connected, Self::Live, Self::Reconnecting, Self::Ended];

    const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Connected => "stream.connected",
            Self::Live => "stream.live",
            Self::Reconnecting => "stream.reconnecting",
            Self::Ended => "stream.ended",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    phase: Phase,
    epoch: i64,
    started_at: UnixMillis,
}

/// A warning or refusal that was an event.
#[derive(Debug, Clone, Copy)]
struct Told {
    since: UnixMillis,
    at: Duration,
}

/// What is known of all streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    known: BTreeMap<StreamId, Known>,
    /// Streams that are connected, and not live yet.
    connected: BTreeSet<StreamId>,
    told: BTreeMap<StreamId, BTreeMap<String, Told>>,
}

impl Streams {
    /// Goes on from what the events said until now.
    pub(crate) fn resume(states: Vec<LiveState>) -> Self {
        let mut streams = Self::default();
        for LiveState { stream, state, epoch, started_at } in states {
            let Some(phase) = Phase::ALL.into_iter().find(|phase| phase.name() == state) else { continue };
            if phase == Phase::Connected {
                streams.connected.insert(stream.clone());
            }
            streams.known.insert(stream, Known { phase, epoch, started_at });
        }
        streams
    }

    /// Takes what an ingest says of a session. `is_held`: a node has rows of the stream.
    pub(crate) fn session(&mut self, info: &SessionInfo, is_held: bool) -> Vec<LiveEvent> {
        let (stream, epoch) = (&info.stream, i64::try_from(info.epoch.0).unwrap_or(i64::MAX));
        let mut events = Vec::new();
        let before = self.known.get(stream).copied();
        if before.is_some_and(|known| epoch < known.epoch) || (before.is_none() && self.known.len() >= STREAMS_MAX) {
            return events;
        }
        let open = before.filter(|known| known.phase != Phase::Ended);
        if let Some(missed) = open.filter(|known| known.started_at != info.started_at && epoch > known.epoch) {
            self.enter(stream, Known { phase: Phase::Ended, ..missed }, &mut events);
        }
        let phase = self.known.get(stream).map(|known| known.phase);
        let is_new_session = before.is_some_and(|known| epoch > known.epoch);
        let at = |phase| Known { phase, epoch, started_at: info.started_at };
        match (info.state, phase) {
            // What is said again of a session after its end is older than the end.
            (SessionState::Live, None | Some(Phase::Ended)) if phase.is_none() || is_new_session => {
                self.enter(stream, at(Phase::Connected), &mut events);
                if is_held {
                    self.enter(stream, at(Phase::Live), &mut events);
                }
            }
            (SessionState::Live, Some(Phase::Connected | Phase::Reconnecting)) if is_held => {
                self.enter(stream, at(Phase::Live), &mut events);
            }
            (SessionState::Live, Some(Phase::Live)) if is_new_session => {
                self.enter(stream, at(Phase::Live), &mut events);
            }
            (SessionState::Reconnecting, Some(Phase::Connected | Phase::Live)) => {
                self.enter(stream, at(Phase::Reconnecting), &mut events);
            }
            (SessionState::Ended, Some(Phase::Connected | Phase::Live | Phase::Reconnecting)) => {
                self.enter(stream, at(Phase::Ended), &mut events);
            }
            _ => {}
        }
        events
    }

    fn enter(&mut self, stream: &StreamId, known: Known, events: &mut Vec<LiveEvent>) {
        let Known { phase, epoch, started_at } = known;
        if phase == Phase::Connected {
            self.connected.insert(stream.clone())
        } else {
            self.connected.remove(stream)
        };
        self.known.insert(stream.clone(), known);
        events.push(LiveEvent {
            stream: stream.clone(),
            kind: phase.kind(),
            state: Some(phase.name()),
            epoch: Some(epoch),
            started_at: Some(started_at),
            more: json!({ "live": { "state": phase.name(), "epoch": epoch, "started_at": started_at } }),
        });
    }

    /// Streams that became playable since their publisher connected.
    pub(crate) fn look(&mut self, is_held: impl Fn(&StreamId) -> bool) -> Vec<LiveEvent> {
        let mut events = Vec::new();
        let playable: Vec<StreamId> = self.connected.iter().filter(|stream| is_held(stream)).cloned().collect();
        for stream in playable {
            if let Some(known) = self.known.get(&stream).copied() {
                self.enter(&stream, Known { phase: Phase::Live, ..known }, &mut events);
            }
        }
        events
    }

    /// Takes what an ingest says of a stream's input: warnings that are new.
    pub(crate) fn input(&mut self, report: &InputReport, now: Now) -> Vec<LiveEvent> {
        let mut events = Vec::new();
        let lasting = report.warnings.iter().filter(|warning| warning.until.is_none());
        for warning in lasting.filter(|warning| warning.severity == messages::Severity::Warning) {
            if self.tell(&report.stream, &warning.kind, (warning.since, now)) {
                let told = json!({ "kind": warning.kind, "text": warning.text, "since_at": warning.since });
                events.push(said(&report.stream, "stream.warning", json!({ "warning": told })));
            }
        }
        events
    }

    /// Takes what a node refuses, or warns of.
    pub(crate) fn alert(&mut self, alert: &Alert, now: Now) -> Option<LiveEvent> {
        let stream = alert.stream.as_ref()?;
        let reason = alert.reason.label();
        if !self.tell(stream, reason, (alert.at, now)) {
            return None;
        }
        let told = json!({ "kind": reason, "text": alert.detail, "since_at": alert.at });
        Some(match alert.reason {
            AlertReason::RungShed | AlertReason::UnderReplicated => {
                said(stream, "stream.warning", json!({ "warning": told }))
            }
            _ => said(stream, "stream.refused", json!({ "refusal": told, "count": alert.count })),
        })
    }

    /// Whether a warning is new: not the same again, and none of its kind a moment ago.
    fn tell(&mut self, stream: &StreamId, kind: &str, (since, now): (UnixMillis, Now)) -> bool {
        if !self.told.contains_key(stream) && self.told.len() >= STREAMS_MAX {
            return false;
        }
        let told = self.told.entry(stream.clone()).or_default();
        let is_full = told.len() >= TOLD_MAX && !told.contains_key(kind);
        let is_known = told
            .get(kind)
            .is_some_and(|told| told.since == since || now.elapsed.saturating_sub(told.at) < TOLD_INTERVAL);
        if is_full || is_known {
            return false;
        }
        told.insert(kind.to_owned(), Told { since, at: now.elapsed });
        true
    }
}

fn said(stream: &StreamId, kind: &'static str, more: Value) -> LiveEvent {
    LiveEvent { stream: stream.clone(), kind, state: None, epoch: None, started_at: None, more }
}

#[cfg(test)]
mod tests {
    use media::{Epoch, NodeId};
    use proptest::prelude::*;

    use super::*;

    fn session(epoch: u64, started_at: i64, state: SessionState) -> SessionInfo {
        SessionInfo {
            stream: "hall".parse().unwrap(),
            epoch: Epoch(epoch),
            session: serde_json::from_value(json!("00000000000000000000000000000001")).unwrap(),
            ingest: NodeId::new("i1").unwrap(),
            state,
            started_at: UnixMillis(started_at),
            ladder: Vec::new(),
            owners: Vec::new(),
            replicas: 0,
        }
    }

    fn kinds(events: &[LiveEvent]) -> Vec<(&str, i64)> {
        events.iter().map(|event| (event.kind.trim_start_matches("stream."), event.epoch.unwrap())).collect()
    }

    /// Case E12.
    #[test]
    fn stream_is_live_when_a_node_has_a_row_of_it_and_connected_before() {
        let mut it = Streams::default();
        assert_eq!(kinds(&it.session(&session(7, 1, SessionState::Live), false)), [("connected", 7)]);
        assert_eq!(kinds(&it.session(&session(7, 1, SessionState::Live), false)), []);
        assert_eq!(kinds(&it.look(|_| false)), []);
        assert_eq!(kinds(&it.look(|_| true)), [("live", 7)]);
        assert_eq!(kinds(&it.look(|_| true)), []);
        assert_eq!(kinds(&it.session(&session(7, 1, SessionState::Reconnecting), true)), [("reconnecting", 7)]);
        assert_eq!(kinds(&it.session(&session(8, 1, SessionState::Live), true)), [("live", 8)]);
        assert_eq!(
            kinds(&it.session(&session(7, 1, SessionState::Reconnecting), true)),
            [],
            "older than what is known"
        );
        assert_eq!(kinds(&it.session(&session(8, 1, SessionState::Ended), true)), [("ended", 8)]);
        assert_eq!(kinds(&it.session(&session(8, 1, SessionState::Live), true)), [], "the session is over");
    }

    /// Case D5: what happened while control was away is made up for.
    #[test]
    fn end_that_was_missed_is_made_up_for_before_the_next_broadcast() {
        let mut it = Streams::default();
        it.session(&session(7, 1, SessionState::Live), true);
        let state = |phase: &str, epoch| LiveState {
            stream: "hall".parse().unwrap(),
            state: phase.to_owned(),
            epoch,
            started_at: UnixMillis(1),
        };
        for mut it in [it, Streams::resume(vec![state("live", 7)])] {
            let events = it.session(&session(9, 2, SessionState::Live), true);
            assert_eq!(kinds(&events), [("ended", 7), ("connected", 9), ("live", 9)]);
        }
        let mut it = Streams::resume(vec![state("live", 7)]);
        assert_eq!(kinds(&it.session(&session(9, 2, SessionState::Ended), true)), [("ended", 7)]);
        let mut it = Streams::resume(vec![state("connected", 7), state("no such", 1)]);
        assert_eq!(kinds(&it.look(|_| true)), [("live", 7)]);
    }

    #[test]
    fn warning_is_told_once_and_again_when_it_came_back_later() {
        let now = |seconds| Now { elapsed: Duration::from_secs(seconds), wall: UnixMillis(0) };
        let report = |since: i64, until: Option<i64>, severity: &str| -> InputReport {
            let warning = json!({ "kind": "no_audio", "severity": severity, "text": "There is no audio.", "since": since, "until": until });
            let report = json!({ "stream": "hall", "ingest": "i1", "at": 1, "warnings": [warning] });
            serde_json::from_value(report).unwrap()
        };
        let mut it = Streams::default();
        let first = it.input(&report(5, None, "warning"), now(0));
        assert_eq!(
            (first.len(), first[0].kind, first[0].more["warning"]["kind"].as_str()),
            (1, "stream.warning", Some("no_audio"))
        );
        for (report, at) in [
            (report(5, None, "warning"), 100),
            (report(6, None, "warning"), 59),
            (report(7, Some(8), "warning"), 200),
            (report(9, None, "note"), 200),
        ] {
            assert_eq!(it.input(&report, now(at)), []);
        }
        assert_eq!(it.input(&report(10, None, "warning"), now(60)).len(), 1);
        let alert = |reason: &str| -> Alert {
            serde_json::from_value(
                json!({ "at": 3, "node": "b1", "stream": "hall", "reason": reason, "detail": "why", "count": 2 }),
            )
            .unwrap()
        };
        assert_eq!(it.alert(&alert("signature"), now(1)).unwrap().kind, "stream.refused");
        assert_eq!(it.alert(&alert("signature"), now(99)), None);
        assert_eq!(it.alert(&alert("rung_shed"), now(1)).unwrap().kind, "stream.warning");
    }

    proptest! {
        /// Case D5: however messages come, each broadcast has one end or none yet, and epochs never fall.
        #[test]
        fn events_pair_up_and_epochs_rise(
            said in prop::collection::vec((0_u64..6, 0_u8..3, any::<bool>()), 0..60)
        ) {
            let mut it = Streams::default();
            let (mut is_open, mut newest) = (false, 0);
            for (epoch, state, is_held) in said {
                let state = [SessionState::Live, SessionState::Reconnecting, SessionState::Ended][state as usize];
                let started_at = i64::try_from(epoch / 2).unwrap();
                for (kind, epoch) in kinds(&it.session(&session(epoch, started_at, state), is_held)) {
                    prop_assert!(epoch >= newest, "{} after {}", epoch, newest);
                    newest = epoch;
                    prop_assert_eq!(kind == "connected", !is_open, "{}", kind);
                    is_open = kind != "ended";
                }
            }
        }
    }
}
