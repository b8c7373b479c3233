//! The segments that have left the window of a timeline, and that a longer playlist (DVR) lists in front of it. Pure.
//!
//! A DVR playlist is the timeline's own with older segments before it: the same edge, the same parts, the same text. So there is no
//! second fold, and both playlists have the same end. Owns which segments those are, and the rule that listed segments never change
//! and only leave at the front (RFC 8216bis 6.2.1 and 6.2.2). Deliberately does not know where their bytes are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use media::{DiscontinuitySequence, Epoch, LogSequence, MediaSequence, Timescale, Timestamp};

use crate::Timeline;
use crate::timeline::{Closed, Segment, SegmentKey, Whole, micros};

/// Most segments that a playlist lists as gaps in one hole. A larger hole means that the node was away, and its playlist starts after it.
const HOLE_SEGMENTS_MAX: u64 = 8 * 1024;
/// Shortest gap, in microseconds: a segment must not have a duration of zero.
const GAP_MICROS_MIN: u64 = 1_000;

/// Closed segments, oldest first, with rising media sequence numbers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Past {
    segments: VecDeque<Arc<Segment>>,
    /// Microseconds of all segments, each as long as its shortest rendition.
    micros: u64,
    /// Playlists list no segment before this one any more.
    floor: MediaSequence,
    /// Playlists have listed every segment from the floor up to this one, exclusive.
    shown: MediaSequence,
}

/// A segment comes too late to be listed: clients have playlists without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("segment {} of epoch {} comes too late", .0.msn, .0.epoch)]
pub struct TooLate(pub SegmentKey);

impl Past {
    /// Takes a closed segment; it replaces one of the same media sequence number.
    ///
    /// # Errors
    /// When it is before the first segment of the playlists, or they list a gap in its place.
    pub fn insert(&mut self, segment: Segment) -> Result<(), TooLate> {
        let key = segment.key;
        if key.msn < self.floor {
            return Err(TooLate(key));
        }
        let micros = segment.shortest_micros();
        let index = self.segments.partition_point(|held| held.key.msn < key.msn);
        match self.segments.get_mut(index).filter(|held| held.key.msn == key.msn) {
            Some(held) if is_gap(held) => return Err(TooLate(key)),
            Some(held) => {
                self.micros -= held.shortest_micros();
                *held = Arc::new(segment);
            }
            None => self.segments.insert(index, Arc::new(segment)),
        }
        self.micros += micros;
        Ok(())
    }

    /// Drops segments at the front while the others last at least `window`; returns the dropped ones.
    pub fn trim(&mut self, window: Duration) -> Vec<SegmentKey> {
        let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let mut removed = Vec::new();
        while let Some(first) = self.segments.front().filter(|_| self.segments.len() > 1) {
            if self.micros.saturating_sub(first.shortest_micros()) < window {
                break;
            }
            removed.extend(self.remove_first());
        }
        removed
    }

    /// Voids segments when epoch `opens` begins on the seal `after`: those of earlier epochs that a later seal closed. Returns the segments
    /// that it drops.
    pub fn void(&mut self, opens: Epoch, after: LogSequence) -> Vec<SegmentKey> {
        let mut removed = Vec::new();
        while let Some(last) = self.segments.back() {
            let is_void = last.key.epoch < opens && last.is_closed_after(after);
            if !is_void && !is_gap(last) {
                break;
            }
            self.micros -= last.shortest_micros();
            removed.push(last.key);
            self.segments.pop_back();
        }
        removed
    }

    /// Drops all segments before `msn`, where playlists begin from now on; returns the dropped ones.
    pub fn begin_at(&mut self, msn: MediaSequence) -> Vec<SegmentKey> {
        let mut removed = Vec::new();
        while self.segments.front().is_some_and(|first| first.key.msn < msn) {
            removed.extend(self.remove_first());
        }
        self.floor = self.floor.max(msn);
        removed
    }

