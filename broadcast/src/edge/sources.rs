//! Which owner is asked first: the nearest that is well. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::NodeId;

/// How long an owner that failed is asked last.
const FAILED_FOR: Duration = Duration::from_secs(3);
/// Owners whose distance is remembered; others count as near.
const KNOWN_MAX: usize = 256;
/// Weight of the newest answer in the distance that is remembered.
const NEWEST_SHARE: f64 = 0.2;
/// Owners that answer within this are equally near. The edge's name then decides which is asked first, so that edges spread over owners.
const NEAR: Duration = Duration::from_millis(4);

/// How long owners take to answer, and which of them failed.
#[derive(Debug)]
pub(crate) struct Sources {
    me: NodeId,
    known: BTreeMap<NodeId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    distance: Option<Duration>,
    failed_at: Option<Duration>,
}

impl Sources {
    pub(crate) const fn new(me: NodeId) -> Self {
        Self { me, known: BTreeMap::new() }
    }

    /// An owner answered after `took`.
    pub(crate) fn answered(&mut self, node: &NodeId, took: Duration) {
        let Some(known) = self.know(node) else { return };
        let before = known.distance.unwrap_or(took);
        known.distance = Some(before.mul_f64(1.0 - NEWEST_SHARE) + took.mul_f64(NEWEST_SHARE));
        known.failed_at = None;
    }

    /// An owner did not answer, was overtaken by another, or sent other bytes.
    pub(crate) fn failed(&mut self, node: &NodeId, now: Duration) {
        if let Some(known) = self.know(node) {
            known.failed_at = Some(now);
        }
    }

    fn know(&mut self, node: &NodeId) -> Option<&mut Known> {
        if !self.known.contains_key(node) && self.known.len() >= KNOWN_MAX {
            return None;
        }
        Some(self.known.entry(node.clone()).or_default())
    }

    /// Owners in the order in which they are to be asked.
    pub(crate) fn ranked(&self, owners: &[NodeId], now: Duration) -> Vec<NodeId> {
        let rank = |node: &NodeId| {
            let known = self.known.get(node);
            let failed = known.and_then(|known| known.failed_at).is_some_and(|at| now.saturating_sub(at) < FAILED_FOR);
            let distance = known.and_then(|known| known.distance).unwrap_or_default();
            // Classes of distance double in width: an owner that is only a little further away gets its share of requests.
            let class = distance.as_micros().checked_div(NEAR.as_micros()).map_or(0, |times| (times + 1).ilog2());
            (failed, class, spread(&self.me, node))
        };
        let mut ranked: Vec<NodeId> = owners.iter().filter(|owner| **owner != self.me).cloned().collect();
        ranked.sort_by_cached_key(rank);
        ranked
    }
}

/// An order of owners that differs from edge to edge, and is always the same on one.
fn spread(me: &NodeId, owner: &NodeId) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (me, owner).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn near_owners_are_shared_and_far_or_failed_ones_come_later() {
        let owners = [id("b1"), id("b2"), id("b3")];
        let mut first = BTreeMap::<NodeId, usize>::new();
        for edge in 0..300 {
            let ranked = Sources::new(id(&format!("e{edge}"))).ranked(&owners, millis(0));
            *first.entry(ranked[0].clone()).or_default() += 1;
        }
        assert!(first.values().all(|count| *count > 70), "{first:?}");

        let mut sources = Sources::new(id("e1"));
        sources.answered(&id("b1"), millis(1));
        sources.answered(&id("b2"), millis(80));
        sources.answered(&id("b3"), millis(3));
        assert_eq!(sources.ranked(&owners, millis(0))[2], id("b2"));
        sources.failed(&id("b1"), millis(10));
        sources.failed(&id("b3"), millis(10));
        assert_eq!(sources.ranked(&owners, millis(20))[0], id("b2"));
        assert_eq!(sources.ranked(&owners, millis(3_010))[2], id("b2"), "they are given another chance");
        assert_eq!(sources.ranked(&[id("e1")], millis(0)), [], "nobody asks itself");
    }
}
