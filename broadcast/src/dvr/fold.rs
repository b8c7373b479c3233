//! From admitted seals to closed segments, and to what proves their bytes. Pure.
//!
//! The same fold runs while a stream is recorded and when a recording is read back from disk, so a restarted node comes to the
//! same playlists.

use std::collections::VecDeque;

use media::{Digest, Epoch, LogSequence, RenditionId, Slot, UnixMillis};
use playlist::{Segment, SegmentKey, Timeline};
use seal::{KeyId, SealBody, Sealed};
use sha2::{Digest as _, Sha256};

/// Epochs whose init segments are remembered: the one that is open, and the one that it closes.
const EPOCHS_MAX: usize = 2;

/// What proves that bytes are the object that seals name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Sealed as a whole.
    Whole {
        /// Length in bytes.
        length: u64,
        digest: Digest,
    },
    /// A segment whose session broke off: sealed in parts only, which follow one another.
    Parts(Box<[(u64, Digest)]>),
}

impl Proof {
    /// Length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Whole { length, .. } => *length,
            Self::Parts(parts) => parts.iter().map(|(length, _)| length).sum(),
        }
    }

    /// SHA-256 of all the bytes, if they are the right ones.
    pub(super) fn check(&self, bytes: &[u8]) -> Option<Digest> {
        let sha256 = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
        match self {
            Self::Whole { digest, .. } => (sha256(bytes) == *digest).then_some(*digest),
            Self::Parts(parts) => {
                let mut rest = bytes;
                for (length, digest) in parts {
                    let (part, after) = rest.split_at_checked(usize::try_from(*length).ok()?)?;
                    if sha256(part) != *digest {
                        return None;
                    }
                    rest = after;
                }
                rest.is_empty().then(|| sha256(bytes))
            }
        }
    }
}

/// A segment that will not change any more.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    /// As playlists list it.
    pub(super) segment: Segment,
    /// Objects that have bytes, init segments apart: the segment in its renditions, and its image.
    pub(super) objects: Vec<(RenditionId, Slot, Proof)>,
    /// The init segments of its epoch.
    pub(super) inits: Vec<(RenditionId, Proof)>,
    /// The seal that closed it.
    pub(super) by: LogSequence,
    /// When that was signed.
    pub(super) at: UnixMillis,
    /// The key that signed its rows.
    pub(super) key: KeyId,
    /// When it signed the last of them.
    pub(super) signed_at: UnixMillis,
}

/// What follows from a seal.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Where the row's parts belong: the segment, and for each rendition the offset in it, in bytes.
    pub(super) row: Option<(SegmentKey, Vec<(RenditionId, u64)>)>,
    /// Segments that are closed now.
    pub(super) closed: Vec<Closed>,
    /// It opens this epoch on this seal: what the log had after that is void.
    pub(super) voided: Option<(Epoch, LogSequence)>,
    /// A stream that had ended begins again: playlists start with this epoch.
    pub(super) reopened: bool,
    /// It does not follow what was folded before: the fold started again.
    pub(super) anew: bool,
}

/// The fold of one stream.
#[derive(Debug)]
pub(super) struct Fold {
    timeline: Timeline,
    /// The newest closed segment.
    closed: Option<SegmentKey>,
    /// Init segments of the newest epochs.
    inits: VecDeque<(Epoch, Vec<(RenditionId, Proof)>)>,
    /// The key of the newest seal, and when it was signed.
    newest: Option<(KeyId, UnixMillis)>,
}

impl Fold {
    pub(super) fn new(settings: playlist::Settings) -> Self {
        Self { timeline: Timeline::new(settings), closed: None, inits: VecDeque::new(), newest: None }
    }

    /// Takes the next admitted seal, which opens an epoch on `void_after` when that is there.
    pub(super) fn take(&mut self, sealed: &Sealed, void_after: Option<LogSequence>) -> Taken {
        let body = sealed.body();
        let mut taken = Taken { voided: void_after.map(|after| (body.epoch, after)), ..Taken::default() };
        if let Some(after) = void_after {
            taken.anew = !self.build_on(after);
        }
        taken.reopened = self.timeline.is_ended() && void_after.is_some();
        self.note_inits(body);
        let mut places = self.places(body);
        if self.timeline.apply(body).is_err() {
            self.begin_anew();
            taken.anew = true;
            places = self.places(body);
            // A seal that cannot begin a fold changes nothing; the next checkpoint does.
            _ = self.timeline.apply(body);
        }
        if taken.anew && taken.voided.is_none() {
            // Nothing of an older epoch can stand at its place in the log.
            taken.voided = body.sequence.0.checked_sub(1).map(|before| (body.epoch, LogSequence(before)));
        }
        let added = self.timeline.segments().next_back().filter(|newest| {
            newest.rows().last().is_some_and(|row| row.sequence == body.sequence) && !places.is_empty()
        });
        taken.row = added.map(|segment| (segment.key(), places));
        taken.closed = self.newly_closed(sealed);
        self.newest = Some((sealed.key(), body.issued_at));
        taken
    }

