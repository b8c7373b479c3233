//! The admitted part of a stream's log: its timeline, its seals, and the bytes that they made visible. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, Epoch, LogSequence, Now, ObjectName, PartIndex, RenditionId, Slot, Track, UnixMillis};
use messages::AlertReason;
use playlist::{SegmentKey, Timeline};
use seal::{Head, Keyring, SealBody, Sealed};
use sha2::{Digest as _, Sha256};

use super::opens_epoch;
use super::pending::PendingSeal;
use crate::assembly::{Assembly, SlotBytes};
use crate::ledger::Ledger;
use crate::limits::SAVED_INITS_BYTES_MAX;
use crate::store::{Absent, Media, StoredPart, StoredRow, length};
use crate::{Holding, SavedHead};

#[derive(Debug)]
pub(super) struct AdmittedLog {
    timeline: Timeline,
    assembly: Assembly,
    media: Media,
    /// Seals that somebody may still ask for, oldest first; the newest stays.
    seals: VecDeque<Sealed>,
    count: u64,
    /// When the newest seal was admitted.
    at: UnixMillis,
    /// The newest seal as it survives a restart: of an earlier run until the first one is admitted.
    saved: Option<SavedHead>,
    is_saved: bool,
}

/// What an admitted seal changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folded {
    /// Playlists list something else now.
    pub(super) is_relisted: bool,
    /// Objects have left the playlists, or are void.
    pub(super) is_trimmed: bool,
}

impl AdmittedLog {
    pub(super) fn new(settings: playlist::Settings, saved: Option<SavedHead>, ledger: Ledger) -> Self {
        Self {
            timeline: Timeline::new(settings),
            assembly: Assembly::default(),
            media: Media::counted_in(ledger),
            seals: VecDeque::new(),
            count: 0,
            at: UnixMillis(0),
            saved,
            is_saved: true,
        }
    }

    /// Folds the next seal of the log; its bytes become visible.
    ///
    /// # Errors
    /// When the seal contradicts the log or its parts' bytes: the reason, and one line for a person.
    pub(super) fn fold(
        &mut self,
        pending: PendingSeal,
        holding: Holding,
        now: Now,
    ) -> Result<Folded, (AlertReason, String)> {
        let PendingSeal { sealed, void_after, anew, bytes, .. } = pending;
        let body = sealed.body();
        let mut folded = Folded { is_relisted: false, is_trimmed: anew || void_after.is_some() };
        if anew {
            self.begin_anew(now.elapsed);
        }
        if let Some(void_after) = void_after {
            folded.is_relisted = self.void_after(void_after, now.elapsed);
        }
        let is_folded = self.timeline.head().is_some() || opens_epoch(body);
        let whole = match self.assembly.add(body, &bytes) {
            Ok(whole) => {
                let held = |(digest, bytes)| (digest, self.media.hold(bytes));
                whole.into_iter().map(|(rendition, segment)| (rendition, held(segment))).collect()
            }
            Err(_) if !is_folded => BTreeMap::new(),
            Err(detail) => return Err((AlertReason::Digest, detail)),
        };
        let effects = self
            .timeline
            .apply(body)
            .map_err(|contradiction| (AlertReason::Implausible, format!("epoch {}: {contradiction}", body.epoch)))?;
        self.keep(body, holding, bytes, whole);
        let gone = self.leaves_at(now.elapsed);
        effects.removed.iter().for_each(|key| self.media.expire_at(*key, gone));
        folded.is_trimmed |= !effects.removed.is_empty();
        folded.is_relisted |= effects.relisted || effects.extended || !effects.removed.is_empty();
        self.count += 1;
        (self.at, self.is_saved) = (now.wall, false);
        self.seals.push_back(sealed);
        self.forget_seals();
        Ok(folded)
    }

    /// Drops seals that no late joiner needs; the newest stays.
    fn forget_seals(&mut self) {
        let oldest = self.timeline.oldest_needed();
        let is_needed = |seal: &Sealed| oldest.is_some_and(|oldest| seal.body().sequence >= oldest);
        while self.seals.len() > 1 && self.seals.front().is_some_and(|first| !is_needed(first)) {
            self.seals.pop_front();
        }
    }

