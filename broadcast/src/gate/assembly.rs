//! Segments in the making: their bytes are put together and hashed part by part, so that when one completes only its last part
//! is left to do. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{Digest, RenditionId, Slot};
use playlist::SegmentKey;
use seal::SealBody;
use sha2::{Digest as _, Sha256};

use super::stream::SlotBytes;

/// Largest first allocation for a segment: 4 s at 32 Mbit/s. Larger ones grow.
const BUFFER_BYTES_FIRST: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Lane {
    hasher: Sha256,
    buffer: Vec<u8>,
}

/// The open segment of all renditions.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    key: Option<SegmentKey>,
    lanes: BTreeMap<RenditionId, Lane>,
    /// Length of the newest segment of a rendition: what the next one is likely to have.
    lengths: BTreeMap<RenditionId, usize>,
}

impl Assembly {
    /// Forgets what was begun.
    pub(super) fn clear(&mut self) {
        self.key = None;
        self.lanes.clear();
    }

    /// Takes the parts of a row. When the row completes its segment, returns the whole segments.
    ///
    /// # Errors
    /// When a segment's digest is not that of its parts' bytes; says which.
    pub(super) fn add(
        &mut self,
        body: &SealBody,
        bytes: &SlotBytes,
    ) -> Result<BTreeMap<RenditionId, (Digest, Bytes)>, String> {
        for ((rendition, slot), (_, bytes)) in bytes {
            let Slot::Part { msn, .. } = slot else { continue };
            let key = SegmentKey { epoch: body.epoch, msn: *msn };
            if self.key != Some(key) {
                self.clear();
                self.key = Some(key);
            }
            let expected = self.lengths.get(rendition).copied().unwrap_or(0).min(BUFFER_BYTES_FIRST);
            let lane = self.lanes.entry(rendition.clone()).or_default();
            if lane.buffer.is_empty() {
                // A tenth more than the one before: rarely copied again, and little is wasted.
                lane.buffer.reserve(expected.saturating_add(expected / 10).max(bytes.len()));
            }
            lane.hasher.update(bytes);
            lane.buffer.extend_from_slice(bytes);
        }
        let mut whole = BTreeMap::new();
        for object in body.objects.iter().filter(|object| !object.gap) {
            let Slot::Segment { msn } = object.slot else { continue };
            let lane = self.lanes.remove(&object.rendition).unwrap_or_default();
            let digest = Digest(lane.hasher.finalize().into());
            if digest != object.digest {
                return Err(format!("segment {msn} of {} is not its parts' bytes", object.rendition));
            }
            self.lengths.insert(object.rendition.clone(), lane.buffer.len());
            whole.insert(object.rendition.clone(), (digest, Bytes::from(lane.buffer)));
        }
        if !whole.is_empty() {
            self.clear();
        }
        Ok(whole)
    }
}
