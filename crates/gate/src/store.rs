//! Admitted bytes of one stream. Once a segment is complete its parts are slices of it, so no byte is kept twice. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, Epoch, LogSequence, ObjectName, PartIndex, RenditionId, Slot};
use playlist::SegmentKey;
use sha2::{Digest as _, Sha256};

use super::ledger::Ledger;

/// A part with its bytes.
#[derive(Debug, Clone)]
pub(super) struct StoredPart {
    pub rendition: RenditionId,
    pub digest: Digest,
    pub bytes: Bytes,
}

/// What a verified seal says of bytes that are not here and that nothing waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Rendition that they belong to.
    pub rendition: RenditionId,
    /// Part, segment, image or init segment.
    pub slot: Slot,
    /// Their SHA-256.
    pub digest: Digest,
    /// How long they are, in bytes.
    pub length: u64,
}

/// The parts of one row that have bytes, sorted by rendition.
#[derive(Debug)]
pub(super) struct StoredRow {
    /// The seal that lists them.
    pub sequence: LogSequence,
    /// Index within the segment.
    pub part: PartIndex,
    pub parts: Vec<StoredPart>,
    /// Renditions whose part the seal lists as a gap.
    pub gaps: Vec<RenditionId>,
    /// Image of the segment, in the row that completes it.
    pub image: Option<StoredPart>,
    /// Objects that the seal names and that are not here. An owner has some only from its time as an edge, or where it joined mid-segment.
    pub absent: Vec<Absent>,
}

impl StoredRow {
    fn find(&self, rendition: &RenditionId) -> Option<&StoredPart> {
        self.parts.binary_search_by(|part| part.rendition.cmp(rendition)).ok().and_then(|at| self.parts.get(at))
    }

    fn length(&self) -> u64 {
        self.parts.iter().chain(&self.image).map(|part| length(&part.bytes)).sum()
    }
}

/// A segment's rows, and what is known about it.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredSegment {
    rows: Vec<Arc<StoredRow>>,
    /// Once it is closed: the segment of every rendition that has no gap in it.
    whole: BTreeMap<RenditionId, (Digest, Bytes)>,
    closed: bool,
    /// When it may be dropped; `None` while playlists list it.
    expires: Option<Duration>,
}

impl StoredSegment {
    /// The image, which comes with the row that completes the segment.
    fn image(&self) -> Option<&StoredPart> {
        self.rows.last()?.image.as_ref()
    }

    /// Lengths of the parts of each rendition that has all of `rows`.
    fn lengths(&self, rows: usize) -> BTreeMap<RenditionId, Vec<u64>> {
        let mut lengths: BTreeMap<RenditionId, Vec<u64>> = BTreeMap::new();
        for part in self.rows.iter().flat_map(|row| &row.parts) {
            lengths.entry(part.rendition.clone()).or_default().push(length(&part.bytes));
        }
        lengths.retain(|_, lengths| lengths.len() == rows);
        lengths
    }

    /// Stores bytes that were elsewhere, and assembles the segment when no part is missing any more. `false` when they are not missed.
    fn restore(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes, ledger: &Ledger) -> bool {
        let is_it = |absent: &Absent| absent.rendition == name.rendition && absent.slot == name.slot;
        let Some(row) = self.rows.iter_mut().find(|row| row.absent.iter().any(is_it)) else { return false };
        let (mut parts, mut image, mut absent) = (row.parts.clone(), row.image.clone(), row.absent.clone());
        absent.retain(|absent| !is_it(absent));
        let part = StoredPart { rendition: name.rendition.clone(), digest, bytes };
        match name.slot {
            Slot::Image { .. } => image = Some(part),
            _ => {
                parts.push(part);
                parts.sort_by(|a, b| a.rendition.cmp(&b.rendition));
            }
        }
        *row = Arc::new(StoredRow { parts, image, absent, gaps: row.gaps.clone(), ..**row });
        self.complete(&name.rendition, ledger);
        true
    }

