//! Bytes that verified seals name and that are not here: which node is asked for them, and when. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{Digest, LogSequence, NodeId, ObjectName};

use super::limits::{OBJECT_DEADLINE, PULL_ROUND_PAUSE, PULLS_PER_STREAM};
use super::{Effect, GateContext, Output, Pull};

/// One missing object.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) digest: Digest,
    pub(super) length: u64,
    /// The seal that names it.
    pub(super) sequence: LogSequence,
    /// When its seal came, or when bytes of this or an earlier seal last came.
    since: Duration,
    next_try: Duration,
    tried: usize,
    in_flight: bool,
    reported: bool,
}

/// What a stream misses.
#[derive(Debug, Default)]
pub(super) struct Wants {
    wants: BTreeMap<ObjectName, Want>,
    in_flight: usize,
}

impl Wants {
    /// Notes a missing object; it is pulled from `first_try` on, unless it is pushed before.
    pub(super) fn add(
        &mut self,
        name: ObjectName,
        (digest, length): (Digest, u64),
        sequence: LogSequence,
        now: Duration,
        first_try: Duration,
    ) {
        let want = Want {
            digest,
            length,
            sequence,
            since: now,
            next_try: first_try,
            tried: 0,
            in_flight: false,
            reported: false,
        };
        self.forget(&name);
        self.wants.insert(name, want);
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Want> {
        self.wants.get(name)
    }

    /// Removes a want: the object is here, or nobody needs it any more.
    pub(super) fn forget(&mut self, name: &ObjectName) -> Option<Want> {
        let want = self.wants.remove(name)?;
        self.in_flight -= usize::from(want.in_flight);
        Some(want)
    }

    /// Removes a want whose bytes came. An ingest pushes in log order, row by row, so the deadline of what was sealed later
    /// starts again now, however far behind its seal that is.
    pub(super) fn came(&mut self, name: &ObjectName, now: Duration) -> Option<Want> {
        let came = self.forget(name)?;
        self.wants.values_mut().filter(|want| want.sequence >= came.sequence).for_each(|want| want.since = now);
        Some(came)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(LogSequence) -> bool) {
        self.wants.retain(|_, want| keep(want.sequence));
        self.in_flight = self.wants.values().filter(|want| want.in_flight).count();
    }

    pub(super) fn retain_by(&mut self, keep: impl Fn(&ObjectName, LogSequence) -> bool) {
        self.wants.retain(|name, want| keep(name, want.sequence));
        self.in_flight = self.wants.values().filter(|want| want.in_flight).count();
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.wants.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    /// Makes the next pull of the object due now.
    pub(super) fn now(&mut self, name: &ObjectName, now: Duration) {
        if let Some(want) = self.wants.get_mut(name) {
            want.next_try = want.next_try.min(now);
        }
    }

    /// Makes the next pull of everything that was tried before due now: there are new peers to ask.
    pub(super) fn peers_changed(&mut self, now: Duration) {
        for want in self.wants.values_mut().filter(|want| want.tried > 0) {
            want.next_try = want.next_try.min(now);
        }
    }

    /// A pull brought nothing: the next peer is asked at once, and after all of them there is a pause.
    pub(super) fn failed(&mut self, name: &ObjectName, now: Duration, peers: usize) {
        if let Some(want) = self.wants.get_mut(name).filter(|want| want.in_flight) {
            want.in_flight = false;
            self.in_flight -= 1;
            want.tried += 1;
            let all_tried = want.tried.checked_rem(peers).is_none_or(|rest| rest == 0);
            want.next_try = if all_tried { now + PULL_ROUND_PAUSE } else { now };
        }
    }

    /// Starts the pulls that are due, at one of `sources` each.
    pub(super) fn pull(&mut self, sources: &[NodeId], shared: &mut GateContext) {
        let now = shared.now.elapsed;
        if sources.is_empty() {
            return;
        }
        for (name, want) in &mut self.wants {
            if self.in_flight >= PULLS_PER_STREAM {
                break;
            }
            if want.in_flight || want.next_try > now {
                continue;
            }
            // Objects of one seal start at different peers.
            let spread = want.digest.0.first().copied().map_or(0, usize::from);
            let Some(peer) = sources.get((spread + want.tried) % sources.len()).cloned() else { continue };
            want.in_flight = true;
            self.in_flight += 1;
            let id = shared.start_pull(Pull::Object { name: name.clone(), peer: peer.clone() });
            let pull = Effect::PullObject { id, peer, name: name.clone(), length: want.length };
            shared.outputs.push(Output::Effect(pull));
        }
    }

    /// Objects that are missing for too long, each reported once.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<ObjectName> {
        let due = |want: &Want| !want.reported && want.since + OBJECT_DEADLINE <= now;
        let overdue = self.wants.iter_mut().filter(|(_, want)| due(want));
        overdue
            .map(|(name, want)| {
                want.reported = true;
                name.clone()
            })
            .collect()
    }

    /// The newest seal that an object belongs to which is missing for too long.
    pub(super) fn newest_overdue(&self, now: Duration) -> Option<LogSequence> {
        let overdue = self.wants.values().filter(|want| want.since + OBJECT_DEADLINE <= now);
        overdue.map(|want| want.sequence).max()
    }

    /// Since when each object is missing.
    pub(super) fn since(&self) -> BTreeMap<ObjectName, Duration> {
        self.wants.iter().map(|(name, want)| (name.clone(), want.since)).collect()
    }

    /// Objects that were missing before are missing since then.
    pub(super) fn backdate(&mut self, since: &BTreeMap<ObjectName, Duration>) {
        for (name, want) in &mut self.wants {
            want.since = since.get(name).map_or(want.since, |since| want.since.min(*since));
        }
    }

    pub(super) fn next_deadline(&self, peers: usize) -> Option<Duration> {
        let may_pull = peers > 0 && self.in_flight < PULLS_PER_STREAM;
        let tries = self.wants.values().filter(|want| may_pull && !want.in_flight).map(|want| want.next_try);
        let overdue = self.wants.values().filter(|want| !want.reported).map(|want| want.since + OBJECT_DEADLINE);
        tries.chain(overdue).min()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.in_flight, self.wants.values().filter(|want| want.in_flight).count());
        assert!(self.in_flight <= PULLS_PER_STREAM);
    }
}
