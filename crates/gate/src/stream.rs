//! One stream: how its seals go from the chain through waiting for their bytes to the playlists that viewers see. Pure.
//!
//! Seals are admitted strictly in log order. Once all bytes of a seal are here, it is folded into the timeline and its bytes
//! become visible together; before that, none of them is visible. Each step owns its state, and no other file reaches into it:
//! [`catch_up`] fetches seals, [`pending`] holds those that lack bytes, [`admitted`] is the log so far, [`shown`] what is listed.

mod admitted;
mod catch_up;
mod fence;
mod holders;
mod pending;
mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, NodeId, ObjectName, Slot, StreamId};
use messages::AlertReason;
use seal::{Chain, Input as ChainInput, Outcome, SealBody, Sealed, Step, Verdict};

use super::limits::{PULL_AFTER, STREAM_IDLE_MAX};
use super::view::StreamView;
use super::{Admitted, Answer, GateContext, Holding, Output, Recorded, SavedHead, reason_of};
use admitted::AdmittedLog;
use catch_up::CatchUp;
use holders::Holders;
pub(super) use pending::Named;
use pending::{Filled, Pending, PendingSeal, has_bytes};
use shown::ShownPlaylists;

#[derive(Debug)]
pub(super) struct Stream {
    id: StreamId,
    chain: Chain,
    holders: Holders,
    catch_up: CatchUp,
    pending: Pending,
    admitted: AdmittedLog,
    shown: ShownPlaylists,
    refused: BTreeMap<AlertReason, u64>,
    /// The stream's share of [`GateContext::media_bytes`].
    counted: u64,
    /// The view has to be published.
    is_changed: bool,
    /// When [`Stream::work`] has something to do; zero when an input came.
    due: Option<Duration>,
}

