//! What the node does with the stream: owns it, or follows its log as an edge; and who is asked for what is missing. Pure.

use media::{LogSequence, NodeId};
use seal::{Outcome, SealBody, Sealed, Step, Verdict};

use super::super::limits::SOURCES_MAX;
use super::super::store::{Absent, StoredPart, StoredRow};
use super::super::{Holding, Shared};
use super::{SlotBytes, Stream};
use media::{ObjectName, Slot};
use playlist::SegmentKey;

impl Stream {
    /// Takes the stream in another way from now on. An edge that becomes an owner goes through its log again, and fetches what that
    /// names; what playlists show stays meanwhile. An owner that becomes an edge keeps the bytes that it has.
    pub(in crate::gate) fn hold(&mut self, holding: Holding, owners: Vec<NodeId>, shared: &mut Shared) {
        self.owners = owners;
        if std::mem::replace(&mut self.holding, holding) != holding {
            self.line_up_again(shared);
            self.is_changed = true;
        }
        self.ask_all(shared);
    }

    /// Nodes to be asked, the best first: the owners that are there; all peers when none is.
    pub(in crate::gate) fn sources(&self, shared: &Shared) -> Vec<NodeId> {
        let owners: Vec<NodeId> = shared.peers.iter().filter(|peer| self.owners.contains(peer)).cloned().collect();
        if owners.is_empty() { shared.peers.iter().take(SOURCES_MAX).cloned().collect() } else { owners }
    }

    /// Lines up again what waits for bytes and, on an owner, what was admitted without.
    fn line_up_again(&mut self, shared: &mut Shared) {
        let waiting = self.pending.iter().map(|pending| pending.sealed.clone());
        let is_refilled = self.holding == Holding::Owner && !self.media.is_whole();
        let admitted = self.log.iter().filter(|_| is_refilled).cloned();
        let steps = steps(admitted.chain(waiting).collect());
        if steps.is_empty() {
            return;
        }
        let outcome = Outcome { verdict: Verdict::Nothing, steps, refused: Vec::new() };
        if is_refilled {
            self.requeue(outcome, shared);
        } else {
            self.requeue_after(outcome, shared);
        }
    }

    /// Takes the bytes that came for a row, and notes of the others where they would stand.
    pub(super) fn row_of(&self, body: &SealBody, part: media::PartIndex, bytes: SlotBytes) -> StoredRow {
        let gaps = body.objects.iter().filter(|object| object.gap && matches!(object.slot, Slot::Part { .. }));
        let mut row = StoredRow {
            sequence: body.sequence,
            part,
            parts: Vec::new(),
            gaps: gaps.map(|object| object.rendition.clone()).collect(),
            image: None,
            absent: Vec::new(),
        };
        if self.holding == Holding::Edge {
            let absent = body.objects.iter().filter(|object| !object.gap && object.slot != Slot::Init);
            row.absent = absent
                .map(|object| Absent {
                    rendition: object.rendition.clone(),
                    slot: object.slot,
                    digest: object.digest,
                    length: object.length,
                })
                .collect();
        }
        for ((rendition, slot), (digest, bytes)) in bytes {
            match slot {
                Slot::Part { .. } => row.parts.push(StoredPart { rendition, digest, bytes }),
                Slot::Image { .. } => row.image = Some(StoredPart { rendition, digest, bytes }),
                Slot::Init | Slot::Segment { .. } => {}
            }
        }
        row
    }

    /// Init segments that an edge learns of.
    pub(super) fn note_inits(&mut self, body: &SealBody) {
        if self.holding == Holding::Owner {
            return;
        }
        for checkpoint in &body.checkpoint {
            let rendition = checkpoint.track.rendition.clone();
            let init = Absent { rendition, slot: Slot::Init, digest: checkpoint.init, length: checkpoint.init_length };
            self.media.add_absent_init(body.epoch, init);
        }
    }

    /// Whether an object is sealed, and elsewhere: then nothing waits for its bytes.
    pub(super) fn elsewhere(&self, name: &ObjectName) -> Option<Absent> {
        self.media.elsewhere(name.epoch, &name.rendition, name.slot)
    }

    /// The segment that the newest row belongs to, and its place in it.
    pub(super) fn newest_row(&self, sequence: LogSequence) -> Option<(SegmentKey, media::PartIndex)> {
        let newest = self.timeline.segments().next_back()?;
        let row = newest.rows().last().filter(|row| row.sequence == sequence)?;
        Some((newest.key(), row.part))
    }
}

/// Seals of one log, oldest first, as the steps that they were.
fn steps(seals: Vec<Sealed>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(seals.len());
    let mut before: Option<(media::Epoch, LogSequence)> = None;
    for sealed in seals {
        let (epoch, sequence) = (sealed.body().epoch, sealed.body().sequence);
        // What was void is not kept: an epoch builds on the seal that stands before it.
        steps.push(match before.filter(|(known, _)| *known < epoch) {
            Some((_, void_after)) => Step::OpenEpoch { sealed, void_after },
            None => Step::Extend(sealed),
        });
        before = Some((epoch, sequence));
    }
    steps
}