    /// Assembles a rendition's segment once all its parts are here; keeps it only when it has the sealed digest.
    fn complete(&mut self, rendition: &RenditionId, ledger: &Ledger) {
        let of_it = |absent: &&Absent| absent.rendition == *rendition;
        let mut absent = self.rows.iter().flat_map(|row| &row.absent).filter(of_it);
        let (Some(segment), None) = (absent.next().cloned(), absent.next()) else { return };
        if !matches!(segment.slot, Slot::Segment { .. }) {
            return;
        }
        let (digest, bytes) = self.assemble(rendition, ledger);
        if digest != segment.digest {
            return;
        }
        self.whole.insert(rendition.clone(), (digest, bytes));
        if let Some(last) = self.rows.last_mut() {
            let absent = last.absent.iter().filter(|absent| **absent != segment).cloned().collect();
            let (parts, image, gaps) = (last.parts.clone(), last.image.clone(), last.gaps.clone());
            *last = Arc::new(StoredRow { parts, image, absent, gaps, ..**last });
        }
        self.slice_parts();
    }

    /// Concatenates a rendition's parts, for a segment that [`super::assembly`] has not seen from its first part.
    fn assemble(&self, rendition: &RenditionId, ledger: &Ledger) -> (Digest, Bytes) {
        let parts = self.rows.iter().filter_map(|row| row.find(rendition)).map(|part| &part.bytes[..]);
        let bytes: Bytes = parts.collect::<Vec<_>>().concat().into();
        (Digest(Sha256::digest(&bytes).into()), ledger.hold(bytes))
    }

    /// Makes the parts of whole segments slices of them.
    fn slice_parts(&mut self) {
        let mut rest: BTreeMap<&RenditionId, Bytes> =
            self.whole.iter().map(|(rendition, (_, bytes))| (rendition, bytes.clone())).collect();
        let sliced = self.rows.iter().map(|row| {
            let parts = row.parts.iter().map(|part| {
                let slice = rest.get_mut(&part.rendition).map(|rest| rest.split_to(part.bytes.len().min(rest.len())));
                StoredPart { bytes: slice.unwrap_or_else(|| part.bytes.clone()), ..part.clone() }
            });
            let (parts, gaps, image) = (parts.collect(), row.gaps.clone(), row.image.clone());
            Arc::new(StoredRow { parts, gaps, image, absent: row.absent.clone(), ..**row })
        });
        self.rows = sliced.collect();
    }
}

/// Media of a stream that a node serves. Requests see an immutable copy.
#[derive(Debug, Clone, Default)]
pub struct Media {
    segments: BTreeMap<SegmentKey, Arc<StoredSegment>>,
    inits: BTreeMap<(Epoch, RenditionId), (Digest, Bytes)>,
    /// Init segments that are elsewhere.
    absent_inits: BTreeMap<(Epoch, RenditionId), Absent>,
    bytes: u64,
    ledger: Ledger,
}

