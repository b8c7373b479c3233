//! The timeline: playlist state as a fold over admitted seals.
//!
//! `apply` either takes a whole seal or, when the seal contradicts the log before it, leaves the state unchanged. Pure.

mod check;
mod segment;

use std::collections::{BTreeSet, VecDeque};

use media::{Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Slot};
use seal::limits::{HISTORY_MAX, PARTS_MAX};
use seal::{Object, Rendition, SealBody, SealKind};

use crate::reload::{Edge, Hint};
pub use check::Contradiction;
pub(crate) use segment::{Closed, Whole, extinf_micros, micros, part_micros};
pub use segment::{Part, Row, Segment, SegmentKey};

/// Smallest window: a playlist must span three target durations after a removal (RFC 8216bis 6.2.2), and Apple asks for six
/// segments.
pub const WINDOW_SEGMENTS_MIN: usize = 6;

/// Most segments kept above the window while the rest would be shorter than three target durations (RFC 8216bis 6.2.2): sessions
/// that break off again and again leave segments of one part each.
const SHORT_SEGMENTS_MAX: usize = 64;

/// How many seals behind the head a new epoch can build on. Of older seals the timeline keeps only what playlists need.
const BACK_MAX: u64 = HISTORY_MAX as u64;

/// Configuration that shows in playlists, and so is the same on all nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// EXT-X-TARGETDURATION in seconds; constant while a stream lives (RFC 8216bis 6.2.1). Default 4.
    pub target_duration_s: u32,
    /// Closed segments that a playlist lists; at least [`WINDOW_SEGMENTS_MIN`]. Default 12.
    pub window_segments: usize,
    /// Declared PART-TARGET in milliseconds: no part is longer; constant while a stream lives (RFC 8216bis 4.4.3.7). Default 535, the
    /// declared target for parts of half a second ([`media::segmenter::declared_part`]).
    pub part_target_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { target_duration_s: 4, window_segments: 12, part_target_ms: 535 }
    }
}

/// The renditions of an epoch, as a checkpoint seal stated them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The seal that stated them.
    pub sequence: LogSequence,
    pub epoch: Epoch,
    /// Sorted by name.
    pub renditions: Vec<Rendition>,
    /// No segment of the epoch has been opened yet.
    fresh: bool,
}

/// The effects of a seal on playlists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Segments that left the playlists at the front; they stay available for a while (RFC 8216bis 6.2.2).
    pub removed: Vec<SegmentKey>,
    /// The listed segments or the renditions changed, so the multivariant playlist may have changed too.
    pub relisted: bool,
    /// The seal added a part to the open segment.
    pub extended: bool,
}

/// Playlist state of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    settings: Settings,
    /// Newest last; empty until the log reaches one.
    checkpoints: VecDeque<Checkpoint>,
    /// In order; all but the last are closed.
    segments: VecDeque<Segment>,
    /// The newest seal that was applied.
    head: Option<LogSequence>,
    ended: Option<LogSequence>,
    /// Microseconds of all listed segments, each as long as its EXTINF in its shortest rendition.
    listed_micros: u64,
    /// Media sequence number of the first segment, or of the next one while there is none.
    floor: MediaSequence,
}

impl Timeline {
    /// An empty timeline. A window smaller than [`WINDOW_SEGMENTS_MIN`] is raised to it.
    pub fn new(settings: Settings) -> Self {
        let window_segments = settings.window_segments.max(WINDOW_SEGMENTS_MIN);
        Self {
            settings: Settings { window_segments, ..settings },
            checkpoints: VecDeque::new(),
            segments: VecDeque::new(),
            head: None,
            ended: None,
            listed_micros: 0,
            floor: MediaSequence(0),
        }
    }

    /// Takes the next admitted seal.
    ///
    /// A timeline without any state starts at the first seal of an epoch, or at one that completes a segment (of which it then
    /// takes only the checkpoint); seals before that change nothing.
    ///
    /// # Errors
    /// When the seal contradicts the log before it; the state then stays unchanged.
    pub fn apply(&mut self, body: &SealBody) -> Result<Effects, Contradiction> {
        if self.checkpoints.is_empty() {
            return self.start(body);
        }
        check::seal(self, body)?;
        Ok(self.take(body))
    }

