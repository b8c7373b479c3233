//! One stream: its log, the seals that wait for bytes, and what was admitted. Pure.
//!
//! Seals are admitted strictly in log order. Once all bytes of a seal are here, it is folded into the timeline and its bytes
//! become visible together; before that, none of them is visible.

mod admit;
mod catch_up;
mod fence;
mod hold;
mod show;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, LogSequence, NodeId, ObjectName, RenditionId, Slot, StreamId, UnixMillis};
use messages::AlertReason;
use playlist::Timeline;
use playlist::reload::Edge;
use seal::{Chain, Input as ChainInput, Outcome, SealBody, Sealed, Step, Verdict};
use sha2::{Digest as _, Sha256};

use super::assembly::{Assembly, SlotBytes};
use super::limits::{PENDING_SEALS_MAX, PULL_AFTER, STREAM_IDLE_MAX};
use super::store::{Media, length};
use super::view::Playlists;
use super::wants::Wants;
use super::{Answer, GateContext, Holding, SavedHead, reason_of};
use catch_up::CatchUp;
use fence::Fence;

/// A seal of the log that is not admitted yet.
#[derive(Debug)]
struct Pending {
    sealed: Sealed,
    /// The seal that its epoch builds on, when it opens one.
    void_after: Option<LogSequence>,
    /// The timeline starts again with it.
    anew: bool,
    bytes: SlotBytes,
    missing: usize,
}

/// An object that a verified seal names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) digest: Digest,
    /// Its bytes are here, or are not waited for.
    pub(super) is_settled: bool,
}

/// Whether the log has reached a checkpoint: seals before the first one need no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Sought,
    Found,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) chain: Chain,
    pub(super) catch_up: CatchUp,
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    wants: Wants,
    pub(super) holding: Holding,
    /// Nodes that own the stream.
    owners: Vec<NodeId>,
    /// Nodes that are asked for what is missing; chosen again when owners or peers change.
    pub(super) sources: Vec<NodeId>,
    ground: Ground,
    /// A seal contradicted the log: only a new epoch helps.
    blocked: bool,
    fence: Option<Fence>,
    timeline: Timeline,
    assembly: Assembly,
    media: Media,
    log: VecDeque<Sealed>,
    saved: Option<SavedHead>,
    /// Playlists are shown once this seal is admitted; until then the window is filling.
    show_from: LogSequence,
    /// Where the playlists that are shown end; `show` decides which other end may replace it.
    shown: Option<Edge>,
    playlists: Option<Arc<Playlists>>,
    seals_admitted: u64,
    admitted_at: UnixMillis,
    refused: BTreeMap<AlertReason, u64>,
    /// The stream's share of [`GateContext::media_bytes`].
    counted: u64,
    is_changed: bool,
    /// What playlists list has changed.
    is_relisted: bool,
    is_saved: bool,
    /// When [`Stream::work`] has something to do; zero when an input came.
    due: Option<Duration>,
}

