//! Who should take the next viewer: weighted rendezvous hashing over the members that are there.
//!
//! Every balancer that sees the same members makes the same choice for the same key, and a node that comes or goes moves
//! only its own share of the keys. Pure.

use media::{NodeId, Now, StreamId};
use messages::{Load, Policy, Role};

use crate::{Health, Member, Membership};

/// A node with less of what is scarcest on it than this left is not preferred to others by anybody.
const HEADROOM_AMPLE: f64 = 0.2;

/// Smallest weight of a node that is there: even a node that reports full load is better than an error.
const WEIGHT_MIN: f64 = 0.02;
/// Largest weight: more would leave the others nothing.
const WEIGHT_MAX: f64 = 1e6;

/// Whom a node is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Viewer<'a> {
    /// Spreads viewers over the nodes: the same key, the same node.
    pub key: u64,
    /// Nothing but the key keeps the viewer where it is, so that only a node that is nearly full sends it away.
    pub is_placed_by_key: bool,
    /// The node that the viewer was sent to before.
    pub sticky: Option<&'a NodeId>,
    /// The stream that it asks for.
    pub stream: Option<&'a StreamId>,
}

/// Broadcast nodes for a viewer, best first. Those that say they hold the stream come before those that do not: one that has
/// just come back has to catch up first. Of these, the node it was sent to before, as long as it can be used, then all that are
/// online, by weight and key, then draining ones; as a last resort, suspect ones.
pub fn candidates<'a>(view: &'a Membership, policy: &Policy, viewer: Viewer<'_>, now: Now) -> Vec<&'a Member> {
    let mut ranked: Vec<((bool, bool, u8), f64, &Member)> = view
        .members()
        .filter(|member| member.presence.role == Role::Broadcast)
        .filter_map(|member| {
            let node = &member.presence.node;
            let is_sticky = viewer.sticky == Some(node);
            let drained = policy.drained.contains(node);
            let class = match view.health(member, now) {
                Health::Online | Health::Draining if is_sticky => 0,
                Health::Online if !drained => 1,
                Health::Online | Health::Draining => 2,
                Health::Suspect => 3,
                Health::Offline => return None,
            };
            let lacks = viewer.stream.is_some_and(|stream| !member.presence.streams.contains(stream));
            Some((
                (class == 3, lacks, class),
                score(viewer.key, node, weight(&member.presence.load, policy, node, viewer.is_placed_by_key)),
                member,
            ))
        })
        .collect();
    ranked.sort_by(|(class_a, score_a, a), (class_b, score_b, b)| {
        class_a.cmp(class_b).then(score_a.total_cmp(score_b)).then_with(|| a.presence.node.cmp(&b.presence.node))
    });
    ranked.into_iter().map(|(_, _, member)| member).collect()
}

/// Share of new viewers that a node should get: the headroom of what is scarcest on it, or none of that matters as long as it is ample;
/// times the operator's weight.
fn weight(load: &Load, policy: &Policy, node: &NodeId, is_placed_by_key: bool) -> f64 {
    let configured = configured_weight(policy, node);
    #[expect(clippy::cast_precision_loss, reason = "a ratio; exact to 2^53 bit/s")]
    let egress = if load.egress_capacity.0 == 0 { 0.0 } else { load.egress.0 as f64 / load.egress_capacity.0 as f64 };
    let headroom = 1.0 - load.cpu.max(egress);
    let headroom = if is_placed_by_key && headroom >= HEADROOM_AMPLE { 1.0 } else { headroom };
    let weight = configured * headroom;
    // Loads and weights come over the bus: not a number, or negative, counts as full.
    if weight.is_finite() { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) } else { WEIGHT_MIN }
}

/// The operator's weight. It comes over the bus: not a number, or negative, counts as next to nothing.
pub(crate) fn configured_weight(policy: &Policy, node: &NodeId) -> f64 {
    let weight = policy.weights.get(node).copied().unwrap_or(1.0);
    if weight.is_finite() { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) } else { WEIGHT_MIN }
}

/// The key by which a stream is spread over the nodes.
pub(crate) fn key_of(stream: &StreamId) -> u64 {
    fnv(stream.as_str().as_bytes())
}

/// Rendezvous score, smaller is better: an exponential variate of rate `weight`, drawn by hashing key and node.
pub(crate) fn score(key: u64, node: &NodeId, weight: f64) -> f64 {
    let hash = mix(key ^ fnv(node.as_str().as_bytes()));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept on purpose")]
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / weight
}