    /// Undoes the seals after `sequence`, because the next session builds on that one. Segments that left the playlists at the front in the
    /// meantime do not come back. Returns the segments that are gone altogether.
    pub fn void_after(&mut self, sequence: LogSequence) -> Vec<SegmentKey> {
        if self.head.is_none_or(|head| head <= sequence) {
            return Vec::new();
        }
        let before: Vec<SegmentKey> = self.segments.iter().map(Segment::key).collect();
        self.checkpoints.retain(|checkpoint| checkpoint.sequence <= sequence);
        if self.checkpoints.is_empty() || self.segments.is_empty() {
            // The void part begins before everything kept: start over at the epoch that follows. Dropped rows are before the oldest
            // checkpoint, or were dropped with their segments ([`Self::drop_through`]).
            *self = Self::new(self.settings);
            return before;
        }
        for segment in &mut self.segments {
            segment.rows.retain(|row| row.sequence <= sequence);
            segment.closed.take_if(|closed| closed.by > sequence);
        }
        self.segments.retain(|segment| segment.is_closed() || !segment.rows.is_empty());
        self.listed_micros = self.listed().map(Segment::shortest_extinf_micros).sum();
        self.ended.take_if(|ended| *ended > sequence);
        self.head = Some(sequence);
        before.into_iter().filter(|key| self.segments.iter().all(|segment| segment.key != *key)).collect()
    }

    /// Drops all segments at the front up to the one with the row of the seal `sequence`, whether it is closed or not. Playlists begin behind
    /// it. Returns the segments that are gone.
    pub fn drop_through(&mut self, sequence: LogSequence) -> Vec<SegmentKey> {
        let mut removed = Vec::new();
        // A segment without rows says only behind which checkpoint it begins.
        let first = |segment: &Segment| segment.rows.first().map_or(segment.checkpoint, |row| row.sequence);
        while let Some(segment) = self.segments.pop_front_if(|segment| first(segment) <= sequence) {
            self.floor = segment.key.msn.next();
            removed.push(segment.key);
        }
        self.listed_micros = self.listed().map(Segment::shortest_extinf_micros).sum();
        self.forget_checkpoints();
        removed
    }

    /// The configuration, with the window at least [`WINDOW_SEGMENTS_MIN`].
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// The newest seal that was applied.
    pub const fn head(&self) -> Option<LogSequence> {
        self.head
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoints.back()
    }

    /// The seal from which a late joiner has to start to get the same playlists.
    pub fn oldest_needed(&self) -> Option<LogSequence> {
        let newest = self.checkpoints.back().map(|checkpoint| checkpoint.sequence);
        self.segments.front().map(|segment| segment.checkpoint).or(newest)
    }