fn opens_epoch(body: &SealBody) -> bool {
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
            holders: Holders::new(holding, owners, &shared.peers),
            catch_up: CatchUp::default(),
            pending: Pending::default(),
            admitted: AdmittedLog::new(shared.settings.playlist, saved, shared.ledger.clone()),
            shown: ShownPlaylists::default(),
            refused: BTreeMap::new(),
            counted: 0,
            is_changed: true,
            due: Some(Duration::ZERO),
        };
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

    /// Gives a verified seal to the chain.
    pub(super) fn offer(&mut self, sealed: Sealed, shared: &mut GateContext) -> Answer {
        if self.chain.head().is_none() && !sealed.body().checkpoint.is_empty() {
            return match self.chain.join(vec![sealed], shared.now) {
                Ok(outcome) => {
                    self.start_log(outcome, shared);
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
            self.catch_up.progress(shared.now.elapsed);
            self.enqueue(step, false, first_try, shared);
        }
    }

    /// The chain took over a log from its tail: playlists start again once all of the tail is admitted.
    fn start_log(&mut self, outcome: Outcome, shared: &mut GateContext) {
        self.shown.wait_for(outcome.steps.last().map(|last| last.sealed().body().sequence));
        self.begin_anew(outcome, shared);
    }

    /// The timeline starts again with these seals, and uses the bytes that are here.
    fn begin_anew(&mut self, outcome: Outcome, shared: &mut GateContext) {
        self.pending.begin_anew();
        self.catch_up.progress(shared.now.elapsed);
        for (n, step) in outcome.steps.into_iter().enumerate() {
            self.enqueue(step, n == 0, shared.now.elapsed, shared);
        }
        for (_, refusal) in outcome.refused {
            self.refuse(reason_of(refusal.reason), refusal.detail, shared);
        }
    }

    /// Queues a seal for admission with the bytes that are here, and notes those that are missing.
    fn enqueue(&mut self, step: Step, anew: bool, first_try: Duration, shared: &mut GateContext) {
        let (sealed, void_after) = match step {
            Step::Extend(sealed) => (sealed, None),
            Step::OpenEpoch { sealed, void_after } => {
                self.pending.void_after(void_after);
                (sealed, Some(void_after))
            }
        };
        let epoch = sealed.body().epoch;
        self.pending.lift_fence(epoch);
        match self.pending.accepts() {
            Ok(true) => {}
            Ok(false) => return,
            Err(full) => return self.refuse(AlertReason::Quarantine, format!("stream {}: {full}", self.id), shared),
        }
        let named = |rendition, slot| ObjectName { stream: self.id.clone(), rendition, epoch, slot };
        let needs = self.pending.needs(sealed.body(), self.holders.here());
        let needs: Vec<_> = needs.into_iter().map(|need| (named(need.rendition.clone(), need.slot), need)).collect();
        // What a seal names and this node has no use for leaves the quarantine.
        for object in sealed.body().objects.iter().filter(|object| has_bytes(object)) {
            let name = named(object.rendition.clone(), object.slot);
            if !needs.iter().any(|(needed, _)| *needed == name) {
                shared.quarantine.settle(&name, object.digest);
            }
        }
        let mut pending = PendingSeal::new(sealed, void_after, anew);
        let mut missing = Vec::new();
        for (name, need) in needs {
            match self.find(&name, need.digest, shared) {
                Some(bytes) => _ = pending.bytes.insert((name.rendition, name.slot), (need.digest, bytes)),
                None => missing.push((name, need)),
            }
        }
        self.pending.push(pending);
        for (name, need) in missing {
            self.pending.miss(name, &need, shared.now.elapsed, first_try);
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
        let admitted = self.admitted.get(name).filter(|(held, _)| *held == digest).map(|(_, bytes)| bytes);
        let saved = || (name.slot == Slot::Init).then(|| self.admitted.saved_init(digest)).flatten();
        admitted.or_else(saved)
    }

    /// What a verified seal says about an object; `None` when none names it.
    pub(super) fn named(&self, name: &ObjectName) -> Option<Named> {
        let settled = |digest| Named { digest, is_settled: true };
        let admitted = || self.admitted.get(name).map(|(digest, _)| settled(digest));
        let elsewhere = || self.admitted.elsewhere(name).map(|absent| settled(absent.digest));
        self.pending.named(name).or_else(admitted).or_else(elsewhere)
    }

    /// Bytes of a wanted object came; the caller has compared `digest` with the seal.
    pub(super) fn fill(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes, now: Duration) {
        match self.pending.fill(name, digest, bytes, now) {
            Filled::Admitted(bytes) => self.is_changed |= self.admitted.restore(name, digest, bytes),
            Filled::Pending | Filled::Unwanted => {}
        }
    }

    /// Bytes came that the next seal may name: they are hashed ahead.
    pub(super) fn foresee(&mut self, name: &ObjectName, digest: Digest, bytes: &Bytes) {
        self.admitted.foresee(name, digest, bytes);
    }

    pub(super) fn pull_now(&mut self, name: &ObjectName, shared: &GateContext) {
        self.pending.pull_now(name, shared.now.elapsed);
    }

    pub(super) fn pull_failed(&mut self, name: &ObjectName, shared: &GateContext) {
        self.pending.pull_failed(name, shared.now.elapsed, self.holders.sources().len());
    }

    pub(super) fn peers_changed(&mut self, shared: &mut GateContext) {
        self.holders.peers_changed(&shared.peers);
        self.pending.sources_changed(shared.now.elapsed);
        self.ask_all(shared);
    }

    /// Holds the stream as `holding` from now on. An edge that becomes an owner fetches what is elsewhere while the log goes
    /// on; its playlists do not change. An owner that becomes an edge stops waiting for bytes, and keeps those that it has.
    pub(super) fn hold(&mut self, holding: Holding, owners: Vec<NodeId>, shared: &mut GateContext) {
        if self.holders.change(holding, owners, &shared.peers) {
            match holding {
                Holding::Owner => self.want_absent(shared.now.elapsed),
                Holding::Edge => self.pending.want_nothing(),
            }
            self.is_changed = true;
        }
        self.ask_all(shared);
    }

    /// Wants the bytes of all objects that were admitted without them.
    fn want_absent(&mut self, now: Duration) {
        for (epoch, sequence, absent) in self.admitted.absent() {
            let (stream, rendition) = (self.id.clone(), absent.rendition);
            let name = ObjectName { stream, rendition, epoch, slot: absent.slot };
            self.pending.want_later(name, (absent.digest, absent.length), sequence, now);
        }
    }

    pub(super) fn is_edge(&self) -> bool {
        self.holders.here() == Holding::Edge
    }

    /// From now on no seal is admitted, until a newer epoch opens, or until [`super::limits::FENCE_MAX`] is over and the asker
    /// counts as gone.
    pub(super) fn fence(&mut self, shared: &GateContext) {
        self.pending.fence(self.chain.head().map(|head| head.epoch), shared.now.elapsed);
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
        self.pending.pull(self.holders.sources(), shared);
        if self.admitted.expire(now) {
            self.trim_wants();
            self.is_changed = true;
        }
        self.recount(shared);
        self.due = self.next_deadline(shared);
    }

    /// Admits what is complete, in log order. A seal was verified when it came; its key may have been revoked since, while it
    /// waited for bytes, for a peer or for an earlier seal.
    fn admit(&mut self, shared: &mut GateContext) {
        while let Some(pending) = self.pending.pop_complete(shared.now.elapsed) {
            let (key, sequence) = (pending.sealed.key(), pending.sealed.body().sequence);
            let admitted = match shared.keyring.grant(&key) {
                Some(_) => self.admit_one(pending, shared),
                None => Err((AlertReason::Key, format!("key {key} was revoked while seal {sequence} waited"))),
            };
            if let Err((reason, detail)) = admitted {
                self.pending.block();
                self.refuse(reason, format!("stream {}: {detail}", self.id), shared);
            }
        }
    }

    fn admit_one(&mut self, pending: PendingSeal, shared: &mut GateContext) -> Result<(), (AlertReason, String)> {
        let is_recorded = shared.recorded == Recorded::Yes && self.holders.here() == Holding::Owner;
        let record = is_recorded.then(|| {
            let bytes = pending.bytes.iter().map(|((name, slot), (_, bytes))| (name.clone(), *slot, bytes.clone()));
            let (sealed, void_after) = (pending.sealed.clone(), pending.void_after);
            Box::new(Admitted { sealed, void_after, bytes: bytes.collect() })
        });
        let folded = self.admitted.fold(pending, self.holders.here(), shared.now)?;
        if let Some(admitted) = record {
            shared.outputs.push(Output::Admitted(self.id.clone(), admitted));
        }
        if folded.is_relisted {
            self.shown.relist();
        }
        if folded.is_trimmed {
            self.trim_wants();
        }
        self.is_changed = true;
        Ok(())
    }

    /// Drops wants for what has left the playlists.
    fn trim_wants(&mut self) {
        self.pending.trim(|name| self.admitted.elsewhere(name).is_some());
    }

    /// Whether this is the newest verified seal again: each comes from the ingest, and twice from the bus.
    pub(super) fn has_newest(&self, raw: &Bytes) -> bool {
        let newest = self.pending.newest().or_else(|| self.admitted.newest());
        !self.catch_up.is_joining() && newest.is_some_and(|newest| newest.raw() == raw)
    }

    /// Whether no seal is admitted or pending here: at most the saved head is known.
    fn is_bare(&self) -> bool {
        self.admitted.count() == 0 && self.pending.is_empty()
    }

    /// Reports bytes that nobody has, and continues at the first checkpoint behind all of them; returns whether it did. So a
    /// stream whose bytes stayed away for minutes goes on with what is newest, seconds after they come again.
    fn give_up_overdue(&mut self, shared: &mut GateContext) -> bool {
        let now = shared.now.elapsed;
        for name in self.pending.overdue(now) {
            self.refuse(AlertReason::Deadline, format!("{name}: nobody had these bytes in time"), shared);
        }
        let Some(kept) = self.pending.seals_behind_overdue(now) else { return false };
        let (since, bytes) = (self.pending.missing_since(), self.pending.take_bytes(&self.id));
        let steps = kept.into_iter().map(Step::Extend).collect();
        self.begin_anew(Outcome { verdict: Verdict::Nothing, steps, refused: Vec::new() }, shared);
        self.pending.backdate(&since);
        for (name, digest, bytes) in bytes {
            let is_wanted = self.pending.named(&name).is_some_and(|named| !named.is_settled && named.digest == digest);
            if is_wanted {
                self.fill(&name, digest, bytes, now);
            }
        }
        true
    }

    /// Removes what is void since the keys have changed, from playlists and memory.
    pub(super) fn erase(&mut self, shared: &mut GateContext) {
        if !self.admitted.erase(&shared.keyring) {
            return;
        }
        self.shown.erase();
        self.trim_wants();
        self.is_changed = true;
        self.recount(shared);
    }

    pub(super) fn evict(&mut self, shared: &mut GateContext) {
        self.admitted.evict();
        self.trim_wants();
        self.is_changed = true;
        self.recount(shared);
    }

    fn recount(&mut self, shared: &mut GateContext) {
        let bytes = self.admitted.media().bytes() + self.pending.bytes();
        shared.media_bytes = shared.media_bytes - self.counted + bytes;
        self.counted = bytes;
    }

    pub(super) fn media_bytes(&self) -> u64 {
        self.counted
    }

    /// When the stream leaves memory, unless its log grows before; `None` while it is joined.
    fn idle_at(&self) -> Option<Duration> {
        (!self.catch_up.is_joining()).then(|| self.catch_up.progress_at() + STREAM_IDLE_MAX)
    }

    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.idle_at().is_some_and(|at| at <= now)
    }

    pub(super) fn next_deadline(&self, shared: &GateContext) -> Option<Duration> {
        let pending = self.pending.next_deadline(self.holders.sources().len());
        let deadlines = [self.catch_up_deadline(shared), pending, self.admitted.next_expiry(), self.idle_at()];
        deadlines.into_iter().flatten().min()
    }

    /// Publishes the view, if it changed; returns the newest admitted seal, if that changed.
    pub(super) fn publish(&mut self, shared: &mut GateContext) -> Option<SavedHead> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.shown.show(self.admitted.timeline(), self.admitted.media().ledger());
        let saved = self.admitted.save();
        if let Some(saved) = &saved {
            shared.outputs.push(Output::SaveHead(self.id.clone(), saved.clone()));
        }
        shared.outputs.push(Output::Publish(Arc::new(StreamView {
            stream: self.id.clone(),
            playlists: self.shown.playlists(),
            media: self.admitted.media().clone(),
            log: self.admitted.seals(),
            head: self.admitted.head(),
            tracks: self.admitted.tracks(),
            holding: self.holders.here(),
            ended: self.admitted.timeline().is_ended(),
            admitted_at: self.admitted.at(),
            seals_admitted: self.admitted.count(),
            refused: self.refused.clone(),
        })));
        saved
    }

    pub(super) fn check_invariants(&self, now: Duration) {
        self.chain.check_invariants();
        self.admitted.check_invariants();
        self.pending.check_invariants(now, |name| self.admitted.elsewhere(name).is_some());
    }

    /// The place of the part that comes after what playlists show.
    #[cfg(test)]
    pub(super) fn shown_place(&self) -> Option<(media::MediaSequence, media::PartIndex)> {
        self.shown.place()
    }
}
