//! Alerts: sums refusals up, so that each kind of them goes out on the bus at most once in 5 s.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{NodeId, StreamId, UnixMillis};
use messages::{Alert, AlertReason};

use gate::Refused;

/// The first refusal of a stream and reason is published at once; later ones are summed up and published this often.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Pairs of stream and reason that are told apart; beyond that, the stream is left out.
const KINDS_MAX: usize = 512;

/// Sums refusals up. Pure.
#[derive(Debug)]
pub(crate) struct Alerts {
    node: NodeId,
    kinds: BTreeMap<(Option<StreamId>, AlertReason), Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    said_at: Duration,
    count: u64,
    detail: String,
}

impl Alerts {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, kinds: BTreeMap::new() }
    }

    /// Takes a refusal; an alert when it is the first of its kind for a while.
    pub(crate) fn add(&mut self, refused: Refused, now: Duration, wall: UnixMillis) -> Option<Alert> {
        let mut key = (refused.stream, refused.reason);
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&key) {
            key.0 = None;
        }
        if let Some(kind) = self.kinds.get_mut(&key) {
            kind.count += 1;
            kind.detail = refused.detail;
            return None;
        }
        self.kinds.insert(key.clone(), Kind { said_at: now, count: 0, detail: String::new() });
        Some(self.alert(key, wall, refused.detail, 1))
    }

    /// Alerts that are due, each with its count since the last one. Kinds that did not come again are forgotten.
    pub(crate) fn flush(&mut self, now: Duration, wall: UnixMillis) -> Vec<Alert> {
        let due = |kind: &Kind| kind.said_at + INTERVAL <= now;
        self.kinds.retain(|_, kind| !due(kind) || kind.count > 0);
        let mut alerts = Vec::new();
        for (key, kind) in self.kinds.iter_mut().filter(|(_, kind)| due(kind)) {
            let (count, detail) = (std::mem::take(&mut kind.count), std::mem::take(&mut kind.detail));
            kind.said_at = now;
            alerts.push((key.clone(), detail, count));
        }
        alerts.into_iter().map(|(key, detail, count)| self.alert(key, wall, detail, count)).collect()
    }

    fn alert(&self, key: (Option<StreamId>, AlertReason), at: UnixMillis, detail: String, count: u64) -> Alert {
        let (stream, reason) = key;
        Alert { at, node: self.node.clone(), stream, reason, detail, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(stream: &str, reason: AlertReason) -> Refused {
        Refused { reason, stream: StreamId::new(stream).ok(), detail: "why".to_owned() }
    }

    #[test]
    fn first_is_said_at_once_and_the_rest_is_summed_up() {
        let mut alerts = Alerts::new(NodeId::new("b1").unwrap());
        let (now, wall) = (Duration::from_secs(1), UnixMillis(0));
        assert_eq!(alerts.add(refused("a", AlertReason::Key), now, wall).unwrap().count, 1);
        for _ in 0..1000 {
            assert_eq!(alerts.add(refused("a", AlertReason::Key), now, wall), None);
        }
        assert!(alerts.add(refused("b", AlertReason::Key), now, wall).is_some());
        assert!(alerts.add(refused("a", AlertReason::Digest), now, wall).is_some());
        assert!(alerts.flush(now, wall).is_empty());
        let said = alerts.flush(now + INTERVAL, wall);
        assert_eq!(said.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1000]);
        assert!(alerts.flush(now + 3 * INTERVAL, wall).is_empty());
        assert!(alerts.add(refused("a", AlertReason::Key), now + 4 * INTERVAL, wall).is_some());
    }

    #[test]
    fn a_flood_of_streams_takes_no_more_memory() {
        let mut alerts = Alerts::new(NodeId::new("b1").unwrap());
        for n in 0..10_000 {
            alerts.add(refused(&format!("s{n}"), AlertReason::Key), Duration::ZERO, UnixMillis(0));
        }
        assert!(alerts.kinds.len() <= KINDS_MAX + 12);
    }
}
