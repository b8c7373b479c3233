//! What is kept of one stream: which segments, until when, and what proves their bytes. Pure.
//!
//! A segment is *listed* as long as the window has room for it. Then it *lingers*, because whoever holds a playlist that listed
//! it may still ask for it (RFC 8216bis 6.2.2), and then it is removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use media::{Epoch, LogSequence, MediaSequence, ObjectName, RenditionId, Slot, UnixMillis};
use playlist::{Past, SegmentKey, Timeline};
use seal::{KeyId, Keyring};

use super::fold::{Closed, Proof};
use super::{Missing, Settled};

/// Bytes that a file or a directory takes of a disk at least.
const BLOCK_BYTES: u64 = 4096;

/// An object that has a file.
#[derive(Debug)]
struct Object {
    rendition: RenditionId,
    slot: Slot,
    proof: Proof,
}

/// A segment that is on disk.
#[derive(Debug)]
struct RecordedSegment {
    objects: Vec<Object>,
    /// The seal that closed it.
    by: LogSequence,
    /// When that was signed.
    at: UnixMillis,
    /// The key that signed its rows, and when it signed the last of them.
    signed: (KeyId, UnixMillis),
    /// When it is removed, unless it is listed then.
    expires: UnixMillis,
    bytes: u64,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    /// How far back playlists go.
    pub(super) window: Duration,
    /// EXT-X-TARGETDURATION.
    pub(super) target: Duration,
}

impl Spans {
    /// How long a segment stays after it has left the playlists: as long as the longest that listed it, and the segment itself
    /// (RFC 8216bis 6.2.2). The second target duration is for clocks and requests under way.
    pub(super) fn linger(&self) -> Duration {
        self.window + 2 * self.target
    }
}

/// Whose space is taken first when room is short: the lesser first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// It has left the playlists.
    Lingers,
    Listed,
}

/// What is kept of a stream.
#[derive(Debug)]
pub(super) struct Tape {
    spans: Spans,
    kept: BTreeMap<SegmentKey, RecordedSegment>,
    inits: BTreeMap<Epoch, Vec<(RenditionId, Proof)>>,
    past: Arc<Past>,
    bytes: u64,
    /// The gate holds the stream, so that its playlists are served.
    is_live: bool,
    keyring: Arc<Keyring>,
}

impl Tape {
    pub(super) fn new(spans: Spans, keyring: Arc<Keyring>) -> Self {
        let (kept, inits) = (BTreeMap::new(), BTreeMap::new());
        Self { spans, kept, inits, past: Arc::default(), bytes: 0, is_live: false, keyring }
    }

