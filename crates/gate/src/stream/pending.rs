//! Verified seals that wait for their bytes, in log order, and what they miss. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, Epoch, LogSequence, NodeId, ObjectName, RenditionId, Slot, StreamId};
use seal::{Object, SealBody, Sealed};

use super::fence::Fence;
use super::opens_epoch;
use crate::assembly::SlotBytes;
use crate::limits::PENDING_SEALS_MAX;
use crate::store::length;
use crate::wants::Wants;
use crate::{GateContext, Holding};

/// A seal of the log that is not admitted yet.
#[derive(Debug)]
pub(super) struct PendingSeal {
    pub(super) sealed: Sealed,
    /// The seal that its epoch builds on, when it opens one.
    pub(super) void_after: Option<LogSequence>,
    /// The timeline starts again with it.
    pub(super) anew: bool,
    pub(super) bytes: SlotBytes,
    missing: usize,
}

impl PendingSeal {
    pub(super) fn new(sealed: Sealed, void_after: Option<LogSequence>, anew: bool) -> Self {
        Self { sealed, void_after, anew, bytes: SlotBytes::new(), missing: 0 }
    }

    fn sequence(&self) -> LogSequence {
        self.sealed.body().sequence
    }

    /// Bytes that are here.
    fn length(&self) -> u64 {
        self.bytes.values().map(|(_, bytes)| length(bytes)).sum()
    }
}

/// An object whose bytes a seal needs before it is admitted.
#[derive(Debug, Clone)]
pub(super) struct Need {
    pub(super) rendition: RenditionId,
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) length: u64,
}

/// An object that a verified seal names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) digest: Digest,
    /// Its bytes are here, or are not waited for.
    pub(crate) is_settled: bool,
}

/// Where the bytes of a wanted object belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filled {
    /// A seal that is not admitted yet has them now.
    Pending,
    /// A seal that was admitted without them lacks them.
    Admitted(Bytes),
    /// No seal wants them.
    Unwanted,
}

/// Whether the log has reached a checkpoint: seals before the first one need no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ground {
    #[default]
    Sought,
    Found,
}