/// FNV-1a, 64 bit.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64's finaliser: spreads every input bit over the output.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use messages::NodeState;

    use super::*;
    use crate::membership::tests::{at, presence};

    fn cluster(loads: &[(&str, f64)]) -> Membership {
        let mut view = Membership::default();
        for (name, cpu) in loads {
            let mut presence = presence(name, NodeState::Online, 1);
            presence.load.cpu = *cpu;
            view.heard(presence, at(0));
        }
        view
    }

    fn first(view: &Membership, key: u64, sticky: Option<&str>) -> String {
        let sticky = sticky.map(|name| NodeId::new(name).unwrap());
        let viewer = Viewer { key, sticky: sticky.as_ref(), ..Viewer::default() };
        let order = candidates(view, &Policy::default(), viewer, at(1));
        order.first().unwrap().presence.node.to_string()
    }

    #[test]
    fn viewers_follow_the_headroom() {
        let view = cluster(&[("b1", 0.0), ("b2", 0.5), ("b3", 0.75)]);
        let mut counts = BTreeMap::new();
        for key in 0..70_000 {
            *counts.entry(first(&view, key, None)).or_insert(0u32) += 1;
        }
        // Weights 1 : 0.5 : 0.25 of 70,000.
        assert!((39_000..41_000).contains(&counts["b1"]), "{counts:?}");
        assert!((19_000..21_000).contains(&counts["b2"]), "{counts:?}");
        assert!((9_000..11_000).contains(&counts["b3"]), "{counts:?}");
    }

    #[test]
    fn viewer_that_only_its_key_keeps_stays_until_its_node_is_nearly_full() {
        let node = |view: &Membership, key| {
            let viewer = Viewer { key, is_placed_by_key: true, ..Viewer::default() };
            candidates(view, &Policy::default(), viewer, at(1)).first().unwrap().presence.node.to_string()
        };
        let quiet = cluster(&[("b1", 0.0), ("b2", 0.1)]);
        let busy = cluster(&[("b1", 0.75), ("b2", 0.05)]);
        let full = cluster(&[("b1", 0.95), ("b2", 0.05)]);
        let moved = (0..1_000).filter(|key| node(&quiet, *key) != node(&busy, *key)).count();
        let left = (0..1_000).filter(|key| node(&full, *key) == "b1").count();
        assert!(moved == 0 && left < 100, "{moved} moved, {left} left");
    }

    #[test]
    fn loss_of_a_node_moves_its_own_viewers_only() {
        let view = cluster(&[("b1", 0.1), ("b2", 0.1), ("b3", 0.1)]);
        let mut smaller = view.clone();
        smaller.heard(presence("b3", NodeState::Offline, 1), at(0));
        for key in 0..1_000 {
            let before = first(&view, key, None);
            assert!(before == "b3" || before == first(&smaller, key, None), "key {key} moved without need");
        }
    }

    #[test]
    fn viewer_stays_on_a_draining_node_and_leaves_a_failed_one() {
        let mut view = cluster(&[("b1", 0.9), ("b2", 0.0)]);
        assert_eq!(first(&view, 7, Some("b1")), "b1");
        view.heard(presence("b1", NodeState::Draining, 1), at(0));
        assert_eq!(first(&view, 7, Some("b1")), "b1");
        assert_eq!(first(&view, 7, None), "b2");
        view.failed(&NodeId::new("b1").unwrap(), at(0));
        assert_eq!(first(&view, 7, Some("b1")), "b2");
    }

    #[test]
    fn node_that_has_come_back_gets_viewers_of_a_stream_once_it_holds_it() {
        let mut view = cluster(&[("b1", 0.0), ("b2", 0.0), ("b3", 0.0)]);
        let (demo, other) = (StreamId::new("demo").unwrap(), StreamId::new("other").unwrap());
        let hears = |view: &mut Membership, node: &str, state: NodeState, streams: &[StreamId]| {
            let mut presence = presence(node, state, 1);
            presence.streams = streams.to_vec();
            view.heard(presence, at(0));
        };
        hears(&mut view, "b2", NodeState::Online, &[other.clone(), demo.clone()]);
        hears(&mut view, "b3", NodeState::Draining, std::slice::from_ref(&demo));
        let b1 = NodeId::new("b1").unwrap();
        let order = |view: &Membership, stream: &StreamId| {
            let viewer = Viewer { key: 7, sticky: Some(&b1), stream: Some(stream), ..Viewer::default() };
            let order = candidates(view, &Policy::default(), viewer, at(1)).into_iter();
            order.map(|member| member.presence.node.to_string()).collect::<Vec<_>>()
        };
        // A draining node that has it is better than one that would answer that there is no such stream.
        assert_eq!(order(&view, &demo), ["b2", "b3", "b1"]);
        assert_eq!(order(&view, &other), ["b2", "b1", "b3"]);
        assert_eq!(order(&view, &StreamId::new("unknown").unwrap()), ["b1", "b2", "b3"]);
        hears(&mut view, "b1", NodeState::Online, std::slice::from_ref(&demo));
        assert_eq!(order(&view, &demo), ["b1", "b2", "b3"]);
        view.failed(&b1, at(0));
        assert_eq!(order(&view, &demo), ["b2", "b3", "b1"]);
    }

    #[test]
    fn hostile_loads_leave_every_node_usable() {
        let view = cluster(&[("b1", f64::NAN), ("b2", f64::INFINITY), ("b3", -1e300)]);
        for key in 0..100 {
            assert_eq!(candidates(&view, &Policy::default(), Viewer { key, ..Viewer::default() }, at(1)).len(), 3);
        }
    }
}
