//! The owners of one stream over time: which nodes the ingest pushes to, when a replaced node gets no more, and how long fewer nodes
//! than wanted hold the stream. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{NodeId, Now, StreamId};
use messages::{Policy, Role};

use crate::owners::{Replicas, owners};
use crate::{Health, Membership};

/// How long the ingest still pushes to a former owner while the new ones fill their windows: a window of 48 s comes from a peer in a
/// second or two.
pub const HANDOVER_MAX: Duration = Duration::from_secs(30);

/// How long after its start a stream may have fewer holders than wanted without being degraded: no node holds it before its first
/// segment.
pub const START_MAX: Duration = Duration::from_secs(15);

/// A stream's owners, as the ingest that pushes it decides.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    owners: Vec<NodeId>,
    leaving: BTreeMap<NodeId, Duration>,
    /// Since when fewer nodes than wanted hold it.
    lacking: Option<Duration>,
    /// As many nodes as wanted held it at some time.
    was_whole: bool,
}

/// The decision about a stream's nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// Nodes to push to, sorted by name: the owners, and those that are being replaced.
    pub receivers: Vec<NodeId>,
    /// Number of receivers that report that they hold the stream.
    pub holding: usize,
    /// Number of nodes that should hold it.
    pub wanted: usize,
    /// Fewer nodes than wanted hold it. A stream that never had enough holders counts only [`START_MAX`] after its start.
    pub is_degraded: bool,
    /// Set when as many nodes as wanted hold it again: how long they were too few.
    pub repaired: Option<Duration>,
}

impl Owned {
    /// Decides again. Nodes that already hold the stream become its first owners, so that an ingest that takes over moves nothing.
    pub fn decide(
        &mut self,
        (view, policy): (&Membership, &Policy),
        stream: &StreamId,
        replicas: Replicas,
        now: Now,
    ) -> Placed {
        let health = |node: &NodeId| view.get(node).map_or(Health::Offline, |member| view.health(member, now));
        let is_there = |node: &NodeId| health(node) != Health::Offline;
        let holds = |node: &NodeId| {
            is_there(node) && view.get(node).is_some_and(|member| member.presence.streams.contains(stream))
        };
        let current = if self.owners.is_empty() { named(view, holds) } else { std::mem::take(&mut self.owners) };
        let mut chosen = owners(view, policy, stream, (&current, replicas), now);
        if chosen.is_empty() {
            // Only nodes that take nothing new are left: better than no stream at all.
            chosen = current.iter().filter(|node| is_there(node)).cloned().collect();
        }
        if chosen.is_empty() {
            chosen = named(view, |node| health(node) == Health::Draining);
        }
        for node in current.into_iter().filter(|node| !chosen.contains(node) && holds(node)) {
            self.leaving.entry(node).or_insert(now.elapsed + HANDOVER_MAX);
        }
        self.owners = chosen;
        let is_handed_over = self.owners.iter().all(&holds);
        let Self { owners, leaving, .. } = self;
        leaving
            .retain(|node, until| !is_handed_over && *until > now.elapsed && is_there(node) && !owners.contains(node));
        // A node that is being replaced counts as long as it has the stream.
        let holding = self.owners.iter().chain(self.leaving.keys()).filter(|node| holds(node)).count();
        let wanted = match replicas {
            Replicas::All => self.owners.len().max(1),
            Replicas::Count(count) => count.get(),
        };
        let repaired = self.note(holding >= wanted, now.elapsed);
        let mut receivers: Vec<NodeId> = self.owners.iter().chain(self.leaving.keys()).cloned().collect();
        receivers.sort();
        let is_degraded = self.lacking.is_some_and(|since| self.was_whole || now.elapsed >= since + START_MAX);
        Placed { receivers, holding, wanted, is_degraded, repaired }
    }

    /// Notes whether enough nodes hold the stream. Returns how long they were too few, when that has just ended.
    fn note(&mut self, is_whole: bool, now: Duration) -> Option<Duration> {
        if !is_whole {
            self.lacking.get_or_insert(now);
            return None;
        }
        let lacked = self.lacking.take().map(|since| now.saturating_sub(since));
        std::mem::replace(&mut self.was_whole, true).then_some(lacked).flatten()
    }
}

