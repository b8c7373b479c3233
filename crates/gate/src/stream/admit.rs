//! Admission: seals whose bytes are all here are folded, in log order, and their bytes become visible. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, LogSequence, RenditionId, Slot};
use messages::AlertReason;
use playlist::{SegmentKey, Timeline};
use seal::{SealBody, Sealed};

use super::super::store::length;
use super::super::{Admitted, GateContext, Holding, Output, Recorded};
use super::{Pending, Stream, opens_epoch};
use crate::assembly::SlotBytes;

impl Stream {
    /// Admits what is complete, in log order.
    pub(super) fn admit(&mut self, shared: &mut GateContext) {
        while self.may_admit(shared.now.elapsed) {
            let Some(pending) = self.pending.pop_front() else { break };
            let bytes: u64 = pending.bytes.values().map(|(_, bytes)| length(bytes)).sum();
            self.pending_bytes -= bytes;
            if let Err((reason, detail)) = self.admit_one(pending, shared) {
                self.blocked = true;
                self.drop_pending(|_| false);
                self.refuse(reason, detail, shared);
            }
        }
    }

    fn admit_one(&mut self, pending: Pending, shared: &mut GateContext) -> Result<(), (AlertReason, String)> {
        let Pending { sealed, void_after, anew, bytes, .. } = pending;
        let body = sealed.body();
        if anew {
            self.fold_anew(shared);
        }
        if let Some(void_after) = void_after {
            self.void_after(void_after, shared);
        }
        if anew || void_after.is_some() {
            self.trim_wants();
        }
        let is_folded = self.timeline.head().is_some() || opens_epoch(body);
        let whole = match self.assembly.add(body, &bytes) {
            Ok(whole) => whole,
            Err(_) if !is_folded => BTreeMap::new(),
            Err(detail) => return Err((AlertReason::Digest, format!("stream {}: {detail}", self.id))),
        };
        let effects = self.timeline.apply(body).map_err(|contradiction| {
            (AlertReason::Implausible, format!("stream {}, epoch {}: {contradiction}", self.id, body.epoch))
        })?;
        self.hand_on(&sealed, void_after, &bytes, shared);
        self.keep(body, bytes, whole);
        let gone = self.leaves_at(shared);
        effects.removed.iter().for_each(|key| self.media.expire_at(*key, gone));
        if !effects.removed.is_empty() {
            self.trim_wants();
        }
        self.is_relisted |= effects.relisted || effects.extended || !effects.removed.is_empty();
        self.seals_admitted += 1;
        self.admitted_at = shared.now.wall;
        (self.is_changed, self.is_saved) = (true, false);
        self.log.push_back(sealed);
        let oldest = self.timeline.oldest_needed();
        while self.log.len() > 1
            && self.log.front().is_some_and(|first| oldest.is_none_or(|o| first.body().sequence < o))
        {
            self.log.pop_front();
        }
        Ok(())
    }

    /// Hands an admitted seal and its bytes to the recorder, if there is one and the node owns the stream.
    fn hand_on(&self, sealed: &Sealed, void_after: Option<LogSequence>, bytes: &SlotBytes, shared: &mut GateContext) {
        if shared.recorded == Recorded::Yes && self.holding == Holding::Owner {
            let bytes = bytes.iter().map(|((rendition, slot), (_, bytes))| (rendition.clone(), *slot, bytes.clone()));
            let admitted = Admitted { sealed: sealed.clone(), void_after, bytes: bytes.collect() };
            shared.outputs.push(Output::Admitted(self.id.clone(), Box::new(admitted)));
        }
    }

    fn fold_anew(&mut self, shared: &GateContext) {
        let gone = self.leaves_at(shared);
        let keys: Vec<SegmentKey> = self.media.keys().copied().collect();
        keys.into_iter().for_each(|key| self.media.expire_at(key, gone));
        self.timeline = Timeline::new(shared.settings.playlist);
        self.assembly.clear();
        self.log.clear();
    }

    fn void_after(&mut self, sequence: LogSequence, shared: &GateContext) {
        if self.timeline.head().is_some_and(|head| head > sequence) {
            self.timeline.void_after(sequence);
            self.media.void_after(sequence);
            self.log.retain(|sealed| sealed.body().sequence <= sequence);
            self.is_relisted = true;
        }
        if self.timeline.head() != Some(sequence) {
            // The seal that it builds on was never admitted here: the epoch stands on its own.
            self.fold_anew(shared);
        }
        self.assembly.clear();
    }

    /// Makes the bytes of an admitted seal visible.
    fn keep(&mut self, body: &SealBody, bytes: SlotBytes, mut whole: BTreeMap<RenditionId, (Digest, Bytes)>) {
        for ((rendition, slot), (digest, bytes)) in &bytes {
            if *slot == Slot::Init {
                self.media.add_init(body.epoch, rendition.clone(), *digest, bytes.clone());
            }
        }
        self.note_inits(body);
        if let Some((key, part)) = self.newest_row(body.sequence) {
            let row = self.row_of(body, part, bytes, &whole);
            self.media.add_row(key, row);
        }
        for segment in self.timeline.segments().rev().take(2).filter(|segment| segment.is_closed()) {
            self.media.close(segment.key(), std::mem::take(&mut whole), segment.rows().len());
        }
    }

    /// When segments that leave the playlists now may be dropped: after the duration of a segment and of the longest playlist
    /// that listed it (RFC 8216bis 6.2.2). Segments last up to half a second more than the target duration, to which they
    /// round.
    fn leaves_at(&self, shared: &GateContext) -> Duration {
        let settings = self.timeline.settings();
        let segments = u32::try_from(settings.window_segments).unwrap_or(u32::MAX).saturating_add(1);
        shared.now.elapsed
            + (Duration::from_secs(settings.target_duration_s.into()) + Duration::from_millis(500)) * segments
    }
}