impl Media {
    /// Without media yet; segments that are assembled here are counted in `ledger`, as their parts are.
    pub(super) fn counted_in(ledger: Ledger) -> Self {
        Self { ledger, ..Self::default() }
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts a segment that was assembled elsewhere.
    pub(super) fn hold(&self, bytes: Bytes) -> Bytes {
        self.ledger.hold(bytes)
    }

    /// The digest and bytes of an object; `None` when it is not here, or not complete.
    pub fn get(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> Option<(Digest, Bytes)> {
        match slot {
            Slot::Init => self.inits.get(&(epoch, rendition.clone())).cloned(),
            Slot::Part { msn, part } => {
                let segment = self.segments.get(&SegmentKey { epoch, msn })?;
                let row = segment.rows.get(usize::try_from(part.0).ok()?)?;
                row.find(rendition).map(|part| (part.digest, part.bytes.clone()))
            }
            Slot::Segment { msn } => self.segments.get(&SegmentKey { epoch, msn })?.whole.get(rendition).cloned(),
            Slot::Image { msn } => {
                let image = self.segments.get(&SegmentKey { epoch, msn })?.image()?;
                (image.rendition == *rendition).then(|| (image.digest, image.bytes.clone()))
            }
        }
    }

    /// Sealed digest and length of an object that is not here; `None` when it is here, or when no admitted seal names it.
    pub fn elsewhere(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> Option<Absent> {
        let (Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn }) = slot else {
            return self.absent_inits.get(&(epoch, rendition.clone())).cloned();
        };
        let segment = self.segments.get(&SegmentKey { epoch, msn })?;
        let mut absent = segment.rows.iter().rev().flat_map(|row| &row.absent);
        absent.find(|absent| absent.rendition == *rendition && absent.slot == slot).cloned()
    }

    /// All parts of a rendition's segment, in order, when all are elsewhere; `None` while the segment is open, or when a part
    /// is here or a gap.
    pub fn parts_elsewhere(&self, of: &ObjectName) -> Option<Vec<Absent>> {
        let (Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn }) = of.slot else { return None };
        let segment = self.segments.get(&SegmentKey { epoch: of.epoch, msn }).filter(|segment| segment.closed)?;
        let part = |row: &Arc<StoredRow>| {
            let is_part =
                |absent: &&Absent| matches!(absent.slot, Slot::Part { .. }) && absent.rendition == of.rendition;
            row.absent.iter().find(is_part).cloned()
        };
        segment.rows.iter().map(part).collect()
    }

    /// Objects that are elsewhere and that seals after `sequence` name, oldest first.
    pub fn absent_after(&self, sequence: LogSequence) -> impl Iterator<Item = (Epoch, LogSequence, &Absent)> {
        let rows = self.segments.iter().flat_map(|(key, segment)| segment.rows.iter().map(|row| (key.epoch, row)));
        let newer = rows.filter(move |(_, row)| row.sequence > sequence);
        newer.flat_map(|(epoch, row)| row.absent.iter().map(move |absent| (epoch, row.sequence, absent)))
    }

    /// Init segments that are elsewhere, and parts and images that are elsewhere while playlists list them.
    pub(super) fn absent(&self) -> impl Iterator<Item = (Epoch, LogSequence, &Absent)> {
        let listed = self.segments.iter().filter(|(_, segment)| segment.expires.is_none());
        let rows = listed.flat_map(|(key, segment)| segment.rows.iter().map(|row| (key.epoch, row)));
        let objects = rows.flat_map(|(epoch, row)| row.absent.iter().map(move |absent| (epoch, row.sequence, absent)));
        let objects = objects.filter(|(.., absent)| !matches!(absent.slot, Slot::Segment { .. }));
        let inits = self.absent_inits.iter().map(|((epoch, _), init)| (*epoch, LogSequence(0), init));
        inits.chain(objects)
    }

    /// Stores bytes that were elsewhere; `false` when they are not missed. The caller has compared their digest with the seal's.
    pub(super) fn restore(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes) -> bool {
        let (Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn }) = name.slot else {
            let is_missed = self.absent_inits.contains_key(&(name.epoch, name.rendition.clone()));
            if is_missed {
                self.add_init(name.epoch, name.rendition.clone(), digest, bytes);
            }
            return is_missed;
        };
        let Some(segment) = self.segments.get_mut(&SegmentKey { epoch: name.epoch, msn }) else { return false };
        let added = length(&bytes);
        let is_restored = Arc::make_mut(segment).restore(name, digest, bytes, &self.ledger);
        if is_restored {
            self.bytes += added;
        }
        is_restored
    }

    /// Whether everything that playlists list is here.
    pub fn is_whole(&self) -> bool {
        let listed = self.segments.values().filter(|segment| segment.expires.is_none());
        listed.flat_map(|segment| &segment.rows).all(|row| row.absent.is_empty())
    }