/// Broadcast nodes for which `holds` is true, sorted by name.
fn named(view: &Membership, holds: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
    let nodes = view.members().filter(|member| member.presence.role == Role::Broadcast);
    nodes.map(|member| &member.presence.node).filter(|node| holds(node)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use messages::NodeState;

    use super::*;
    use crate::membership::tests::{at, presence};

    struct Stage {
        view: Membership,
        policy: Policy,
        owned: Owned,
    }

    fn stream() -> StreamId {
        StreamId::new("hall").unwrap()
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    impl Stage {
        fn new(nodes: &[&str]) -> Self {
            let mut stage = Self { view: Membership::default(), policy: Policy::default(), owned: Owned::default() };
            nodes.iter().for_each(|name| stage.says(name, NodeState::Online, false, 0));
            stage
        }

        fn says(&mut self, name: &str, state: NodeState, holds: bool, millis: u64) {
            let mut presence = presence(name, state, 1);
            presence.streams = if holds { vec![stream()] } else { Vec::new() };
            self.view.heard(presence, at(millis));
        }

        fn decide(&mut self, millis: u64) -> Placed {
            self.owned.decide((&self.view, &self.policy), &stream(), Replicas::default(), at(millis))
        }
    }

    #[test]
    fn who_holds_the_stream_already_is_an_owner() {
        let mut stage = Stage::new(&["b1", "b2", "b3", "b4", "b5"]);
        for name in ["b4", "b5"] {
            stage.says(name, NodeState::Online, true, 0);
        }
        assert_eq!(stage.decide(1).receivers, [id("b4"), id("b5")]);
    }

    #[test]
    fn drained_owner_is_let_go_once_the_new_one_holds_the_stream() {
        let mut stage = Stage::new(&["b1", "b2", "b3"]);
        for name in ["b1", "b2"] {
            stage.says(name, NodeState::Online, true, 0);
        }
        assert_eq!(stage.decide(1).receivers, [id("b1"), id("b2")]);
        stage.policy.drained.push(id("b1"));
        let placed = stage.decide(2);
        assert_eq!((placed.receivers.len(), placed.holding, placed.is_degraded), (3, 2, false));
        stage.says("b3", NodeState::Online, true, 1_000);
        let placed = stage.decide(1_000);
        assert_eq!((placed.receivers, placed.holding), (vec![id("b2"), id("b3")], 2));
        assert_eq!(placed.repaired, None, "it was whole all the time");
    }

    #[test]
    fn loss_is_degraded_until_another_node_holds_the_stream() {
        let mut stage = Stage::new(&["b1", "b2", "b3"]);
        let first = stage.decide(1);
        assert!(!first.is_degraded && first.repaired.is_none(), "nobody can hold it yet");
        for node in &first.receivers {
            stage.says(node.as_str(), NodeState::Online, true, 1_000);
        }
        let whole = stage.decide(1_000);
        assert_eq!((whole.holding, whole.is_degraded, whole.repaired), (2, false, None));
        let lost = first.receivers[0].clone();
        stage.says(lost.as_str(), NodeState::Offline, false, 2_000);
        let placed = stage.decide(2_000);
        assert!(placed.is_degraded && placed.receivers.len() == 2 && !placed.receivers.contains(&lost));
        for node in &placed.receivers {
            stage.says(node.as_str(), NodeState::Online, true, 4_500);
        }
        assert_eq!(stage.decide(4_500).repaired, Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn stream_that_never_gets_enough_holders_is_degraded_after_its_start() {
        let mut stage = Stage::new(&["b1"]);
        assert!(!stage.decide(1).is_degraded);
        stage.says("b1", NodeState::Online, true, 14_000);
        assert!(!stage.decide(15_000).is_degraded);
        stage.says("b1", NodeState::Online, true, 15_500);
        assert!(stage.decide(15_500).is_degraded);
    }

    #[test]
    fn drained_nodes_are_owners_where_there_are_no_others() {
        let mut stage = Stage::new(&["b1"]);
        stage.says("b1", NodeState::Draining, false, 0);
        stage.policy.drained.push(id("b1"));
        assert_eq!(stage.decide(1).receivers, [id("b1")]);
        assert_eq!(stage.decide(2).receivers, [id("b1")]);
    }
}