    /// Makes the past end where the timeline begins. Call it before rendering a playlist.
    ///
    /// Missing segments become gaps, unless playlists listed them while the timeline still had them. Then playlists begin after them: a
    /// listed segment may leave at the front, but must not become a gap (RFC 8216bis 6.2.1).
    pub fn join(&mut self, timeline: &Timeline) {
        let mut listed = timeline.listed();
        let Some(first) = listed.next() else { return };
        let end = listed.next_back().unwrap_or(first).key.msn.next();
        let count = self.before(first.key.msn).len();
        let follows = |before: &Segment, after: &Segment| {
            let breaks = before.discontinuity.0 + u64::from(after.after_break);
            before.key.msn.next() == after.key.msn && breaks == after.discontinuity.0
        };
        // From the end backwards: where the playlist is cut, earlier holes no longer matter.
        let mut next = first;
        let (mut index, mut begin, mut gaps) = (count, None, Vec::new());
        while let Some(before) = index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            index -= 1;
            if !follows(before, next) {
                let unseen = before.key.msn.next() >= self.shown;
                let Some(filled) = fill(before, next, self.longest(next)).filter(|_| unseen) else {
                    begin = Some(next.key.msn);
                    break;
                };
                gaps.push((index + 1, filled));
            }
            next = before;
        }
        for (index, filled) in gaps {
            for gap in filled.into_iter().rev() {
                self.micros += gap.shortest_micros();
                self.segments.insert(index, Arc::new(gap));
            }
        }
        if let Some(begin) = begin {
            self.begin_at(begin);
        }
        let oldest = self.before(first.key.msn).next().map_or(first.key.msn, Segment::msn);
        self.floor = self.floor.max(oldest);
        self.shown = self.shown.max(end);
    }

    /// The segments that a playlist lists before the segment `first` of its timeline.
    pub fn before(&self, first: MediaSequence) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        let until = self.segments.partition_point(|segment| segment.key.msn < first);
        self.segments.range(..until).map(|segment| &**segment)
    }

    /// The first segment of each epoch that is listed before the segment `first` of the timeline.
    pub(crate) fn first_of_epochs(&self, first: MediaSequence) -> impl Iterator<Item = &Segment> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let next = self.segments.get(at).filter(|next| next.key.msn < first)?;
            at = self.segments.partition_point(|segment| segment.key.epoch <= next.key.epoch);
            Some(&**next)
        })
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().map(|segment| &**segment)
    }

    /// Duration of all segments, each as long as its shortest rendition.
    pub const fn length(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// Whether the segment with this key is here and not a gap.
    pub fn has(&self, key: SegmentKey) -> bool {
        let index = self.segments.partition_point(|held| held.key.msn < key.msn);
        self.segments.get(index).is_some_and(|held| held.key == key && !is_gap(held))
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        assert_eq!(self.micros, self.segments().map(Segment::shortest_micros).sum::<u64>(), "length is the sum");
        assert!(self.segments().all(Segment::is_closed));
        assert!(self.segments().map(Segment::msn).is_sorted_by(|a, b| a < b), "media sequence numbers rise");
        assert!(self.segments.front().is_none_or(|first| first.key.msn >= self.floor), "nothing before the floor");
    }

    fn remove_first(&mut self) -> Option<SegmentKey> {
        let first = self.segments.pop_front()?;
        self.micros -= first.shortest_micros();
        self.floor = self.floor.max(first.key.msn.next());
        Some(first.key)
    }

    /// Longest duration of a gap, in microseconds: that of the longest segment.
    fn longest(&self, like: &Segment) -> u64 {
        let longest = self.segments().chain([like]).map(Segment::shortest_micros).max();
        longest.unwrap_or(GAP_MICROS_MIN).max(GAP_MICROS_MIN)
    }
}

/// Whether the segment is a gap that stands for a missing one.
fn is_gap(segment: &Segment) -> bool {
    segment.closed.as_ref().is_some_and(|closed| closed.parts == 0)
}

/// The gaps for the missing segments between two that are here: together as long as the time between the two, as far as the bounds
/// allow, and with its discontinuities. `None` when the two contradict each other, or the hole is too large.
fn fill(before: &Segment, after: &Segment, longest: u64) -> Option<Vec<Segment>> {
    let count = after.key.msn.0.checked_sub(before.key.msn.next().0).filter(|count| *count <= HOLE_SEGMENTS_MAX)?;
    let breaks = after.discontinuity.0.checked_sub(before.discontinuity.0)?;
    let breaks = breaks.checked_sub(u64::from(after.after_break)).filter(|breaks| *breaks <= count)?;
    let same_epoch = before.key.epoch == after.key.epoch;
    if before.key.epoch > after.key.epoch || (same_epoch && breaks > 0) {
        return None;
    }
    let own = before.shortest_micros();
    let begins = before.begins().plus(Duration::from_micros(own));
    let span = if same_epoch {
        micros(after.start.minus(before.start)).saturating_sub(own)
    } else {
        let span = after.begins().since(begins);
        u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
    };
    let each = (span / count.max(1)).clamp(GAP_MICROS_MIN, longest);
    let mut discontinuity = before.discontinuity.0;
    let gaps = (0..count).map(|index| {
        // Discontinuities come as late as possible: the last known epoch lasts until another is known.
        let after_break = count - index <= breaks;
        discontinuity += u64::from(after_break);
        gap(
            after,
            index,
            (each, begins.plus(Duration::from_micros(each * index))),
            (discontinuity, after_break),
            before,
        )
    });
    Some(gaps.collect())
}

fn gap(
    after: &Segment,
    index: u64,
    (each, at): (u64, media::UnixMillis),
    (discontinuity, after_break): (u64, bool),
    before: &Segment,
) -> Segment {
    let last_of_before = discontinuity == before.discontinuity.0 && before.key.epoch != after.key.epoch;
    let epoch = if last_of_before { before.key.epoch } else { after.key.epoch };
    let scale = Timescale::new(1_000_000).expect("not zero");
    let duration = Timestamp::new(i64::try_from(each).unwrap_or(i64::MAX), scale);
    let start = Timestamp::zero(scale);
    let whole =
        |name: &media::RenditionId| Whole { rendition: name.clone(), start, duration, gap: true, sync_length: None };
    let wholes = after.renditions().map(whole).collect();
    Segment {
        key: SegmentKey { epoch, msn: MediaSequence(before.key.msn.next().0 + index) },
        origin: at,
        discontinuity: DiscontinuitySequence(discontinuity),
        after_break,
        checkpoint: after.checkpoint,
        start,
        rows: Vec::new(),
        closed: Some(Closed { by: LogSequence(0), parts: 0, wholes }),
    }
}