/// Whether seals are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Intake {
    #[default]
    Open,
    /// A seal contradicted the log, or too many wait: only a new epoch, or a new start, opens it again.
    Blocked,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    seals: VecDeque<PendingSeal>,
    /// Of all seals together.
    bytes: u64,
    /// What seals miss: those that wait here, and those that were admitted while the node was an edge.
    wants: Wants,
    ground: Ground,
    intake: Intake,
    fence: Option<Fence>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.seals.is_empty()
    }

    /// Bytes of media that wait with their seals.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn newest(&self) -> Option<&Sealed> {
        self.seals.back().map(|pending| &pending.sealed)
    }

    /// The log starts again at a checkpoint: nothing that waits belongs to it.
    pub(super) fn begin_anew(&mut self) {
        self.drop_from(LogSequence(0));
        (self.intake, self.ground) = (Intake::Open, Ground::Sought);
    }

    /// An epoch opens that builds on `sequence`: seals after that are void.
    pub(super) fn void_after(&mut self, sequence: LogSequence) {
        self.drop_from(sequence.next());
        self.intake = Intake::Open;
    }

    /// Drops all that waits, and takes no seal before an epoch opens.
    pub(super) fn block(&mut self) {
        self.drop_from(LogSequence(0));
        self.intake = Intake::Blocked;
    }

    /// Drops seals from `sequence` on, and what they miss.
    fn drop_from(&mut self, sequence: LogSequence) {
        self.seals.retain(|pending| pending.sequence() < sequence);
        self.wants.retain(|wanted_by| wanted_by < sequence);
        self.bytes = self.seals.iter().map(PendingSeal::length).sum();
    }

    /// From now on no seal is admitted, until an epoch after `epoch` opens, or the fence falls by itself.
    pub(super) fn fence(&mut self, epoch: Option<Epoch>, now: Duration) {
        self.fence = Some(Fence::new(epoch, now));
    }

    pub(super) fn lift_fence(&mut self, epoch: Epoch) {
        self.fence.take_if(|fence| fence.is_lifted_by(epoch));
    }

    /// The objects that the next seal of the log needs before it is admitted.
    pub(super) fn needs(&mut self, body: &SealBody, holding: Holding) -> Vec<Need> {
        if self.ground == Ground::Sought && !opens_epoch(body) {
            // A checkpoint in the middle of an epoch: its init segments are needed from here on, its row is not.
            if !body.checkpoint.is_empty() {
                self.ground = Ground::Found;
            }
            let inits = body.checkpoint.iter().filter(|_| holding == Holding::Owner);
            return inits
                .map(|checkpoint| Need {
                    rendition: checkpoint.track.rendition.clone(),
                    slot: Slot::Init,
                    digest: checkpoint.init,
                    length: checkpoint.init_length,
                })
                .collect();
        }
        self.ground = Ground::Found;
        let objects = body.objects.iter().filter(|object| holding == Holding::Owner && has_bytes(object));
        objects
            .map(|object| Need {
                rendition: object.rendition.clone(),
                slot: object.slot,
                digest: object.digest,
                length: object.length,
            })
            .collect()
    }

    /// Whether the next seal of the log is taken.
    ///
    /// # Errors
    /// When [`PENDING_SEALS_MAX`] wait already; no seal is taken from then on until an epoch opens.
    pub(super) fn accepts(&mut self) -> Result<bool, String> {
        if self.intake == Intake::Open && self.seals.len() >= PENDING_SEALS_MAX {
            self.intake = Intake::Blocked;
            return Err(format!("{PENDING_SEALS_MAX} seals wait for their bytes"));
        }
        Ok(self.intake == Intake::Open)
    }

    /// Queues the next seal of the log, with the bytes that are here.
    pub(super) fn push(&mut self, pending: PendingSeal) {
        self.bytes += pending.length();
        self.seals.push_back(pending);
    }

    /// The newest seal misses this object: it is pulled from `first_try` on, unless it is pushed before.
    pub(super) fn miss(&mut self, name: ObjectName, need: &Need, now: Duration, first_try: Duration) {
        if let Some(newest) = self.seals.back_mut() {
            newest.missing += 1;
            self.wants.add(name, (need.digest, need.length), newest.sequence(), now, first_try);
        }
    }

    /// Wants an object that an admitted seal names, from now on.
    pub(super) fn want_later(&mut self, name: ObjectName, object: (Digest, u64), sequence: LogSequence, now: Duration) {
        self.wants.add(name, object, sequence, now, now);
    }

    /// The node is an edge now: no seal waits for bytes.
    pub(super) fn want_nothing(&mut self) {
        self.wants.retain(|_| false);
        self.seals.iter_mut().for_each(|pending| pending.missing = 0);
    }

    /// Drops what only admitted seals wanted, unless `is_elsewhere` says that they still do.
    pub(super) fn trim(&mut self, is_elsewhere: impl Fn(&ObjectName) -> bool) {
        let Self { wants, seals, .. } = self;
        let waits = |sequence| seals.iter().any(|pending| pending.sequence() == sequence);
        wants.retain_by(|name, sequence| waits(sequence) || is_elsewhere(name));
    }

    /// Bytes of a wanted object came; the caller has compared `digest` with the seal.
    pub(super) fn fill(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes, now: Duration) -> Filled {
        let Some(want) = self.wants.came(name, now) else { return Filled::Unwanted };
        let pending = self.seals.iter_mut().find(|pending| pending.sequence() == want.sequence);
        let Some(pending) = pending else { return Filled::Admitted(bytes) };
        pending.missing -= 1;
        self.bytes += length(&bytes);
        pending.bytes.insert((name.rendition.clone(), name.slot), (digest, bytes));
        Filled::Pending
    }

    /// What a seal that waits, or that lacks the object, says about it.
    pub(super) fn named(&self, name: &ObjectName) -> Option<Named> {
        if let Some(want) = self.wants.get(name) {
            return Some(Named { digest: want.digest, is_settled: false });
        }
        let key = (name.rendition.clone(), name.slot);
        let mut waiting = self.seals.iter().filter(|pending| pending.sealed.body().epoch == name.epoch);
        let (digest, _) = waiting.find_map(|pending| pending.bytes.get(&key))?;
        Some(Named { digest: *digest, is_settled: true })
    }

    /// Takes the next seal, if it has its bytes and no fence holds it.
    pub(super) fn pop_complete(&mut self, now: Duration) -> Option<PendingSeal> {
        if !self.may_admit(now) {
            return None;
        }
        let next = self.seals.pop_front()?;
        self.bytes -= next.length();
        Some(next)
    }

    /// Whether the next seal would be admitted now.
    fn may_admit(&self, now: Duration) -> bool {
        self.is_complete() && self.fence.as_ref().is_none_or(|fence| fence.until() <= now)
    }

    /// Whether the next seal has its bytes.
    fn is_complete(&self) -> bool {
        self.seals.front().is_some_and(|pending| pending.missing == 0)
    }

    /// Objects that nobody had in time; each is named once.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<ObjectName> {
        self.wants.overdue(now)
    }

    /// When the first seal lacks bytes that nobody had in time: the seals from the first checkpoint on that is behind all such
    /// bytes. `None` when there is no such checkpoint yet. Seals that lack bytes for a shorter time go on waiting for them.
    pub(super) fn seals_behind_overdue(&self, now: Duration) -> Option<Vec<Sealed>> {
        let (newest, first) = (self.wants.newest_overdue(now)?, self.seals.front().filter(|first| first.missing > 0)?);
        let is_start = |pending: &&PendingSeal| {
            // Of a checkpoint in the middle of an epoch, the row itself is not needed.
            pending.sequence() >= newest.max(first.sequence().next()) && !pending.sealed.body().checkpoint.is_empty()
        };
        let start = self.seals.iter().find(is_start)?.sequence();
        let kept = self.seals.iter().filter(|pending| pending.sequence() >= start);
        Some(kept.map(|pending| pending.sealed.clone()).collect())
    }

    /// Since when each object is missing, for [`Pending::backdate`] once the seals are queued again.
    pub(super) fn missing_since(&self) -> BTreeMap<ObjectName, Duration> {
        self.wants.since()
    }

    pub(super) fn backdate(&mut self, since: &BTreeMap<ObjectName, Duration>) {
        self.wants.backdate(since);
    }

    /// Removes all seals; returns the bytes that they had.
    pub(super) fn take_bytes(&mut self, stream: &StreamId) -> Vec<(ObjectName, Digest, Bytes)> {
        let mut taken = Vec::new();
        for pending in std::mem::take(&mut self.seals) {
            let epoch = pending.sealed.body().epoch;
            taken.extend(pending.bytes.into_iter().map(|((rendition, slot), (digest, bytes))| {
                (ObjectName { stream: stream.clone(), rendition, epoch, slot }, digest, bytes)
            }));
        }
        self.bytes = 0;
        taken
    }

    /// Starts the pulls that are due, at one of `sources` each.
    pub(super) fn pull(&mut self, sources: &[NodeId], shared: &mut GateContext) {
        self.wants.pull(sources, shared);
    }

    /// Makes the next pull of the object due now.
    pub(super) fn pull_now(&mut self, name: &ObjectName, now: Duration) {
        self.wants.now(name, now);
    }

    pub(super) fn pull_failed(&mut self, name: &ObjectName, now: Duration, sources: usize) {
        self.wants.failed(name, now, sources);
    }

    /// There are other nodes to ask: what was asked for in vain is asked for again.
    pub(super) fn sources_changed(&mut self, now: Duration) {
        self.wants.peers_changed(now);
    }

    pub(super) fn next_deadline(&self, sources: usize) -> Option<Duration> {
        let fence = self.fence.as_ref().filter(|_| self.is_complete()).map(Fence::until);
        self.wants.next_deadline(sources).into_iter().chain(fence).min()
    }

    /// `is_elsewhere` says whether an admitted seal names the object, and its bytes are not here.
    pub(super) fn check_invariants(&self, now: Duration, is_elsewhere: impl Fn(&ObjectName) -> bool) {
        self.wants.check_invariants();
        let missing: usize = self.seals.iter().map(|pending| pending.missing).sum();
        let later = self.wants.names().filter(|name| is_elsewhere(name)).count();
        assert_eq!(missing + later, self.wants.len(), "what is missing is wanted");
        assert!(self.seals.len() <= PENDING_SEALS_MAX);
        assert!(self.seals.iter().map(PendingSeal::sequence).is_sorted_by(|a, b| a < b), "seals are in log order");
        assert!(!self.may_admit(now), "what is complete is admitted");
        assert_eq!(self.bytes, self.seals.iter().map(PendingSeal::length).sum::<u64>(), "bytes that wait are counted");
    }
}

/// Whether an object travels: gaps have no bytes, and segments are made of their parts.
pub(super) fn has_bytes(object: &Object) -> bool {
    !object.gap && !matches!(object.slot, Slot::Segment { .. })
}
