//! Open segments, assembled and hashed part by part. The next part is hashed when its bytes come, so that little is left to do
//! once its seal is here. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{Digest, ObjectName, PartIndex, RenditionId, Slot};
use playlist::SegmentKey;
use seal::SealBody;
use seal::limits::RENDITIONS_MAX;
use sha2::{Digest as _, Sha256};

/// Largest first allocation for a segment, in bytes: 4 s at 32 Mbit/s. Buffers of larger segments grow.
const BUFFER_BYTES_FIRST: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Lane {
    hasher: Sha256,
    buffer: Vec<u8>,
    parts: u32,
}

/// A part that was hashed before it was admitted: of use only if the seal names the same bytes.
#[derive(Debug)]
struct Foreseen {
    key: SegmentKey,
    part: PartIndex,
    digest: Digest,
    /// State of the segment's hash after the part.
    hasher: Sha256,
}

/// The bytes of a seal's objects, with their digests.
pub(crate) type SlotBytes = BTreeMap<(RenditionId, Slot), (Digest, Bytes)>;

/// The open segment of all renditions.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    key: Option<SegmentKey>,
    lanes: BTreeMap<RenditionId, Lane>,
    foreseen: BTreeMap<RenditionId, Foreseen>,
    /// Length of the newest segment of a rendition: what the next one is likely to have.
    lengths: BTreeMap<RenditionId, usize>,
}

impl Assembly {
    /// Drops the open segment and what was hashed ahead.
    pub(super) fn clear(&mut self) {
        self.close();
        self.foreseen.clear();
    }

    /// Ends the open segment. What was hashed ahead of the next one stays.
    fn close(&mut self) {
        self.key = None;
        self.lanes.clear();
    }

    /// Hashes bytes that may be the next part of a rendition. Only the first that claim a place are hashed, so an attacker
    /// makes this cost at most one part for each place.
    pub(super) fn foresee(&mut self, name: &ObjectName, digest: Digest, bytes: &Bytes) {
        let Slot::Part { msn, part } = name.slot else { return };
        let key = SegmentKey { epoch: name.epoch, msn };
        let place = |foreseen: &Foreseen| (foreseen.key, foreseen.part);
        if self.foreseen.get(&name.rendition).map(place) == Some((key, part)) {
            return;
        }
        let lane = self.lanes.get(&name.rendition).filter(|lane| self.key == Some(key) && lane.parts == part.0);
        let mut hasher = match lane {
            Some(lane) => lane.hasher.clone(),
            None if part == PartIndex(0) && self.key.is_none_or(|open| open < key) => Sha256::new(),
            None => return,
        };
        if self.foreseen.len() < RENDITIONS_MAX || self.foreseen.contains_key(&name.rendition) {
            hasher.update(bytes);
            self.foreseen.insert(name.rendition.clone(), Foreseen { key, part, digest, hasher });
        }
    }

    /// Takes the parts of a row. When the row completes its segment, returns the whole segments.
    ///
    /// Segments of which it has not seen all parts are left out.
    ///
    /// # Errors
    /// When a segment's digest is not that of its parts' bytes; says which.
    pub(super) fn add(
        &mut self,
        body: &SealBody,
        bytes: &SlotBytes,
    ) -> Result<BTreeMap<RenditionId, (Digest, Bytes)>, String> {
        for ((rendition, slot), (digest, bytes)) in bytes {
            let Slot::Part { msn, part } = slot else { continue };
            let key = SegmentKey { epoch: body.epoch, msn: *msn };
            if self.key != Some(key) {
                self.close();
                self.key = Some(key);
                // Otherwise names of parts that never come would fill the map for good.
                self.foreseen.retain(|_, foreseen| foreseen.key == key);
            }
            let expected = self.lengths.get(rendition).copied().unwrap_or(0).min(BUFFER_BYTES_FIRST);
            let lane = self.lanes.entry(rendition.clone()).or_default();
            if lane.buffer.is_empty() {
                // A tenth more than the segment before: rarely copied again, and little is wasted.
                lane.buffer.reserve(expected.saturating_add(expected / 10).max(bytes.len()));
            }
            let foreseen = self.foreseen.remove(rendition);
            match foreseen.filter(|f| (f.key, f.part, f.digest) == (key, *part, *digest) && lane.parts == part.0) {
                Some(foreseen) => lane.hasher = foreseen.hasher,
                None => lane.hasher.update(bytes),
            }
            lane.parts += 1;
            lane.buffer.extend_from_slice(bytes);
        }
        let mut whole = BTreeMap::new();
        for object in body.objects.iter().filter(|object| !object.gap) {
            let Slot::Segment { msn } = object.slot else { continue };
            let mut lane = self.lanes.remove(&object.rendition).unwrap_or_default();
            if lane.parts < parts(body, &object.rendition) {
                // The segment began while the node was an edge, or before it joined: [`super::store`] assembles it where its parts are.
                continue;
            }
            let digest = Digest(lane.hasher.finalize().into());
            if digest != object.digest {
                return Err(format!("segment {msn} of {} is not its parts' bytes", object.rendition));
            }
            self.lengths.insert(object.rendition.clone(), lane.buffer.len());
            // The segment stays for two windows.
            lane.buffer.shrink_to_fit();
            whole.insert(object.rendition.clone(), (digest, Bytes::from(lane.buffer)));
        }
        if !whole.is_empty() {
            self.close();
        }
        Ok(whole)
    }
}

/// How many parts a rendition's segment has after this row.
fn parts(body: &SealBody, rendition: &RenditionId) -> u32 {
    let of_it = body.objects.iter().filter(|object| object.rendition == *rendition);
    let indices = of_it.filter_map(|object| match object.slot {
        Slot::Part { part, .. } => Some(part.0.saturating_add(1)),
        _ => None,
    });
    indices.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use media::{Epoch, MediaSequence, StreamId};

    use super::*;
    use testkit::studio::{self, START};

    #[test]
    fn what_was_foreseen_and_never_came_makes_room_with_the_next_segment() {
        let mut assembly = Assembly::default();
        for n in 0..RENDITIONS_MAX {
            let rendition = studio::rendition(&format!("x{n}"));
            let slot = Slot::Part { msn: MediaSequence(1_000_000), part: PartIndex(0) };
            let name = ObjectName { stream: StreamId::new("demo").unwrap(), rendition, epoch: Epoch(1), slot };
            assembly.foresee(&name, Digest([1; 32]), &Bytes::from_static(b"x"));
        }
        assert_eq!(assembly.foreseen.len(), RENDITIONS_MAX);
        let mut studio = studio::Studio::new("demo", START);
        let row = studio.row(START);
        let parts = row.objects.iter().filter(|(name, _)| matches!(name.slot, Slot::Part { .. }));
        let bytes =
            parts.map(|(name, bytes)| ((name.rendition.clone(), name.slot), (studio::sha256(bytes), bytes.clone())));
        assembly.add(row.sealed.body(), &bytes.collect()).unwrap();
        assert!(assembly.foreseen.is_empty());
    }
}
