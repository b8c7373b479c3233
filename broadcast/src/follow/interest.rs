//! Which streams a node holds, and how: a fold of announced sessions, pushes and viewers' requests. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{Epoch, NodeId, StreamId};
use messages::{SessionInfo, SessionState};

use gate::Holding;
use gate::limits::STREAM_IDLE_MAX;
use seal::limits::EPOCH_STEP_MAX;

/// How long an edge follows a stream that nobody asks for: longer than any player pauses between two requests.
pub(crate) const EDGE_IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a push makes the node an owner, whatever the session says, or while none has come. An ingest pushes a row every
/// half second, and [`Interest`] is told of it every two seconds ([`super::PUSHED_INTERVAL`]).
const PUSHED_MAX: Duration = Duration::from_secs(6);
/// Streams that a node follows as an edge at once: the rest of what a gate holds is for those that it owns.
const EDGES_MAX: usize = gate::limits::STREAMS_MAX / 2;
/// Streams that are remembered: as many as have a head on disk.
pub(crate) const STREAMS_MAX: usize = gate::limits::HEADS_MAX;

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Hold a stream in this way from now on.
    Follow {
        stream: StreamId,
        holding: Holding,
        /// Nodes that own it; this one among them when it does.
        owners: Vec<NodeId>,
    },
    /// Do not follow it any more.
    Unfollow(StreamId),
}

/// All streams that are known.
#[derive(Debug)]
pub(crate) struct Interest {
    me: NodeId,
    streams: BTreeMap<StreamId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the newest session that was announced.
    epoch: Option<Epoch>,
    owners: Vec<NodeId>,
    /// Since when the session has ended.
    ended_at: Option<Duration>,
    pushed_at: Option<Duration>,
    wanted_at: Option<Duration>,
    held: Option<Holding>,
}

impl Known {
    /// How it is to be held at `now`.
    fn holding(&self, me: &NodeId, now: Duration) -> Option<Holding> {
        let within = |at: Option<Duration>, max| at.is_some_and(|at| now.saturating_sub(at) < max);
        let is_named = self.epoch.is_some() && (self.owners.is_empty() || self.owners.contains(me));
        let is_over = match (self.ended_at, self.held) {
            (None, _) => false,
            // Nodes that own it show its end for a while.
            (Some(at), Some(Holding::Owner)) => now.saturating_sub(at) >= STREAM_IDLE_MAX,
            (Some(_), _) => true,
        };
        if (is_named && !is_over) || within(self.pushed_at, PUSHED_MAX) {
            Some(Holding::Owner)
        } else {
            within(self.wanted_at, EDGE_IDLE_MAX).then_some(Holding::Edge)
        }
    }
}

impl Interest {
    pub(crate) const fn new(me: NodeId) -> Self {
        Self { me, streams: BTreeMap::new() }
    }

    /// An ingest announced a session of a stream. `verified` is the newest epoch of which this node has a seal: an older session says
    /// nothing, because brokers repeat what they retain, and one far ahead is invented. Of the others the last one counts: nobody has
    /// signed them, so that one with a high epoch must not hide those that follow. Ingests repeat theirs.
    pub(crate) fn session(&mut self, info: &SessionInfo, verified: Option<Epoch>, now: Duration) -> Option<Change> {
        if !is_plausible(info.epoch, verified) {
            return None;
        }
        let known = self.known(&info.stream)?;
        known.epoch = Some(info.epoch);
        let is_moved = known.owners != info.owners;
        known.owners.clone_from(&info.owners);
        known.ended_at = match info.state {
            SessionState::Ended => known.ended_at.or(Some(now)),
            SessionState::Live | SessionState::Reconnecting => None,
        };
        self.decide(&info.stream, is_moved, now)
    }

    /// An ingest pushed something of a stream.
    pub(crate) fn pushed(&mut self, stream: &StreamId, now: Duration) -> Option<Change> {
        self.known(stream)?.pushed_at = Some(now);
        self.decide(stream, false, now)
    }

    /// A viewer asked for a stream.
    pub(crate) fn wanted(&mut self, stream: &StreamId, now: Duration) -> Option<Change> {
        // A request for a stream of which no session was announced leaves nothing behind.
        let edges = self.streams.values().filter(|known| known.held == Some(Holding::Edge)).count();
        let known = self.streams.get_mut(stream)?;
        if known.held.is_none() && edges >= EDGES_MAX {
            return None;
        }
        known.wanted_at = Some(now);
        self.decide(stream, false, now)
    }