    /// The segment that the next part continues.
    pub(super) fn open(&self) -> Option<SegmentKey> {
        self.timeline.open().map(Segment::key)
    }

    /// Goes back to the seal that an epoch builds on; `false` when that is not here, and the epoch stands on its own.
    fn build_on(&mut self, after: LogSequence) -> bool {
        self.timeline.void_after(after);
        self.closed = self.timeline.listed().next_back().map(Segment::key);
        if self.timeline.head() == Some(after) {
            return true;
        }
        let was_empty = self.timeline.head().is_none();
        self.begin_anew();
        was_empty
    }

    fn begin_anew(&mut self) {
        self.timeline = Timeline::new(self.timeline.settings());
        self.closed = None;
    }

    fn note_inits(&mut self, body: &SealBody) {
        if body.checkpoint.is_empty() {
            return;
        }
        let inits = body.checkpoint.iter().map(|rendition| {
            let proof = Proof::Whole { length: rendition.init_length, digest: rendition.init };
            (rendition.track.rendition.clone(), proof)
        });
        self.inits.retain(|(epoch, _)| *epoch != body.epoch);
        self.inits.push_back((body.epoch, inits.collect()));
        while self.inits.len() > EPOCHS_MAX {
            self.inits.pop_front();
        }
    }

    /// Offset of each part of the seal's row in its segment, in bytes.
    fn places(&self, body: &SealBody) -> Vec<(RenditionId, u64)> {
        let open = self.timeline.open().filter(|open| open.key().epoch == body.epoch);
        let rows = open.map_or(&[][..], Segment::rows);
        let before = |rendition: &RenditionId| {
            let parts = rows.iter().filter_map(|row| row.find(rendition));
            parts.fold(0_u64, |sum, part| sum.saturating_add(part.length))
        };
        let parts = body.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. }));
        parts.map(|part| (part.rendition.clone(), before(&part.rendition))).collect()
    }

    fn newly_closed(&mut self, sealed: &Sealed) -> Vec<Closed> {
        let newest = self.timeline.listed().rev().take_while(|segment| Some(segment.key()) > self.closed);
        // A seal closes two at most: the one that the epoch before left open, and its own.
        let mut closed: Vec<Closed> = newest.take(2).map(|segment| self.close(segment, sealed)).collect();
        closed.reverse();
        self.closed = closed.last().map(|closed| closed.segment.key()).or(self.closed);
        closed
    }

    fn close(&self, segment: &Segment, sealed: &Sealed) -> Closed {
        let (key, body) = (segment.key(), sealed.body());
        let mut objects = Vec::new();
        let mut is_sealed = false;
        for object in body.objects.iter().filter(|_| key.epoch == body.epoch) {
            is_sealed |= object.slot == Slot::Segment { msn: key.msn };
            if !object.gap && belongs(object.slot, key) {
                let proof = Proof::Whole { length: object.length, digest: object.digest };
                objects.push((object.rendition.clone(), object.slot, proof));
            }
        }
        if !is_sealed {
            objects = broken_off(segment);
        }
        let inits = self.inits.iter().find(|(epoch, _)| *epoch == key.epoch);
        let inits = inits.map(|(_, inits)| inits.clone()).unwrap_or_default();
        // The first seal of an epoch closes what the epoch before left open, perhaps under another key.
        let of_before = self.newest.filter(|_| segment.key().epoch != body.epoch);
        let (key, signed_at) = of_before.unwrap_or_else(|| (sealed.key(), body.issued_at));
        Closed { segment: segment.clone(), objects, inits, by: body.sequence, at: body.issued_at, key, signed_at }
    }
}

/// Whether an object is kept with a segment: the segment itself, and its image.
fn belongs(slot: Slot, key: SegmentKey) -> bool {
    match slot {
        Slot::Init | Slot::Part { .. } => false,
        Slot::Segment { msn } | Slot::Image { msn } => msn == key.msn,
    }
}

/// What proves a segment that was never sealed as a whole. One that lacks a part has no bytes.
fn broken_off(segment: &Segment) -> Vec<(RenditionId, Slot, Proof)> {
    let slot = Slot::Segment { msn: segment.key().msn };
    let names = segment.rows().first().into_iter().flat_map(|row| &row.parts).map(|part| &part.rendition);
    let objects = names.filter_map(|name| {
        let parts = segment.rows().iter().map(|row| row.find(name).filter(|part| !part.gap));
        let parts: Option<Vec<(u64, Digest)>> = parts.map(|part| part.map(|part| (part.length, part.digest))).collect();
        Some((name.clone(), slot, Proof::Parts(parts?.into())))
    });
    objects.collect()
}
