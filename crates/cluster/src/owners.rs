//! Chooses the broadcast nodes that own a stream: weighted rendezvous hashing with bounded load.
//!
//! A stream keeps its owners; new ones only replace owners that are gone or drained. So a node that goes moves only its own share of
//! the streams, and a node that comes takes new streams. Two deciders with the same view make the same choice. Pure.

use std::num::NonZeroUsize;

use media::{NodeId, Now, StreamId};
use messages::{Policy, Role};

use crate::placement::{configured_weight, key_of, score};
use crate::{Health, Member, Membership};

/// A node that holds this fraction more than its share of all streams gets no further one while another can take it.
pub const SLACK: f64 = 0.25;

/// How many nodes own each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    /// Every usable node.
    All,
    /// This many nodes, or all when there are fewer.
    Count(NonZeroUsize),
}

impl Replicas {
    /// The same, limited to the number of nodes: with a known number, fewer replicas are not a fault.
    #[must_use]
    pub fn at_most(self, nodes: usize) -> Self {
        match (self, NonZeroUsize::new(nodes)) {
            (Self::Count(count), Some(nodes)) => Self::Count(count.min(nodes)),
            _ => self,
        }
    }
}

impl Default for Replicas {
    fn default() -> Self {
        const { Self::Count(NonZeroUsize::new(2).expect("not zero")) }
    }
}