    /// Time has passed. `asked` says when viewers last asked for a stream that is followed.
    pub(crate) fn tick(&mut self, asked: impl Fn(&StreamId) -> Option<Duration>, now: Duration) -> Vec<Change> {
        let followed = self.streams.iter_mut().filter(|(_, known)| known.held.is_some());
        let names: Vec<StreamId> = followed
            .map(|(name, known)| {
                known.wanted_at = known.wanted_at.max(asked(name));
                name.clone()
            })
            .collect();
        let changes = names.iter().filter_map(|name| self.decide(name, false, now)).collect();
        let is_gone = |at: Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) >= STREAM_IDLE_MAX);
        self.streams.retain(|_, known| known.held.is_some() || !is_gone(known.ended_at));
        changes
    }

    /// How many streams are known.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether a session of a stream was announced, or it was pushed.
    pub(crate) fn is_known(&self, stream: &StreamId) -> bool {
        self.streams.contains_key(stream)
    }

    /// Whether that is the newest session of its stream.
    pub(crate) fn is_newest(&self, info: &SessionInfo) -> bool {
        self.streams.get(&info.stream).is_some_and(|known| known.epoch == Some(info.epoch))
    }

    fn known(&mut self, stream: &StreamId) -> Option<&mut Known> {
        if !self.is_known(stream) && self.streams.len() >= STREAMS_MAX {
            return None;
        }
        Some(self.streams.entry(stream.clone()).or_default())
    }

    fn decide(&mut self, stream: &StreamId, is_moved: bool, now: Duration) -> Option<Change> {
        let known = self.streams.get_mut(stream)?;
        let mut holding = known.holding(&self.me, now);
        if known.held == Some(Holding::Owner) && holding.is_none() && known.ended_at.is_none() {
            // Its viewers are still here: the node serves them as an edge.
            known.wanted_at = Some(now);
            holding = Some(Holding::Edge);
        }
        let before = std::mem::replace(&mut known.held, holding);
        match holding {
            Some(holding) if before != Some(holding) || is_moved => {
                Some(Change::Follow { stream: stream.clone(), holding, owners: known.owners.clone() })
            }
            None if before.is_some() => Some(Change::Unfollow(stream.clone())),
            _ => None,
        }
    }
}

/// Whether a session may be the one that goes on now.
fn is_plausible(epoch: Epoch, verified: Option<Epoch>) -> bool {
    verified.is_none_or(|verified| verified <= epoch && epoch.0.saturating_sub(verified.0) <= EPOCH_STEP_MAX)
}

