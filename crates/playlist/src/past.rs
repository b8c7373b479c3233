//! What has left the window of a timeline and is listed in front of it by a longer playlist (DVR). Pure.
//!
//! A playlist of hours is the timeline's own with older segments before it: the same edge, the same parts, the same text. So
//! there is no second fold, and what holds of the live playlist's end holds of the long one's. Owns which segments those are,
//! and that nothing that was shown changes later but by leaving at the front (RFC 8216bis 6.2.1 and 6.2.2). Deliberately does
//! not know where their bytes are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use media::{DiscontinuitySequence, Epoch, LogSequence, MediaSequence, Timescale, Timestamp};

use crate::Timeline;
use crate::timeline::{Closed, Segment, SegmentKey, Whole, micros};

/// Most segments that are listed as gaps in one hole: more is a node that was away, and its playlist begins anew.
const HOLE_SEGMENTS_MAX: u64 = 8 * 1024;
/// Shortest gap, in microseconds: a duration of zero would be none.
const GAP_MICROS_MIN: u64 = 1_000;

/// Closed segments, oldest first, with rising media sequence numbers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Past {
    segments: VecDeque<Arc<Segment>>,
    /// Microseconds of all of them, each as long as its shortest rendition.
    micros: u64,
    /// What is before this is not listed any more.
    floor: MediaSequence,
    /// Playlists listed everything before this that is not before the floor.
    shown: MediaSequence,
}

/// A segment that cannot be listed any more: playlists were shown without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("segment {} of epoch {} comes too late", .0.msn, .0.epoch)]
pub struct TooLate(pub SegmentKey);

impl Past {
    /// Takes a closed segment. One that is here already is replaced.
    ///
    /// # Errors
    /// When it is before what playlists begin with, or a gap was shown in its place.
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

    /// Drops segments at the front while the others last for `window`; returns them.
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

    /// An epoch opens that builds on the seal `after`: what others closed since is void. Returns the segments that go.
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

    /// Drops everything before `msn`, which is where playlists begin from now on; returns what went.
    pub fn begin_at(&mut self, msn: MediaSequence) -> Vec<SegmentKey> {
        let mut removed = Vec::new();
        while self.segments.front().is_some_and(|first| first.key.msn < msn) {
            removed.extend(self.remove_first());
        }
        self.floor = self.floor.max(msn);
        removed
    }

    /// Makes sure that the timeline's playlist follows on what is here, because it is about to be shown.
    ///
    /// Segments that are missing become gaps, unless playlists listed them when the timeline still had them: then playlists begin
    /// after them, because a segment that was listed may leave at the front, and may not become a gap (RFC 8216bis 6.2.1).
    pub fn join(&mut self, timeline: &Timeline) {
        let mut listed = timeline.listed();
        let Some(first) = listed.next() else { return };
        let end = listed.next_back().unwrap_or(first).key.msn.next();
        let count = self.before(first.key.msn).len();
        let follows = |before: &Segment, after: &Segment| {
            let breaks = before.discontinuity.0 + u64::from(after.after_break);
            before.key.msn.next() == after.key.msn && breaks == after.discontinuity.0
        };
        // From the end, so that what is dropped takes the holes before it along.
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

    /// What a playlist lists before the segment `first` of its timeline.
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

    /// How long it is.
    pub const fn length(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// Whether this very segment is listed.
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

    /// Longest that a gap may be listed with.
    fn longest(&self, like: &Segment) -> u64 {
        let longest = self.segments().chain([like]).map(Segment::shortest_micros).max();
        longest.unwrap_or(GAP_MICROS_MIN).max(GAP_MICROS_MIN)
    }
}

/// Whether it only stands for a segment that is not here.
fn is_gap(segment: &Segment) -> bool {
    segment.closed.as_ref().is_some_and(|closed| closed.parts == 0)
}

/// What is listed for the segments between two that are here: gaps, together as long as the time between them, with the
/// discontinuities that were there. `None` when what is known of the two does not go together.
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
        // As late as possible: an epoch that is not known here was there until something else was.
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