    /// Whether an object is a gap: sealed as one, or a complete segment with such a part in it.
    pub fn is_gap(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> bool {
        let rows = |msn| self.segments.get(&SegmentKey { epoch, msn }).map(|segment| (segment.closed, &segment.rows));
        match slot {
            Slot::Part { msn, part } => rows(msn)
                .is_some_and(|(_, rows)| rows.iter().any(|row| row.part == part && row.gaps.contains(rendition))),
            Slot::Segment { msn } => {
                rows(msn).is_some_and(|(closed, rows)| closed && rows.iter().any(|row| row.gaps.contains(rendition)))
            }
            Slot::Init | Slot::Image { .. } => false,
        }
    }

    /// Whether an epoch that is here lacks the rendition. If the rendition has a playlist, it then lists gaps for that epoch,
    /// with an init segment of the epoch that nobody has sealed.
    pub fn lacks(&self, epoch: Epoch, rendition: &RenditionId) -> bool {
        let mut names = self.inits.keys().chain(self.absent_inits.keys()).filter(|(of, _)| *of == epoch).peekable();
        names.peek().is_some() && names.all(|(_, name)| name != rendition)
    }

    /// The newest image, here or elsewhere, among the segments that playlists list: its segment and its rendition.
    pub fn newest_image(&self) -> Option<(SegmentKey, RenditionId)> {
        let mut listed = self.segments.iter().rev().filter(|(_, segment)| segment.expires.is_none());
        listed.find_map(|(key, segment)| {
            let absent = |row: &Arc<StoredRow>| {
                let image = row.absent.iter().find(|absent| matches!(absent.slot, Slot::Image { .. }));
                image.map(|image| image.rendition.clone())
            };
            let here = segment.image().map(|image| image.rendition.clone());
            here.or_else(|| segment.rows.last().and_then(absent)).map(|rendition| (*key, rendition))
        })
    }

    /// Init segments of an epoch.
    pub(super) fn inits(&self, epoch: Epoch) -> impl Iterator<Item = &Bytes> {
        self.inits.iter().filter(move |((of, _), _)| *of == epoch).map(|(_, (_, bytes))| bytes)
    }

    /// Bytes held in parts, images and init segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add_absent_init(&mut self, epoch: Epoch, init: Absent) {
        let key = (epoch, init.rendition.clone());
        if !self.inits.contains_key(&key) {
            self.absent_inits.insert(key, init);
        }
    }

    pub(super) fn add_init(&mut self, epoch: Epoch, rendition: RenditionId, digest: Digest, bytes: Bytes) {
        self.bytes += length(&bytes);
        self.absent_inits.remove(&(epoch, rendition.clone()));
        if let Some((_, old)) = self.inits.insert((epoch, rendition), (digest, bytes)) {
            self.bytes -= length(&old);
        }
    }

    pub(super) fn add_row(&mut self, key: SegmentKey, row: StoredRow) {
        let added = row.length();
        let segment = Arc::make_mut(self.segments.entry(key).or_default());
        segment.expires = None;
        let index = usize::try_from(row.part.0).unwrap_or(usize::MAX);
        match segment.rows.get_mut(index) {
            // The timeline started again and reaches this row once more. Its parts are the same, unless they were elsewhere before.
            Some(known) if known.absent.is_empty() || !row.absent.is_empty() => {}
            Some(known) => {
                self.bytes = self.bytes - known.length() + added;
                *known = Arc::new(row);
                segment.closed = false;
            }
            None => {
                let unproved: Vec<RenditionId> = row.absent.iter().map(|absent| absent.rendition.clone()).collect();
                segment.rows.push(Arc::new(row));
                self.bytes += added;
                unproved.iter().for_each(|rendition| segment.complete(rendition, &self.ledger));
            }
        }
    }

    /// The segment is complete. `whole` has the renditions that are assembled already; the others are assembled here, unless
    /// one of their `rows` is a gap.
    pub(super) fn close(&mut self, key: SegmentKey, mut whole: BTreeMap<RenditionId, (Digest, Bytes)>, rows: usize) {
        let Some(segment) = self.segments.get_mut(&key).filter(|segment| !segment.closed) else { return };
        let segment = Arc::make_mut(segment);
        segment.closed = true;
        for (rendition, lengths) in segment.lengths(rows) {
            if segment.rows.iter().flat_map(|row| &row.absent).any(|absent| absent.rendition == rendition) {
                // Its parts together do not have the digest that was sealed.
                continue;
            }
            if segment.whole.contains_key(&rendition) {
                continue;
            }
            let (digest, bytes) = match whole.remove(&rendition) {
                Some((digest, bytes)) if length(&bytes) == lengths.iter().sum::<u64>() => (digest, bytes),
                _ => segment.assemble(&rendition, &self.ledger),
            };
            segment.whole.insert(rendition, (digest, bytes));
        }
        segment.slice_parts();
    }