/// The new owners of a stream, sorted by name, when `current` are its owners so far. Fewer than wanted only when there are not enough
/// usable nodes.
pub fn owners(
    view: &Membership,
    policy: &Policy,
    stream: &StreamId,
    (current, replicas): (&[NodeId], Replicas),
    now: Now,
) -> Vec<NodeId> {
    let usable = |member: &&Member| {
        member.presence.role == Role::Broadcast && !policy.drained.contains(&member.presence.node) && {
            // A request that failed a moment ago is no reason to move a stream, but a reason to start one elsewhere.
            match view.health(member, now) {
                Health::Online => true,
                Health::Suspect => current.contains(&member.presence.node),
                Health::Draining | Health::Offline => false,
            }
        }
    };
    let hosts: Vec<&Member> = view.members().filter(usable).collect();
    let count = match replicas {
        Replicas::All => hosts.len(),
        Replicas::Count(count) => count.get().min(hosts.len()),
    };
    let held = |host: &Member| host.presence.streams.len() as f64;
    let weight = |host: &Member| configured_weight(policy, &host.presence.node);
    // A node's share of all held streams and this one, per unit of weight.
    let each = (hosts.iter().map(|host| held(host)).sum::<f64>() + count as f64)
        / hosts.iter().map(|host| weight(host)).sum::<f64>();
    let key = key_of(stream);
    let mut ranked: Vec<((bool, bool), f64, &NodeId)> = hosts
        .iter()
        .map(|host| {
            let node = &host.presence.node;
            let is_full = held(host) >= ((1.0 + SLACK) * each * weight(host)).ceil();
            ((!current.contains(node), is_full), score(key, node, weight(host)), node)
        })
        .collect();
    let before = |a: &((bool, bool), f64, &NodeId), b: &((bool, bool), f64, &NodeId)| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| a.2.cmp(b.2))
    };
    if count < ranked.len() {
        ranked.select_nth_unstable_by(count, before);
    }
    let mut chosen: Vec<NodeId> = ranked.into_iter().take(count).map(|(.., node)| node.clone()).collect();
    chosen.sort();
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use messages::NodeState;
    use proptest::prelude::*;

    use super::*;
    use crate::membership::tests::{at, presence};

    fn id(number: usize) -> NodeId {
        NodeId::new(&format!("b{number}")).unwrap()
    }

    fn stream(number: usize) -> StreamId {
        StreamId::new(&format!("s{number}")).unwrap()
    }

    fn two() -> Replicas {
        Replicas::default()
    }

    /// A cluster whose nodes report at each tick which streams they hold.
    #[derive(Default)]
    struct Cluster {
        view: Membership,
        policy: Policy,
        owners: BTreeMap<StreamId, Vec<NodeId>>,
    }

    impl Cluster {
        fn of(nodes: usize) -> Self {
            let mut cluster = Self::default();
            (0..nodes).for_each(|number| cluster.says(number, NodeState::Online));
            cluster
        }

        fn says(&mut self, number: usize, state: NodeState) {
            let mut presence = presence(id(number).as_str(), state, 1);
            let holds = |owners: &Vec<NodeId>| owners.contains(&presence.node);
            presence.streams =
                self.owners.iter().filter(|(_, owners)| holds(owners)).map(|(name, _)| name.clone()).collect();
            self.view.heard(presence, at(0));
        }

        fn tick(&mut self) {
            let there: Vec<NodeId> =
                self.view.online(Role::Broadcast, at(1)).map(|m| m.presence.node.clone()).collect();
            for node in there {
                self.says(node.as_str()[1..].parse().unwrap(), NodeState::Online);
            }
        }

        /// Decides again for all streams; returns how many owners are new.
        fn decide(&mut self) -> usize {
            let mut moved = 0;
            for (stream, current) in &mut self.owners {
                let next = owners(&self.view, &self.policy, stream, (current, two()), at(1));
                moved += next.iter().filter(|node| !current.contains(node)).count();
                *current = next;
            }
            moved
        }

        fn begin(&mut self, numbers: std::ops::Range<usize>) {
            for number in numbers {
                let name = stream(number);
                let chosen = owners(&self.view, &self.policy, &name, (&[], two()), at(1));
                self.owners.insert(name, chosen);
                if number % 20 == 19 {
                    self.tick();
                }
            }
            self.tick();
        }

        fn loads(&self) -> BTreeMap<&NodeId, usize> {
            self.owners.values().flatten().fold(BTreeMap::new(), |mut loads, node| {
                *loads.entry(node).or_default() += 1;
                loads
            })
        }
    }

    #[test]
    fn no_node_has_much_more_than_its_share() {
        let mut cluster = Cluster::of(10);
        cluster.policy.weights.insert(id(0), 3.0);
        cluster.begin(0..600);
        let loads = cluster.loads();
        // 1,200 places over 12 weights; streams that begin within one tick may exceed the share.
        assert!(loads[&id(0)] > 240 && loads[&id(0)] <= 375 + 20, "{loads:?}");
        assert!((1..10).all(|number| loads[&id(number)] <= 125 + 20), "{loads:?}");
    }

    #[test]
    fn loss_moves_what_the_node_had_and_its_return_nothing() {
        let mut cluster = Cluster::of(8);
        cluster.begin(0..200);
        let had = cluster.loads()[&id(3)];
        cluster.says(3, NodeState::Offline);
        assert_eq!(cluster.decide(), had);
        cluster.tick();
        assert_eq!(cluster.decide(), 0);
        cluster.says(3, NodeState::Online);
        assert_eq!(cluster.decide(), 0, "it comes back empty");
        cluster.begin(200..230);
        assert!(cluster.loads()[&id(3)] > 0);
    }

    #[test]
    fn drained_node_gives_its_streams_away_and_one_that_failed_a_request_keeps_them() {
        let mut cluster = Cluster::of(4);
        cluster.begin(0..40);
        let had = cluster.loads()[&id(1)];
        cluster.view.failed(&id(1), at(0));
        assert_eq!(cluster.decide(), 0);
        let new = owners(&cluster.view, &cluster.policy, &stream(99), (&[], Replicas::All), at(1));
        assert_eq!(new, [id(0), id(2), id(3)]);
        cluster.policy.drained.push(id(1));
        assert_eq!(cluster.decide(), had);
        assert!(!cluster.loads().contains_key(&id(1)));
    }

    proptest! {
        #[test]
        fn owners_are_there_as_many_as_can_be_and_kept_where_they_can(
            states in prop::collection::vec(0u8..4, 0..12),
            weights in prop::collection::vec(prop::num::f64::ANY, 0..4),
            (current, count) in (prop::collection::vec(0usize..14, 0..4), 1usize..5),
        ) {
            let mut cluster = Cluster::default();
            for (number, state) in states.iter().enumerate() {
                let states = [NodeState::Online, NodeState::Draining, NodeState::Offline, NodeState::Online];
                cluster.says(number, states[usize::from(*state)]);
            }
            let weights = weights.into_iter().enumerate();
            cluster.policy.weights = weights.map(|(number, weight)| (id(number), weight)).collect();
            let current: Vec<NodeId> = current.into_iter().map(id).collect();
            let replicas = Replicas::Count(NonZeroUsize::new(count).unwrap());
            let chosen = owners(&cluster.view, &cluster.policy, &stream(1), (&current, replicas), at(1));
            let online = cluster.view.online(Role::Broadcast, at(1));
            let online: Vec<NodeId> = online.map(|member| member.presence.node.clone()).collect();
            prop_assert_eq!(chosen.len(), count.min(online.len()));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]), "each once");
            prop_assert!(chosen.iter().all(|node| online.contains(node)));
            let kept = online.iter().filter(|node| current.contains(node)).count().min(count);
            prop_assert_eq!(chosen.iter().filter(|node| current.contains(node)).count(), kept);
        }
    }
}