    /// Removes what is void by these keys, and everything before it: playlists begin behind the newest such row. Returns whether there was
    /// any.
    pub(super) fn erase(&mut self, keyring: &Keyring) -> bool {
        // A seal that states an earlier time than one before it is at least as new as that one, whatever it says.
        let mut at = UnixMillis(0);
        let newest = self.seals.iter().filter(|sealed| {
            at = at.max(sealed.body().issued_at);
            keyring.is_void(&sealed.key(), at)
        });
        let Some(sequence) = newest.last().map(|sealed| sealed.body().sequence) else { return false };
        let erased = self.timeline.drop_through(sequence);
        self.media.erase(&erased);
        self.assembly.clear();
        self.forget_seals();
        true
    }

    fn begin_anew(&mut self, now: Duration) {
        let gone = self.leaves_at(now);
        let keys: Vec<SegmentKey> = self.media.keys().copied().collect();
        keys.into_iter().for_each(|key| self.media.expire_at(key, gone));
        self.timeline = Timeline::new(self.timeline.settings());
        self.assembly.clear();
        self.seals.clear();
    }

    /// Removes what seals after `sequence` list; returns whether there were any.
    fn void_after(&mut self, sequence: LogSequence, now: Duration) -> bool {
        let has_void = self.timeline.head().is_some_and(|head| head > sequence);
        if has_void {
            self.timeline.void_after(sequence);
            self.media.void_after(sequence);
            self.seals.retain(|sealed| sealed.body().sequence <= sequence);
        }
        if self.timeline.head() != Some(sequence) {
            // The seal that it builds on was never admitted here: the epoch stands on its own.
            self.begin_anew(now);
        }
        self.assembly.clear();
        has_void
    }

    /// Makes the bytes of an admitted seal visible, and notes the objects that are elsewhere.
    fn keep(
        &mut self,
        body: &SealBody,
        holding: Holding,
        bytes: SlotBytes,
        mut whole: BTreeMap<RenditionId, (Digest, Bytes)>,
    ) {
        for ((rendition, slot), (digest, bytes)) in &bytes {
            if *slot == Slot::Init {
                self.media.add_init(body.epoch, rendition.clone(), *digest, bytes.clone());
            }
        }
        if holding == Holding::Edge {
            self.note_inits(body);
        }
        if let Some((key, part)) = self.newest_row(body.sequence) {
            self.media.add_row(key, row_of(body, part, holding, bytes, &whole));
        }
        for segment in self.timeline.segments().rev().take(2).filter(|segment| segment.is_closed()) {
            self.media.close(segment.key(), std::mem::take(&mut whole), segment.rows().len());
        }
    }

    /// Notes the init segments that a checkpoint names.
    fn note_inits(&mut self, body: &SealBody) {
        for checkpoint in &body.checkpoint {
            let rendition = checkpoint.track.rendition.clone();
            let init = Absent { rendition, slot: Slot::Init, digest: checkpoint.init, length: checkpoint.init_length };
            self.media.add_absent_init(body.epoch, init);
        }
    }

    /// The segment that the newest row belongs to, and its place in it.
    fn newest_row(&self, sequence: LogSequence) -> Option<(SegmentKey, PartIndex)> {
        let newest = self.timeline.segments().next_back()?;
        let row = newest.rows().last().filter(|row| row.sequence == sequence)?;
        Some((newest.key(), row.part))
    }

    /// When segments that leave the playlists now may be dropped: after the duration of a segment and of the longest playlist
    /// that listed it (RFC 8216bis 6.2.2). Segments last up to half a second more than the target duration, to which they
    /// round.
    fn leaves_at(&self, now: Duration) -> Duration {
        let settings = self.timeline.settings();
        let segments = u32::try_from(settings.window_segments).unwrap_or(u32::MAX).saturating_add(1);
        now + (Duration::from_secs(settings.target_duration_s.into()) + Duration::from_millis(500)) * segments
    }

    /// Bytes came that the next seal may name: they are hashed ahead.
    pub(super) fn foresee(&mut self, name: &ObjectName, digest: Digest, bytes: &Bytes) {
        self.assembly.foresee(name, digest, bytes);
    }