    pub(super) fn expire_at(&mut self, key: SegmentKey, at: Duration) {
        if let Some(segment) = self.segments.get_mut(&key) {
            Arc::make_mut(segment).expires = Some(at);
        }
    }

    /// Removes what seals after `sequence` list, unless it has left the playlists already.
    pub(super) fn void_after(&mut self, sequence: LogSequence) {
        for segment in self.segments.values_mut().filter(|segment| segment.expires.is_none()) {
            if segment.rows.last().is_some_and(|row| row.sequence > sequence) {
                let segment = Arc::make_mut(segment);
                segment.rows.retain(|row| row.sequence <= sequence);
                segment.closed = false;
                segment.whole.clear();
            }
        }
        self.segments.retain(|_, segment| !segment.rows.is_empty());
        self.recount();
    }

    /// Removes these segments, and everything that has left the playlists.
    pub(super) fn erase(&mut self, keys: &[SegmentKey]) {
        self.segments.retain(|key, segment| segment.expires.is_none() && !keys.contains(key));
        self.recount();
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.segments.values().filter_map(|segment| segment.expires).min()
    }

    /// Drops expired segments; returns whether there were any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let before = self.segments.len();
        self.segments.retain(|_, segment| segment.expires.is_none_or(|at| at > now));
        self.segments.len() != before && {
            self.recount();
            true
        }
    }

    /// Drops all segments that have left the playlists, before they expire, to make room.
    pub(super) fn evict(&mut self) {
        self.segments.retain(|_, segment| segment.expires.is_none());
        self.recount();
    }

    /// Drops init segments of epochs that have no segment here and are older than `current`.
    pub(super) fn keep_inits(&mut self, current: Option<Epoch>) {
        let epochs: std::collections::BTreeSet<Epoch> = self.segments.keys().map(|key| key.epoch).collect();
        let is_kept = |epoch: &Epoch| epochs.contains(epoch) || current.is_none_or(|current| *epoch >= current);
        self.inits.retain(|(epoch, _), _| is_kept(epoch));
        self.absent_inits.retain(|(epoch, _), _| is_kept(epoch));
        self.recount();
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &SegmentKey> {
        self.segments.iter().filter(|(_, segment)| segment.expires.is_none()).map(|(key, _)| key)
    }

    fn recount(&mut self) {
        self.bytes = self.count();
    }

    fn count(&self) -> u64 {
        let rows = self.segments.values().flat_map(|segment| &segment.rows).map(|row| row.length());
        rows.chain(self.inits.values().map(|(_, bytes)| length(bytes))).sum()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.bytes, self.count(), "bytes held are counted");
    }
}

pub(super) fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use media::MediaSequence;

    use super::*;
    use testkit::studio::rendition;

    #[test]
    fn gap_is_what_is_sealed_as_one_and_not_what_is_missing() {
        let (key, nothing) = (SegmentKey { epoch: Epoch(1), msn: MediaSequence(7) }, Bytes::new());
        let mut media = Media::default();
        for name in ["1080p", "360p"] {
            media.add_init(key.epoch, rendition(name), Digest::NONE, nothing.clone());
        }
        let (parts, gaps) = (Vec::new(), vec![rendition("360p")]);
        let (image, absent) = (None, Vec::new());
        media.add_row(key, StoredRow { sequence: LogSequence(1), part: PartIndex(3), parts, gaps, image, absent });
        let is_gap = |media: &Media, name, slot| media.is_gap(key.epoch, &rendition(name), slot);
        let (whole, part) = (Slot::Segment { msn: key.msn }, Slot::Part { msn: key.msn, part: PartIndex(3) });
        assert!(is_gap(&media, "360p", part) && !is_gap(&media, "1080p", part));
        assert!(!is_gap(&media, "360p", Slot::Part { msn: key.msn, part: PartIndex(0) }));
        assert!(!is_gap(&media, "360p", whole), "it is not complete");
        media.close(key, BTreeMap::new(), 1);
        assert!(is_gap(&media, "360p", whole) && !is_gap(&media, "1080p", whole));
        assert!(media.lacks(key.epoch, &rendition("audio")) && !media.lacks(key.epoch, &rendition("360p")));
        assert!(!media.lacks(Epoch(2), &rendition("audio")), "nothing is known of it");
    }
}
