//! How the node holds the stream, as owner or edge, and which nodes it asks for what is missing. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{Digest, LogSequence, NodeId, ObjectName, PartIndex, RenditionId, Slot};
use playlist::SegmentKey;
use seal::SealBody;

use super::super::limits::SOURCES_MAX;
use super::super::store::{Absent, StoredPart, StoredRow};
use super::super::{GateContext, Holding};
use super::Stream;
use crate::assembly::SlotBytes;

impl Stream {
    /// Holds the stream as `holding` from now on. An edge that becomes an owner fetches what is elsewhere while the log goes
    /// on; its playlists do not change. An owner that becomes an edge stops waiting for bytes, and keeps those that it has.
    pub(crate) fn hold(&mut self, holding: Holding, owners: Vec<NodeId>, shared: &mut GateContext) {
        self.owners = owners;
        self.choose_sources(shared);
        if std::mem::replace(&mut self.holding, holding) != holding {
            match holding {
                Holding::Owner => self.want_absent(shared),
                Holding::Edge => self.want_nothing(),
            }
            self.is_changed = true;
        }
        self.ask_all(shared);
    }

    /// Wants the bytes of all objects that were admitted without them.
    fn want_absent(&mut self, shared: &GateContext) {
        let now = shared.now.elapsed;
        let absent: Vec<_> =
            self.media.absent().map(|(epoch, sequence, absent)| (epoch, sequence, absent.clone())).collect();
        for (epoch, sequence, absent) in absent {
            let (stream, rendition) = (self.id.clone(), absent.rendition);
            let name = ObjectName { stream, rendition, epoch, slot: absent.slot };
            self.wants.add(name, (absent.digest, absent.length), sequence, now, now);
        }
    }

    fn want_nothing(&mut self) {
        self.wants.retain(|_| false);
        self.pending.iter_mut().for_each(|pending| pending.missing = 0);
    }

    /// Drops wants for what has left the playlists.
    pub(super) fn trim_wants(&mut self) {
        let Self { wants, media, pending, .. } = self;
        let waits = |sequence| pending.iter().any(|pending| pending.sealed.body().sequence == sequence);
        wants.retain_by(|name, sequence| {
            waits(sequence) || media.elsewhere(name.epoch, &name.rendition, name.slot).is_some()
        });
    }

    pub(crate) fn is_edge(&self) -> bool {
        self.holding == Holding::Edge
    }

    /// Chooses which nodes are asked for what is missing: the owners that are present, or peers when none is.
    pub(super) fn choose_sources(&mut self, shared: &GateContext) {
        let owners: Vec<NodeId> = shared.peers.iter().filter(|peer| self.owners.contains(peer)).cloned().collect();
        self.sources =
            if owners.is_empty() { shared.peers.iter().take(SOURCES_MAX).cloned().collect() } else { owners };
    }

    /// Makes a row of the bytes that came, and notes the objects that are elsewhere.
    pub(super) fn row_of(
        &self,
        body: &SealBody,
        part: PartIndex,
        bytes: SlotBytes,
        whole: &BTreeMap<RenditionId, (Digest, Bytes)>,
    ) -> StoredRow {
        let gaps = body.objects.iter().filter(|object| object.gap && matches!(object.slot, Slot::Part { .. }));
        let mut row = StoredRow {
            sequence: body.sequence,
            part,
            parts: Vec::new(),
            gaps: gaps.map(|object| object.rendition.clone()).collect(),
            image: None,
            absent: Vec::new(),
        };
        // An owner that lacks parts from its time as an edge assembles the segment when they are here.
        let lacks = |object: &&seal::Object| match self.holding {
            Holding::Edge => object.slot != Slot::Init,
            Holding::Owner => matches!(object.slot, Slot::Segment { .. }) && !whole.contains_key(&object.rendition),
        };
        let absent = body.objects.iter().filter(|object| !object.gap).filter(lacks);
        row.absent = absent
            .map(|object| Absent {
                rendition: object.rendition.clone(),
                slot: object.slot,
                digest: object.digest,
                length: object.length,
            })
            .collect();
        for ((rendition, slot), (digest, bytes)) in bytes {
            match slot {
                Slot::Part { .. } => row.parts.push(StoredPart { rendition, digest, bytes }),
                Slot::Image { .. } => row.image = Some(StoredPart { rendition, digest, bytes }),
                Slot::Init | Slot::Segment { .. } => {}
            }
        }
        row
    }

    /// On an edge, notes the init segments that a checkpoint names.
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

    /// What is sealed of an object that is elsewhere; nothing waits for its bytes.
    pub(super) fn elsewhere(&self, name: &ObjectName) -> Option<Absent> {
        self.media.elsewhere(name.epoch, &name.rendition, name.slot)
    }

    /// The segment that the newest row belongs to, and its place in it.
    pub(super) fn newest_row(&self, sequence: LogSequence) -> Option<(SegmentKey, PartIndex)> {
        let newest = self.timeline.segments().next_back()?;
        let row = newest.rows().last().filter(|row| row.sequence == sequence)?;
        Some((newest.key(), row.part))
    }
}