    /// Stores bytes that an admitted seal lacks; `false` when none does. The caller has compared `digest` with the seal.
    pub(super) fn restore(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes) -> bool {
        self.media.restore(name, digest, bytes)
    }

    /// Digest and bytes of an object that is here.
    pub(super) fn get(&self, name: &ObjectName) -> Option<(Digest, Bytes)> {
        self.media.get(name.epoch, &name.rendition, name.slot)
    }

    /// An init segment that was saved with the head in an earlier run.
    pub(super) fn saved_init(&self, digest: Digest) -> Option<Bytes> {
        let mut saved = self.saved.iter().flat_map(|saved| &saved.inits);
        saved.find(|init| Digest(Sha256::digest(init).into()) == digest).cloned()
    }

    /// What is sealed of an object that is elsewhere; nothing waits for its bytes.
    pub(super) fn elsewhere(&self, name: &ObjectName) -> Option<Absent> {
        self.media.elsewhere(name.epoch, &name.rendition, name.slot)
    }

    /// Objects of the window whose bytes are elsewhere, with the sequences of their seals.
    pub(super) fn absent(&self) -> Vec<(Epoch, LogSequence, Absent)> {
        self.media.absent().map(|(epoch, sequence, absent)| (epoch, sequence, absent.clone())).collect()
    }

    /// Drops segments that have left the playlists for long enough; returns whether there were any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let has_expired = self.media.expire(now);
        if has_expired {
            self.media.keep_inits(self.timeline.checkpoint().map(|checkpoint| checkpoint.epoch));
        }
        has_expired
    }

    /// Drops all segments that have left the playlists, to make room.
    pub(super) fn evict(&mut self) {
        self.media.evict();
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.media.next_expiry()
    }

    /// The newest admitted seal to save, with its init segments; `None` when it is saved already.
    pub(super) fn save(&mut self) -> Option<SavedHead> {
        if std::mem::replace(&mut self.is_saved, true) {
            return None;
        }
        let newest = self.seals.back()?;
        let epoch = newest.body().epoch;
        let mut inits: Vec<Bytes> = self.media.inits(epoch).cloned().collect();
        if inits.is_empty() {
            // Before the first checkpoint after a restart, the saved ones still apply.
            let before = self.saved.iter().filter(|saved| saved.head.epoch == epoch);
            inits = before.flat_map(|saved| saved.inits.clone()).collect();
        }
        let fit = inits.iter().map(length).sum::<u64>() <= SAVED_INITS_BYTES_MAX;
        let inits = if fit { inits } else { Vec::new() };
        self.saved = Some(SavedHead { head: Head::of(newest), raw: newest.raw().clone(), inits });
        self.saved.clone()
    }

    /// The newest seal as it travels, of this run or an earlier one.
    pub(super) fn head(&self) -> Option<Bytes> {
        self.saved.as_ref().map(|saved| saved.raw.clone())
    }

    pub(super) fn newest(&self) -> Option<&Sealed> {
        self.seals.back()
    }

    pub(super) fn seals(&self) -> Vec<Sealed> {
        self.seals.iter().cloned().collect()
    }

    pub(super) const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) const fn media(&self) -> &Media {
        &self.media
    }

    /// Tracks of the newest checkpoint.
    pub(super) fn tracks(&self) -> Vec<Track> {
        let checkpoint = self.timeline.checkpoint().map_or(&[][..], |checkpoint| &checkpoint.renditions);
        checkpoint.iter().map(|rendition| rendition.track.clone()).collect()
    }

    /// Seals admitted since the stream is in memory.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// When the newest seal was admitted; zero before the first.
    pub(super) const fn at(&self) -> UnixMillis {
        self.at
    }

    pub(super) fn check_invariants(&self) {
        self.timeline.check_invariants();
        self.media.check_invariants();
    }
}

/// Makes a row of the bytes that came, and notes the objects that are elsewhere.
fn row_of(
    body: &SealBody,
    part: PartIndex,
    holding: Holding,
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
    let lacks = |object: &&seal::Object| match holding {
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