pub(super) fn opens_epoch(body: &SealBody) -> bool {
    body.objects.iter().any(|object| object.slot == Slot::Init)
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        saved: Option<SavedHead>,
        (holding, owners): (Holding, Vec<NodeId>),
        shared: &mut GateContext,
    ) -> Self {
        let chain = saved.as_ref().map_or_else(|| Chain::new(id.clone()), |saved| Chain::resume(saved.head.clone()));
        let mut stream = Self {
            id,
            chain,
            catch_up: CatchUp::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            wants: Wants::default(),
            holding,
            owners,
            sources: Vec::new(),
            ground: Ground::Sought,
            blocked: false,
            fence: None,
            timeline: Timeline::new(shared.settings.playlist),
            assembly: Assembly::default(),
            media: Media::default(),
            log: VecDeque::new(),
            saved,
            show_from: LogSequence(0),
            shown: None,
            playlists: None,
            seals_admitted: 0,
            admitted_at: UnixMillis(0),
            refused: BTreeMap::new(),
            counted: 0,
            is_changed: true,
            is_relisted: false,
            is_saved: true,
            due: Some(Duration::ZERO),
        };
        stream.choose_sources(shared);
        stream.start_join(shared);
        stream
    }

    /// An input came: [`Stream::work`] runs for it.
    pub(super) fn touch(&mut self) {
        self.due = Some(Duration::ZERO);
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    pub(super) fn id(&self) -> &StreamId {
        &self.id
    }

    pub(super) fn count(&mut self, reason: AlertReason) {
        *self.refused.entry(reason).or_default() += 1;
        self.is_changed = true;
    }

    pub(super) fn refuse(&mut self, reason: AlertReason, detail: String, shared: &mut GateContext) {
        self.count(reason);
        shared.refuse(reason, Some(&self.id), detail);
    }

    /// A verified seal came.
    pub(super) fn seal(&mut self, sealed: Sealed, shared: &mut GateContext) -> Answer {
        match self.hold_back(sealed, shared) {
            Ok(answer) => answer,
            Err(sealed) => self.offer(sealed, shared),
        }
    }

    /// Whether no seal is admitted or pending here: at most the saved head is known.
    pub(super) fn is_bare(&self) -> bool {
        self.seals_admitted == 0 && self.pending.is_empty()
    }

    /// Gives a verified seal to the chain.
    pub(super) fn offer(&mut self, sealed: Sealed, shared: &mut GateContext) -> Answer {
        if self.chain.head().is_none() && !sealed.body().checkpoint.is_empty() {
            return match self.chain.join(vec![sealed], shared.now) {
                Ok(outcome) => {
                    self.begin_anew(outcome, shared);
                    Answer::Stored
                }
                Err(refusal) => {
                    let reason = reason_of(refusal.reason);
                    self.refuse(reason, refusal.detail, shared);
                    Answer::Refused(reason)
                }
            };
        }
        let opening = (self.is_bare() && opens_epoch(sealed.body())).then(|| sealed.clone());
        let outcome = self.chain.apply(ChainInput::Seal(sealed), shared.now);
        let answer = match &outcome.verdict {
            Verdict::Extended | Verdict::Buffered | Verdict::Nothing => Answer::Stored,
            Verdict::Duplicate => Answer::Known,
            Verdict::Refused(refusal) => {
                let reason = reason_of(refusal.reason);
                self.refuse(reason, refusal.detail.clone(), shared);
                Answer::Refused(reason)
            }
        };
        let is_buffered = matches!(outcome.verdict, Verdict::Buffered);
        self.steps(outcome, shared);
        if let Some(opening) = opening.filter(|_| is_buffered) {
            // Everybody but its author lost the seal that it builds on. If it does not lead past what was seen here, it stays buffered.
            let _ = self.join_tail(vec![opening], shared);
        }
        answer
    }

    fn steps(&mut self, outcome: Outcome, shared: &mut GateContext) {
        for (_, refusal) in outcome.refused {
            self.refuse(reason_of(refusal.reason), refusal.detail, shared);
        }
        let first_try = shared.now.elapsed + PULL_AFTER;
        for step in outcome.steps {
            self.catch_up.progress_at = shared.now.elapsed;
            self.enqueue(step, first_try, shared);
        }
    }

    /// The chain took over a log from its tail: the timeline starts again with it, and uses the bytes that are here.
    pub(super) fn begin_anew(&mut self, outcome: Outcome, shared: &mut GateContext) {
        self.drop_pending(|_| false);
        self.blocked = false;
        self.ground = Ground::Sought;
        let steps = outcome.steps;
        self.show_from = steps.last().map_or(LogSequence(0), |last| last.sealed().body().sequence);
        self.catch_up.progress_at = shared.now.elapsed;
        let mut anew = true;
        for step in steps {
            self.enqueue(step, shared.now.elapsed, shared);
            if let Some(first) = self.pending.back_mut().filter(|_| anew) {
                first.anew = true;
                anew = false;
            }
        }
        for (_, refusal) in outcome.refused {
            self.refuse(reason_of(refusal.reason), refusal.detail, shared);
        }
    }

    /// Queues a seal for admission with the bytes that are here, and notes those that are missing.
    fn enqueue(&mut self, step: Step, first_try: Duration, shared: &mut GateContext) {
        let (sealed, void_after) = match step {
            Step::Extend(sealed) => (sealed, None),
            Step::OpenEpoch { sealed, void_after } => {
                self.drop_pending(|sequence| sequence <= void_after);
                self.blocked = false;
                (sealed, Some(void_after))
            }
        };
        self.lift_fence(sealed.body().epoch);
        if self.blocked {
            return;
        }
        if self.pending.len() >= PENDING_SEALS_MAX {
            self.blocked = true;
            let detail = format!("stream {}: {PENDING_SEALS_MAX} seals wait for their bytes", self.id);
            self.refuse(AlertReason::Quarantine, detail, shared);
            return;
        }
        let needs = self.needs(sealed.body(), shared);
        let sequence = sealed.body().sequence;
        let epoch = sealed.body().epoch;
        let mut pending = Pending { sealed, void_after, anew: false, bytes: BTreeMap::new(), missing: 0 };
        for (rendition, slot, digest, bytes_length) in needs {
            let name = ObjectName { stream: self.id.clone(), rendition, epoch, slot };
            match self.find(&name, digest, shared) {
                Some(bytes) => {
                    self.pending_bytes += length(&bytes);
                    pending.bytes.insert((name.rendition, slot), (digest, bytes));
                }
                None => {
                    pending.missing += 1;
                    self.wants.add(name, (digest, bytes_length), sequence, shared.now.elapsed, first_try);
                }
            }
        }
        self.pending.push_back(pending);
    }

    /// The objects whose bytes must be here before the seal is admitted.
    fn needs(&mut self, body: &SealBody, shared: &mut GateContext) -> Vec<(RenditionId, Slot, Digest, u64)> {
        let opens = opens_epoch(body);
        if self.ground == Ground::Sought && !opens {
            // A checkpoint in the middle of an epoch: its init segments are needed from here on, its row is not.
            if !body.checkpoint.is_empty() {
                self.ground = Ground::Found;
            }
            self.settle_unneeded(body, shared);
            let inits = body.checkpoint.iter().filter(|_| self.holding == Holding::Owner);
            return inits.map(|r| (r.track.rendition.clone(), Slot::Init, r.init, r.init_length)).collect();
        }
        self.ground = Ground::Found;
        if self.holding == Holding::Edge {
            self.settle_unneeded(body, shared);
            return Vec::new();
        }
        let has_bytes = |object: &&seal::Object| !object.gap && !matches!(object.slot, Slot::Segment { .. });
        let objects = body.objects.iter().filter(has_bytes);
        objects.map(|object| (object.rendition.clone(), object.slot, object.digest, object.length)).collect()
    }

    /// Removes the objects that a verified seal names from the quarantine, where this node has no use for them.
    fn settle_unneeded(&mut self, body: &SealBody, shared: &mut GateContext) {
        for object in body.objects.iter().filter(|object| !matches!(object.slot, Slot::Segment { .. })) {
            let (stream, rendition) = (self.id.clone(), object.rendition.clone());
            let name = ObjectName { stream, rendition, epoch: body.epoch, slot: object.slot };
            shared.quarantine.settle(&name, object.digest);
        }
    }

    /// Bytes that are here already: in quarantine, admitted, or saved with the head. Quarantined bytes with another digest are refused.
    fn find(&mut self, name: &ObjectName, digest: Digest, shared: &mut GateContext) -> Option<Bytes> {
        let (right, wrong) = shared.quarantine.settle(name, digest);
        for claim in wrong {
            let detail =
                format!("{name} from {}: {} bytes that are not what the seal names", claim.peer, claim.bytes.len());
            self.refuse(AlertReason::Digest, detail, shared);
        }
        if let Some(claim) = right {
            return Some(claim.bytes);
        }
        let admitted = self.media.get(name.epoch, &name.rendition, name.slot);
        let admitted = admitted.filter(|(held, _)| *held == digest).map(|(_, bytes)| bytes);
        admitted.or_else(|| {
            let mut saved = self.saved.iter().filter(|_| name.slot == Slot::Init).flat_map(|saved| &saved.inits);
            saved.find(|init| Digest(Sha256::digest(init).into()) == digest).cloned()
        })
    }

    /// What a verified seal says about an object; `None` when none names it.
    pub(super) fn named(&self, name: &ObjectName) -> Option<Named> {
        if let Some(want) = self.wants.get(name) {
            return Some(Named { digest: want.digest, is_settled: false });
        }
        let key = (name.rendition.clone(), name.slot);
        let waiting = self.pending.iter().filter(|pending| pending.sealed.body().epoch == name.epoch);
        let digest = waiting.filter_map(|pending| pending.bytes.get(&key)).map(|(digest, _)| *digest).next();
        let digest = digest
            .or_else(|| self.media.get(name.epoch, &name.rendition, name.slot).map(|(digest, _)| digest))
            .or_else(|| self.elsewhere(name).map(|absent| absent.digest))?;
        Some(Named { digest, is_settled: true })
    }

    /// Bytes of a wanted object came; the caller has compared `digest` with the seal.
    pub(super) fn fill(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes, now: Duration) {
        let Some(want) = self.wants.came(name, now) else { return };
        let pending = self.pending.iter_mut().find(|pending| pending.sealed.body().sequence == want.sequence);
        if let Some(pending) = pending {
            pending.missing -= 1;
            self.pending_bytes += length(&bytes);
            pending.bytes.insert((name.rendition.clone(), name.slot), (digest, bytes));
        } else if self.media.restore(name, digest, bytes) {
            self.is_changed = true;
        }
    }

    /// Bytes came that the next seal may name: they are hashed ahead.
    pub(super) fn foresee(&mut self, name: &ObjectName, digest: Digest, bytes: &Bytes) {
        self.assembly.foresee(name, digest, bytes);
    }

    pub(super) fn pull_now(&mut self, name: &ObjectName, shared: &GateContext) {
        self.wants.now(name, shared.now.elapsed);
    }

    pub(super) fn pull_failed(&mut self, name: &ObjectName, shared: &GateContext) {
        self.wants.failed(name, shared.now.elapsed, self.sources.len());
    }

    pub(super) fn peers_changed(&mut self, shared: &mut GateContext) {
        self.choose_sources(shared);
        self.wants.peers_changed(shared.now.elapsed);
        self.ask_all(shared);
    }

    fn drop_pending(&mut self, keep: impl Fn(LogSequence) -> bool + Copy) {
        self.pending.retain(|pending| keep(pending.sealed.body().sequence));
        self.wants.retain(keep);
        let bytes = self.pending.iter().flat_map(|pending| pending.bytes.values());
        self.pending_bytes = bytes.map(|(_, bytes)| length(bytes)).sum();
    }

    /// Does what is due: the chain's deadlines, catching up, admission, pulls, expiry.
    pub(super) fn work(&mut self, shared: &mut GateContext) {
        let now = shared.now.elapsed;
        if self.chain.next_deadline().is_some_and(|at| at <= now) {
            let outcome = self.chain.apply(ChainInput::Tick, shared.now);
            self.steps(outcome, shared);
        }
        self.catch_up(shared);
        self.admit(shared);
        if self.give_up_overdue(shared) {
            self.admit(shared);
        }
        self.wants.pull(&self.sources, shared);
        if self.media.expire(now) {
            self.media.keep_inits(self.timeline.checkpoint().map(|checkpoint| checkpoint.epoch));
            self.trim_wants();
            self.is_changed = true;
        }
        self.recount(shared);
        self.due = self.next_deadline(shared);
    }

    /// Whether this is the newest verified seal again: each comes from the ingest, and twice from the bus.
    pub(super) fn has_newest(&self, raw: &Bytes) -> bool {
        let newest = self.pending.back().map(|pending| &pending.sealed).or_else(|| self.log.back());
        self.catch_up.joining.is_none() && newest.is_some_and(|newest| newest.raw() == raw)
    }

    /// Reports bytes that nobody has, and continues at the next checkpoint after them; returns whether it did.
    fn give_up_overdue(&mut self, shared: &mut GateContext) -> bool {
        let overdue = self.wants.overdue(shared.now.elapsed);
        for name in &overdue {
            self.refuse(AlertReason::Deadline, format!("{name}: nobody had these bytes in time"), shared);
        }
        // Rows that were admitted without these bytes do not wait for them.
        let waits = self.pending.front().is_some_and(|first| first.missing > 0);
        if overdue.is_empty() || !waits {
            return false;
        }
        let later = self.pending.iter().skip(1).filter(|pending| !pending.sealed.body().checkpoint.is_empty());
        let Some(from) = later.map(|pending| pending.sealed.body().sequence).next() else { return false };
        let kept: Vec<Sealed> = self
            .pending
            .iter()
            .map(|pending| pending.sealed.clone())
            .filter(|sealed| sealed.body().sequence >= from)
            .collect();
        let steps = kept.into_iter().map(Step::Extend).collect();
        let outcome = Outcome { verdict: Verdict::Nothing, steps, refused: Vec::new() };
        // `requeue` keeps the bytes that pending seals have.
        self.requeue(outcome, shared);
        true
    }

    /// Queues these seals again; the timeline starts again with the first of them.
    fn requeue(&mut self, outcome: Outcome, shared: &mut GateContext) {
        let mut kept: Vec<(ObjectName, Digest, Bytes)> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let (stream, epoch) = (&self.id, pending.sealed.body().epoch);
            kept.extend(pending.bytes.into_iter().map(|((rendition, slot), (digest, bytes))| {
                (ObjectName { stream: stream.clone(), rendition, epoch, slot }, digest, bytes)
            }));
        }
        let show_from = self.show_from;
        self.begin_anew(outcome, shared);
        self.show_from = show_from;
        for (name, digest, bytes) in kept {
            if self.wants.get(&name).is_some_and(|want| want.digest == digest) {
                self.fill(&name, digest, bytes, shared.now.elapsed);
            }
        }
    }

    pub(super) fn evict(&mut self, shared: &mut GateContext) {
        self.media.evict();
        self.trim_wants();
        self.is_changed = true;
        self.recount(shared);
    }

    fn recount(&mut self, shared: &mut GateContext) {
        let bytes = self.media.bytes() + self.pending_bytes;
        shared.media_bytes = shared.media_bytes - self.counted + bytes;
        self.counted = bytes;
    }

    pub(super) fn media_bytes(&self) -> u64 {
        self.counted
    }

    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.catch_up.joining.is_none() && self.catch_up.progress_at + STREAM_IDLE_MAX <= now
    }

    pub(super) fn next_deadline(&self, shared: &GateContext) -> Option<Duration> {
        let idle = self.catch_up.progress_at + STREAM_IDLE_MAX;
        let others =
            [self.catch_up_deadline(shared), self.wants.next_deadline(self.sources.len()), self.media.next_expiry()];
        let others = others.into_iter().chain([self.fence_deadline()]);
        others.flatten().chain(self.catch_up.joining.is_none().then_some(idle)).min()
    }

    pub(super) fn check_invariants(&self, now: Duration) {
        self.chain.check_invariants();
        self.timeline.check_invariants();
        self.media.check_invariants();
        self.wants.check_invariants();
        let missing: usize = self.pending.iter().map(|pending| pending.missing).sum();
        let later = self.wants.names().filter(|name| self.elsewhere(name).is_some()).count();
        assert_eq!(missing + later, self.wants.len(), "what is missing is wanted");
        assert!(self.pending.len() <= PENDING_SEALS_MAX);
        let sequences = self.pending.iter().map(|pending| pending.sealed.body().sequence);
        assert!(sequences.is_sorted_by(|a, b| a < b), "pending seals are in log order");
        assert!(!self.may_admit(now), "what is complete is admitted");
    }

    /// The place of the part that comes after what playlists show.
    #[cfg(test)]
    pub(super) fn shown_place(&self) -> Option<(media::MediaSequence, media::PartIndex)> {
        self.shown.map(|edge| edge.place())
    }
}