#[cfg(test)]
mod tests {
    use media::{SessionId, UnixMillis};

    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn hall() -> StreamId {
        StreamId::new("hall").unwrap()
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn session(epoch: u64, owners: &[&str], state: SessionState) -> SessionInfo {
        SessionInfo {
            stream: hall(),
            epoch: Epoch(epoch),
            session: SessionId([0; 16]),
            ingest: id("i1"),
            state,
            started_at: UnixMillis(0),
            ladder: Vec::new(),
            owners: owners.iter().map(|name| id(name)).collect(),
            replicas: 2,
        }
    }

    fn holding(change: Option<Change>) -> Option<Holding> {
        change.and_then(|change| match change {
            Change::Follow { holding, .. } => Some(holding),
            Change::Unfollow(_) => None,
        })
    }

    fn nobody(_: &StreamId) -> Option<Duration> {
        None
    }

    #[test]
    fn named_node_is_owner_and_another_follows_only_while_viewers_ask() {
        let mut owner = Interest::new(id("b1"));
        let mut edge = Interest::new(id("b3"));
        let live = session(1, &["b1", "b2"], SessionState::Live);
        assert_eq!(holding(owner.session(&live, None, at(0))), Some(Holding::Owner));
        assert_eq!(owner.session(&live, None, at(1)), None, "it is said again and again");
        assert_eq!(edge.session(&live, None, at(0)), None);
        assert_eq!(holding(edge.wanted(&hall(), at(1))), Some(Holding::Edge));
        assert_eq!(edge.tick(|_| Some(at(20)), at(40)), []);
        assert_eq!(edge.tick(nobody, at(50)), [Change::Unfollow(hall())]);
    }

    #[test]
    fn owner_that_is_one_no_more_stays_an_edge_for_its_viewers() {
        let mut interest = Interest::new(id("b1"));
        interest.session(&session(1, &["b1", "b2"], SessionState::Live), None, at(0));
        let moved = interest.session(&session(1, &["b2", "b3"], SessionState::Live), None, at(100));
        let owners = vec![id("b2"), id("b3")];
        assert_eq!(moved, Some(Change::Follow { stream: hall(), holding: Holding::Edge, owners }));
        assert_eq!(interest.tick(nobody, at(131)), [Change::Unfollow(hall())]);
    }

    #[test]
    fn whoever_is_pushed_to_is_an_owner_whatever_is_said() {
        let mut interest = Interest::new(id("b1"));
        assert_eq!(holding(interest.pushed(&hall(), at(0))), Some(Holding::Owner));
        let moved = interest.session(&session(1, &["b2"], SessionState::Live), None, at(1));
        assert_eq!(holding(moved), Some(Holding::Owner));
        assert!(interest.tick(nobody, at(5)).is_empty());
        assert_eq!(interest.tick(nobody, at(7)).len(), 1);
    }

    #[test]
    fn nobody_named_means_everybody_and_an_old_session_nothing() {
        let mut interest = Interest::new(id("b1"));
        let first = interest.session(&session(5, &[], SessionState::Live), None, at(0));
        assert_eq!(holding(first), Some(Holding::Owner));
        let old = session(4, &["b2"], SessionState::Ended);
        assert_eq!(interest.session(&old, Some(Epoch(5)), at(1)), None);
        assert!(!interest.is_newest(&old) && interest.is_newest(&session(5, &[], SessionState::Ended)));
    }

    #[test]
    fn invented_session_hides_no_real_one() {
        let mut interest = Interest::new(id("b1"));
        let invented = session(u64::MAX, &["b9"], SessionState::Ended);
        assert_eq!(interest.session(&invented, None, at(0)), None);
        let live = session(7, &["b1"], SessionState::Live);
        assert_eq!(holding(interest.session(&live, None, at(1))), Some(Holding::Owner), "nobody has sealed the other");
        let verified = Some(Epoch(7));
        assert_eq!(interest.session(&invented, verified, at(2)), None);
        assert!(interest.is_newest(&live), "far ahead of what was sealed");
        let near = session(8, &["b9"], SessionState::Ended);
        interest.session(&near, verified, at(3));
        interest.session(&live, verified, at(4));
        assert!(interest.is_newest(&live) && !interest.is_newest(&near), "until the ingest repeats its own");
    }

    #[test]
    fn ended_stream_is_shown_for_a_while_by_those_who_had_it() {
        let mut interest = Interest::new(id("b1"));
        interest.session(&session(1, &["b1"], SessionState::Live), None, at(0));
        assert_eq!(interest.session(&session(1, &["b1"], SessionState::Ended), None, at(10)), None);
        assert!(interest.tick(nobody, at(600)).is_empty());
        assert_eq!(interest.tick(nobody, at(610)), [Change::Unfollow(hall())]);
        let mut restarted = Interest::new(id("b1"));
        assert_eq!(restarted.session(&session(1, &["b1"], SessionState::Ended), None, at(0)), None);
    }

    #[test]
    fn viewers_leave_room_for_what_the_node_owns_and_ended_streams_are_forgotten() {
        let mut interest = Interest::new(id("b3"));
        let mut info = session(1, &["b1"], SessionState::Live);
        let mut followed = 0;
        for number in 0..2 * EDGES_MAX {
            info.stream = StreamId::new(&format!("s{number}")).unwrap();
            interest.session(&info, None, at(0));
            followed += usize::from(interest.wanted(&info.stream, at(0)).is_some());
        }
        assert_eq!(followed, EDGES_MAX);
        info.state = SessionState::Ended;
        interest.session(&info, None, at(10));
        interest.tick(nobody, at(611));
        assert_eq!((interest.is_known(&info.stream), interest.len()), (false, 2 * EDGES_MAX - 1));
    }

    #[test]
    fn unknown_stream_costs_nothing() {
        let mut interest = Interest::new(id("b1"));
        assert_eq!(interest.wanted(&hall(), at(0)), None);
        assert!(!interest.is_known(&hall()));
    }
}
