//! Keeps the newest entries of a stream's log with their bytes, to push them, and to push them again to a node that was away. Pure.
//!
//! Every receiver (each broadcast node, and the bus) has its own cursor into the ring, so none waits for another. A node that falls
//! further behind than the ring reaches pulls the missing entries from its peers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Epoch, LogSequence, ObjectName, Slot};

/// Bytes of media kept per stream: a window of 48 s of a 10 Mbit/s ladder.
pub(crate) const RING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Media time kept per stream: a window of 48 s and the open segment. So the ring has all that a node shows, even if no other node has
/// the stream; keeping more would only keep media twice.
const RING_SPAN: Duration = Duration::from_secs(52);
/// Entries kept per stream at most: [`RING_SPAN`] in the shortest parts, 0.2 s.
pub(crate) const RING_ENTRIES_MAX: usize = 260;

/// A sealed entry, ready to be sent.
#[derive(Debug)]
pub(crate) struct RingEntry {
    pub(crate) epoch: Epoch,
    /// Its place in the log.
    pub(crate) sequence: LogSequence,
    /// The seal itself (COSE).
    pub(crate) seal: Bytes,
    /// The named objects that are pushed: init segments, parts and thumbnails.
    pub(crate) objects: Vec<(ObjectName, Bytes)>,
}

impl RingEntry {
    fn bytes(&self) -> usize {
        self.objects.iter().fold(self.seal.len(), |sum, (_, bytes)| sum.saturating_add(bytes.len()))
    }
}

/// An entry that a cursor found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entry: Arc<RingEntry>,
    /// Its index; the cursor continues after it.
    pub(crate) index: u64,
    /// Entries that left the ring before the cursor reached them.
    pub(crate) missed: u64,
}

/// The ring. Indices count all entries ever put in, from 0.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Arc<RingEntry>>,
    entries_max: usize,
    first: u64,
    bytes: usize,
    /// Init segments of the newest epoch, for a node that arrives after their entry has left the ring.
    inits: Vec<(ObjectName, Bytes)>,
}

impl Ring {
    /// A ring for rows as long as `part`.
    pub(crate) fn new(part: Duration) -> Self {
        let rows = RING_SPAN.as_millis().div_ceil(part.as_millis().max(1));
        let entries_max = usize::try_from(rows).unwrap_or(usize::MAX).clamp(1, RING_ENTRIES_MAX);
        Self { entries: VecDeque::new(), entries_max, first: 0, bytes: 0, inits: Vec::new() }
    }

    /// Adds an entry and drops the oldest ones beyond the limits. The newest always stays.
    pub(crate) fn push(&mut self, entry: RingEntry) {
        let inits: Vec<_> = entry.objects.iter().filter(|(name, _)| name.slot == Slot::Init).cloned().collect();
        if !inits.is_empty() {
            self.inits = inits;
        }
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(Arc::new(entry));
        while self.entries.len() > 1 && (self.bytes > RING_BYTES_MAX || self.entries.len() > self.entries_max) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.first = self.first.saturating_add(1);
        }
    }

    /// The entry at `index`, or the oldest if that one has left the ring; `None` from [`Self::end`] on.
    pub(crate) fn at(&self, index: u64) -> Option<Found> {
        let at = index.max(self.first);
        let offset = usize::try_from(at.saturating_sub(self.first)).ok()?;
        let entry = Arc::clone(self.entries.get(offset)?);
        Some(Found { entry, index: at, missed: at.saturating_sub(index) })
    }

    /// Index of the next entry to be added.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.entries.len()).unwrap_or(u64::MAX))
    }

    /// Index of the oldest entry.
    pub(crate) const fn start(&self) -> u64 {
        self.first
    }

    /// Init segments of the newest epoch.
    pub(crate) fn inits(&self) -> Vec<(ObjectName, Bytes)> {
        self.inits.clone()
    }

    /// Bytes of all entries, seals included; kept init segments do not count.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PART: Duration = Duration::from_millis(500);

    fn entry(sequence: u64, bytes: usize, slot: Slot) -> RingEntry {
        let name =
            ObjectName { stream: "a".parse().unwrap(), rendition: "audio".parse().unwrap(), epoch: Epoch(1), slot };
        RingEntry {
            epoch: Epoch(1),
            sequence: LogSequence(sequence),
            seal: Bytes::new(),
            objects: vec![(name, vec![0; bytes].into())],
        }
    }

    #[test]
    fn cursor_that_fell_out_of_the_ring_learns_how_much_it_missed() {
        let mut ring = Ring::new(PART);
        let size = RING_BYTES_MAX / 4;
        for n in 0..10 {
            ring.push(entry(n, size, Slot::Segment { msn: media::MediaSequence(n) }));
        }
        let found = ring.at(2).unwrap();
        assert_eq!((found.index, found.missed, found.entry.sequence), (6, 4, LogSequence(6)));
        assert_eq!((ring.start(), ring.end()), (6, 10));
        assert!(ring.at(10).is_none());
    }

    #[test]
    fn ring_holds_a_window_of_parts_of_any_length_and_no_more() {
        for (part_ms, entries) in [(200, 260), (500, 104), (2_000, 26)] {
            let mut ring = Ring::new(Duration::from_millis(part_ms));
            for n in 0..1_000 {
                ring.push(entry(n, 1, Slot::Segment { msn: media::MediaSequence(n) }));
            }
            assert_eq!(ring.end() - ring.start(), entries, "{part_ms} ms");
        }
    }

    #[test]
    fn init_segments_outlive_their_entry() {
        let mut ring = Ring::new(PART);
        ring.push(entry(0, 10, Slot::Init));
        for n in 0..1_000 {
            ring.push(entry(n + 1, 1, Slot::Segment { msn: media::MediaSequence(n) }));
        }
        assert!(ring.start() > 0);
        assert_eq!(ring.inits().len(), 1);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_newest_stays(sizes in proptest::collection::vec(0_usize..RING_BYTES_MAX * 2, 1..20)) {
            let mut ring = Ring::new(PART);
            for (n, size) in (0..).zip(sizes) {
                ring.push(entry(n, size, Slot::Segment { msn: media::MediaSequence(n) }));
                prop_assert!(ring.bytes() <= RING_BYTES_MAX || ring.entries.len() == 1);
                prop_assert_eq!(ring.bytes(), ring.entries.iter().map(|entry| entry.bytes()).sum::<usize>());
                prop_assert_eq!(ring.at(ring.end() - 1).unwrap().entry.sequence, LogSequence(n));
            }
        }
    }
}