    /// Whether a seal ended the session, and no other session followed.
    pub const fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// All segments, oldest first; only the last may be open.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// Segments that playlists list, oldest first.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.range(..self.listed_len())
    }

    /// How many segments playlists list.
    fn listed_len(&self) -> usize {
        self.segments.len() - usize::from(self.open().is_some())
    }

    /// The first segment of each epoch that has segments.
    fn first_of_epochs(&self) -> impl Iterator<Item = &Segment> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.segments.get(at)?;
            at = self.segments.partition_point(|segment| segment.key.epoch <= first.key.epoch);
            Some(first)
        })
    }

    /// Whether a rendition has a playlist.
    pub(crate) fn has(&self, rendition: &RenditionId) -> bool {
        self.states(rendition) || self.first_of_epochs().any(|segment| segment.has(rendition))
    }

    /// Whether the newest epoch has a rendition.
    pub(crate) fn states(&self, rendition: &RenditionId) -> bool {
        let mut renditions = self.checkpoint().into_iter().flat_map(|checkpoint| &checkpoint.renditions);
        renditions.any(|stated| stated.track.rendition == *rendition)
    }

    /// Whether the newest epoch has a video rendition of this name.
    pub(crate) fn states_pictures(&self, rendition: &RenditionId) -> bool {
        let tracks =
            self.checkpoint().into_iter().flat_map(|checkpoint| &checkpoint.renditions).map(|stated| &stated.track);
        tracks.filter(|track| track.format.is_video()).any(|track| track.rendition == *rendition)
    }

    /// The end of the playlists, for requests that wait for more; `None` while there is no playlist.
    pub fn edge(&self) -> Option<Edge> {
        let last = self.listed().next_back()?;
        Some(Edge {
            settings: self.settings,
            last: last.key.msn,
            last_parts: last.parts(),
            open_parts: self.open().map_or(0, Segment::parts),
            epoch: self.checkpoint()?.epoch,
            ended: self.is_ended(),
        })
    }

    /// The next part, for EXT-X-PRELOAD-HINT (RFC 8216bis 4.4.5.3); `None` after the end.
    ///
    /// It is a part of the newest epoch, in an outage a gap. Only the beginning of another epoch, which no node can foresee, puts another
    /// part in its place.
    pub(crate) fn hint(&self) -> Option<Hint> {
        let epoch = self.checkpoint().filter(|_| !self.is_ended())?.epoch;
        let (msn, part) = self.expected(epoch);
        Some(Hint { epoch, msn, part })
    }

    /// Names of all renditions that have a playlist: those of the newest epoch, and those still in the window.
    pub fn renditions(&self) -> BTreeSet<&RenditionId> {
        let newest = self.checkpoint().into_iter().flat_map(|checkpoint| &checkpoint.renditions);
        let shown = self.first_of_epochs().flat_map(Segment::renditions);
        newest.map(|rendition| &rendition.track.rendition).chain(shown).collect()
    }

    /// The segment that the next part continues, if one is open.
    pub fn open(&self) -> Option<&Segment> {
        self.segments.back().filter(|segment| !segment.is_closed())
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        let listed = self.listed().len();
        assert!(listed <= self.settings.window_segments + SHORT_SEGMENTS_MAX, "window holds {listed} segments");
        assert_eq!(self.listed_micros, self.listed().map(Segment::shortest_extinf_micros).sum());
        assert!(self.segments.iter().rev().skip(1).all(Segment::is_closed), "only the last segment may be open");
        assert!(self.checkpoints.len() <= HISTORY_MAX + 1, "{} checkpoints", self.checkpoints.len());
        assert!(self.checkpoints.iter().is_sorted_by(|a, b| a.sequence < b.sequence && a.epoch <= b.epoch));
        let mut msn = self.floor;
        for segment in &self.segments {
            assert_eq!(segment.key.msn, msn, "media sequence numbers are contiguous");
            msn = msn.next();
            let is_compact = segment.is_closed() && segment.rows.is_empty();
            assert!(is_compact || u32::try_from(segment.rows.len()) == Ok(segment.parts()));
            assert!((1..=PARTS_MAX).contains(&segment.parts()));
            assert!(segment.renditions().is_sorted_by(|a, b| a < b));
            for (row, index) in segment.rows.iter().zip(0..) {
                assert_eq!(row.part.0, index, "parts are contiguous");
                assert!(row.parts.is_sorted_by(|a, b| a.rendition < b.rendition));
                assert!(self.head.is_some_and(|head| row.sequence <= head));
            }
        }
        if self.is_ended() {
            assert!(self.open().is_none(), "an ended stream has no open segment");
        }
    }

    /// The segment that the next part of `epoch` opens or continues.
    fn expected(&self, epoch: Epoch) -> (MediaSequence, PartIndex) {
        match self.segments.back() {
            None => (self.floor, PartIndex(0)),
            Some(last) if last.is_closed() || last.key.epoch != epoch => (last.key.msn.next(), PartIndex(0)),
            Some(last) => (last.key.msn, PartIndex(last.parts())),
        }
    }

    fn start(&mut self, body: &SealBody) -> Result<Effects, Contradiction> {
        let opens_epoch = body.objects.iter().any(|object| object.slot == Slot::Init);
        let completes = body.objects.iter().any(|object| matches!(object.slot, Slot::Segment { .. }));
        if body.checkpoint.is_empty() || !(opens_epoch || completes) {
            return Ok(Effects::default());
        }
        let mut fresh = Self::new(self.settings);
        if opens_epoch {
            fresh.floor = check::first_msn(body);
            check::seal(&fresh, body)?;
            let effects = fresh.take(body);
            *self = fresh;
            return Ok(effects);
        }
        fresh.floor = body.next_msn;
        fresh.head = Some(body.sequence);
        fresh.checkpoints.push_back(checkpoint_of(body, false));
        fresh.ended = (body.kind == SealKind::End).then_some(body.sequence);
        *self = fresh;
        Ok(Effects::default())
    }

    /// Applies a seal that was checked.
    fn take(&mut self, body: &SealBody) -> Effects {
        let mut effects = Effects::default();
        if self.checkpoint().is_none_or(|newest| newest.epoch < body.epoch) {
            self.open_epoch(body, &mut effects);
        }
        effects.extended = self.add_row(body);
        let sealed: Vec<&Object> = body.objects.iter().filter(|o| matches!(o.slot, Slot::Segment { .. })).collect();
        let completes = !sealed.is_empty();
        if completes || body.kind == SealKind::End {
            effects.relisted |= self.close(body.sequence, &sealed);
        }
        if completes {
            self.checkpoints.retain(|checkpoint| checkpoint.sequence < body.sequence);
            self.checkpoints.push_back(checkpoint_of(body, false));
        }
        if body.kind == SealKind::End {
            self.ended = Some(body.sequence);
            effects.relisted = true;
        }
        self.head = Some(body.sequence);
        self.compact();
        self.trim(&mut effects);
        effects
    }

    fn open_epoch(&mut self, body: &SealBody, effects: &mut Effects) {
        effects.relisted |= self.close(body.sequence, &[]);
        if self.ended.take().is_some() {
            // A stream that returns after its end starts with an empty window; its media sequence numbers continue.
            self.floor = self.expected(body.epoch).0;
            effects.removed.extend(self.segments.drain(..).map(|segment| segment.key));
            self.listed_micros = 0;
            effects.relisted = true;
        }
        self.checkpoints.push_back(checkpoint_of(body, true));
    }

    /// Adds the seal's row; returns whether it has one.
    fn add_row(&mut self, body: &SealBody) -> bool {
        let mut parts = body.objects.iter().filter_map(|object| match object.slot {
            Slot::Part { msn, part } => Some((msn, part, object)),
            _ => None,
        });
        let Some((msn, part, first)) = parts.next() else { return false };
        let stated = |object: &Object| part_of(object, !self.states_pictures(&object.rendition));
        let mut row = Row { sequence: body.sequence, part, start: first.start, parts: vec![stated(first)] };
        row.parts.extend(parts.map(|(_, _, object)| stated(object)));
        row.parts.sort_by(|a, b| a.rendition.cmp(&b.rendition));
        if let Some(open) = self.segments.back_mut().filter(|segment| !segment.is_closed()) {
            open.rows.push(row);
            return true;
        }
        let newest = self.checkpoints.back_mut().expect("an epoch was opened before its rows");
        self.segments.push_back(Segment {
            key: SegmentKey { epoch: body.epoch, msn },
            origin: body.origin,
            discontinuity: body.discontinuity,
            after_break: newest.fresh && newest.sequence != LogSequence(0),
            checkpoint: newest.sequence,
            start: row.start,
            rows: vec![row],
            closed: None,
        });
        newest.fresh = false;
        true
    }

    /// Closes the open segment: as sealed, or, when the session broke off, from its parts. Returns whether there was one.
    fn close(&mut self, by: LogSequence, sealed: &[&Object]) -> bool {
        let Some(open) = self.segments.back_mut().filter(|segment| !segment.is_closed()) else { return false };
        open.close(by, sealed);
        self.listed_micros += open.shortest_extinf_micros();
        true
    }

    /// Drops rows and checkpoints that only [`Self::void_after`] needs, once no epoch can build on seals so old.
    fn compact(&mut self) {
        let Some(horizon) = self.head.and_then(|head| head.0.checked_sub(BACK_MAX)).map(LogSequence) else { return };
        let compacted = self.segments.partition_point(|segment| segment.rows.is_empty());
        for segment in self.segments.range_mut(compacted..) {
            if segment.closed.as_ref().is_none_or(|closed| closed.by > horizon) {
                break;
            }
            segment.rows = Vec::new();
        }
        while self.checkpoints.get(1).is_some_and(|second| second.sequence <= horizon) {
            self.checkpoints.pop_front();
        }
    }

    fn trim(&mut self, effects: &mut Effects) {
        let enough = u64::from(self.settings.target_duration_s) * 3_000_000;
        let window = self.settings.window_segments;
        while self.listed_len() > window {
            let Some(first) = self.segments.front().map(Segment::shortest_extinf_micros) else { break };
            let rest = self.listed_micros.saturating_sub(first);
            if rest < enough && self.listed_len() <= window + SHORT_SEGMENTS_MAX {
                break;
            }
            let Some(segment) = self.segments.pop_front() else { break };
            self.listed_micros = rest;
            self.floor = segment.key.msn.next();
            effects.removed.push(segment.key);
        }
        self.forget_checkpoints();
    }

    /// Drops checkpoints that no segment needs any more; the newest stays.
    fn forget_checkpoints(&mut self) {
        let oldest = self.oldest_needed();
        while self.checkpoints.len() > 1 && self.checkpoints.front().is_some_and(|first| Some(first.sequence) < oldest)
        {
            self.checkpoints.pop_front();
        }
    }
}

fn checkpoint_of(body: &SealBody, fresh: bool) -> Checkpoint {
    Checkpoint { sequence: body.sequence, epoch: body.epoch, renditions: body.checkpoint.clone(), fresh }
}

/// Audio is presented at its decode time. Video is presented from the start of its row; the decode time may differ from it.
fn part_of(object: &Object, is_sound: bool) -> Part {
    Part {
        rendition: object.rendition.clone(),
        start: if is_sound { object.decode_time } else { object.start },
        duration: object.duration,
        independent: object.independent,
        gap: object.gap,
        length: object.length,
        digest: object.digest,
        sync_length: object.sync_length,
    }
}