    /// From now on, nothing is kept that is void by these keys, and nothing before it. Returns what is not kept any more.
    pub(super) fn take_keys(&mut self, keyring: Arc<Keyring>) -> Vec<SegmentKey> {
        self.keyring = keyring;
        // A segment whose seals state an earlier time than one before it is at least as new as that one.
        let mut at = UnixMillis(0);
        let void = self.kept.iter().filter(|(_, kept)| {
            at = at.max(kept.signed.1);
            self.keyring.is_void(&kept.signed.0, at)
        });
        let Some(newest) = void.last().map(|(key, _)| *key) else { return Vec::new() };
        let erased: Vec<SegmentKey> = self.kept.range(..=newest).map(|(key, _)| *key).collect();
        erased.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Follows the log, as it was at `now`. Returns what is not kept any more.
    pub(super) fn follow(&mut self, settled: Settled, missing: Missing, now: UnixMillis) -> Vec<SegmentKey> {
        let Settled { voided, begins_at, closed } = settled;
        let mut gone = Vec::new();
        if let Some((opens, after)) = voided {
            gone.extend(self.void(opens, after));
        }
        if let Some(msn) = begins_at {
            let left = Arc::make_mut(&mut self.past).begin_at(msn);
            self.linger(left, now);
        }
        for (closed, is_whole) in closed {
            let key = closed.segment.key();
            // A session that broke off closes a segment again with fewer parts: the same file, less of it.
            gone.retain(|void| *void != key);
            if is_whole || missing == Missing::IsGap {
                gone.extend(self.insert(closed, now));
            } else {
                gone.push(key);
            }
        }
        gone
    }

    /// Takes a closed segment whose objects are on disk; where the segment itself is not among them, it is listed as a gap.
    /// Returns what is not kept any more.
    fn insert(&mut self, closed: Closed, now: UnixMillis) -> Vec<SegmentKey> {
        let Closed { segment, objects, inits, by, at, key: signer, signed_at } = closed;
        let key = segment.key();
        if self.keyring.is_void(&signer, signed_at) {
            Arc::make_mut(&mut self.past).begin_at(key.msn.next());
            return vec![key];
        }
        let whole = Slot::Segment { msn: key.msn };
        let has = |name: &RenditionId| objects.iter().any(|(rendition, slot, _)| (rendition, *slot) == (name, whole));
        if Arc::make_mut(&mut self.past).insert(segment.kept(has)).is_err() {
            self.drop_segment(key);
            return vec![key];
        }
        let objects: Vec<Object> =
            objects.into_iter().map(|(rendition, slot, proof)| Object { rendition, slot, proof }).collect();
        let blocks = objects.iter().map(|object| object.proof.length().next_multiple_of(BLOCK_BYTES));
        let bytes = blocks.sum::<u64>() + BLOCK_BYTES;
        let expires = at.plus(self.spans.window + self.spans.linger());
        self.drop_segment(key);
        self.bytes += bytes;
        self.kept.insert(key, RecordedSegment { objects, by, at, signed: (signer, signed_at), expires, bytes });
        self.inits.insert(key.epoch, inits);
        let left = Arc::make_mut(&mut self.past).trim(self.spans.window);
        self.linger(left, now);
        Vec::new()
    }

    /// An epoch opens that builds on the seal `after`. Returns what is void.
    fn void(&mut self, opens: Epoch, after: LogSequence) -> Vec<SegmentKey> {
        Arc::make_mut(&mut self.past).void(opens, after);
        let void = self.kept.iter().filter(|(key, kept)| key.epoch < opens && kept.by > after);
        let void: Vec<SegmentKey> = void.map(|(key, _)| *key).collect();
        void.into_iter().filter_map(|key| self.drop_segment(key)).collect()
    }

    /// Notes whether the gate holds the stream.
    pub(super) fn set_live(&mut self, is_live: bool) {
        self.is_live = is_live;
    }

    /// Drops what has expired, and returns it.
    pub(super) fn expire(&mut self, now: UnixMillis) -> Vec<SegmentKey> {
        let mut expired = Vec::new();
        while let Some((key, kept)) = self.kept.first_key_value() {
            // A segment stays while playlists that list it are served, however long the stream has stood still.
            if kept.expires > now || (self.is_live && self.past.has(*key)) {
                break;
            }
            let key = *key;
            expired.extend(self.remove(key));
        }
        expired
    }

    /// The oldest segment: its worth, and when it was closed.
    pub(super) fn oldest(&self) -> Option<(Worth, UnixMillis)> {
        let (key, kept) = self.kept.first_key_value()?;
        Some((if self.past.has(*key) { Worth::Listed } else { Worth::Lingers }, kept.at))
    }

    /// Drops the oldest segment, to make room.
    pub(super) fn evict(&mut self) -> Option<SegmentKey> {
        let key = *self.kept.first_key_value()?.0;
        self.remove(key)
    }

    /// What proves an object that is on disk.
    pub(super) fn find(&self, name: &ObjectName) -> Option<&Proof> {
        match name.slot {
            Slot::Init => {
                let inits = self.inits.get(&name.epoch)?;
                inits.iter().find(|(rendition, _)| *rendition == name.rendition).map(|(_, proof)| proof)
            }
            Slot::Part { .. } => None,
            Slot::Segment { msn } | Slot::Image { msn } => {
                let kept = self.kept.get(&SegmentKey { epoch: name.epoch, msn })?;
                let mut objects = kept.objects.iter();
                objects
                    .find(|object| (&object.rendition, object.slot) == (&name.rendition, name.slot))
                    .map(|o| &o.proof)
            }
        }
    }

    /// Drops an object whose file does not have the right bytes.
    pub(super) fn lose(&mut self, name: &ObjectName) {
        match name.slot {
            Slot::Init => {
                let inits = self.inits.get_mut(&name.epoch).into_iter();
                inits.for_each(|inits| inits.retain(|(rendition, _)| *rendition != name.rendition));
            }
            Slot::Part { .. } => {}
            Slot::Segment { msn } | Slot::Image { msn } => {
                if let Some(kept) = self.kept.get_mut(&SegmentKey { epoch: name.epoch, msn }) {
                    kept.objects.retain(|object| (&object.rendition, object.slot) != (&name.rendition, name.slot));
                }
            }
        }
    }

    /// What playlists list before those of `timeline`, which is about to be shown.
    pub(super) fn past(&mut self, timeline: &Timeline) -> Arc<Past> {
        Arc::make_mut(&mut self.past).join(timeline);
        self.past.clone()
    }

    /// The oldest media sequence number that is kept: the seals from there on are needed.
    pub(super) fn oldest_msn(&self) -> Option<MediaSequence> {
        self.kept.keys().map(|key| key.msn).min()
    }

    pub(super) fn has(&self, key: SegmentKey) -> bool {
        self.kept.contains_key(&key)
    }

    pub(super) fn has_epoch(&self, epoch: Epoch) -> bool {
        self.inits.contains_key(&epoch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes of disk that the segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Duration of what its playlists list.
    pub(super) fn length(&self) -> Duration {
        self.past.length()
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.past.check_invariants();
        assert_eq!(self.bytes, self.kept.values().map(|kept| kept.bytes).sum::<u64>());
        assert!(self.kept.keys().all(|key| self.inits.contains_key(&key.epoch)));
        assert!(self.past.segments().filter(|s| self.past.has(s.key())).all(|s| self.kept.contains_key(&s.key())));
    }

    fn linger(&mut self, left: Vec<SegmentKey>, now: UnixMillis) {
        let until = now.plus(self.spans.linger());
        for key in left {
            if let Some(kept) = self.kept.get_mut(&key) {
                kept.expires = kept.expires.max(until);
            }
        }
    }

    /// Drops a segment, and takes it and all before it out of the playlists.
    fn remove(&mut self, key: SegmentKey) -> Option<SegmentKey> {
        if self.past.has(key) {
            Arc::make_mut(&mut self.past).begin_at(key.msn.next());
        }
        self.drop_segment(key)
    }

    fn drop_segment(&mut self, key: SegmentKey) -> Option<SegmentKey> {
        let kept = self.kept.remove(&key)?;
        self.bytes -= kept.bytes;
        let [first, last] = [MediaSequence(0), MediaSequence(u64::MAX)].map(|msn| SegmentKey { msn, ..key });
        if self.kept.range(first..=last).next().is_none() {
            self.inits.remove(&key.epoch);
        }
        Some(key)
    }
}
