//! Decides where a row ends, from the reference's frames and the lengths that the parts of all renditions get. Pure.
//!
//! The part target is constant for the life of a stream, but frames rarely fall on its multiples. So row ends aim at a grid of part
//! targets, which restarts at each sync sample that begins a part. An end moves by a frame where a part of any rendition would
//! otherwise be longer than the declared target, or shorter than a regular part.

use std::time::Duration;

use super::lane::{Lane, Queued};
use super::{Open, RowEnd, SEGMENT_OVERSHOOT_MAX, Segmenter};
use crate::{Error, Timestamp};

/// How far the stamps of the same picture may differ between renditions: two roundings to a millisecond. The reference's video parts
/// stay this much below the declared target, so that those of the other renditions do not exceed it.
const STAMPS_DIFFER_MAX: Duration = Duration::from_millis(2);

/// The shortest and the longest of the parts that all renditions would have.
#[derive(Clone, Copy)]
struct Extent {
    shortest: Duration,
    longest: Duration,
}

/// The inputs that are the same for all possible ends of one row.
struct Rule<'a> {
    lane: &'a Lane,
    decided_by: usize,
    open: Open,
    /// Where the row begins, in the reference's ticks.
    start: i64,
    /// Where the part ends on the grid, in the reference's ticks.
    due: i64,
    longest: Duration,
    least: Duration,
}

impl Segmenter {
    /// Where the reference ends the row: at the first frame that begins a new segment, or that is nearest to the part's end on the grid.
    pub(super) fn find_row_end(&self, open: Open) -> Result<Option<RowEnd>, Error> {
        let Some(rule) = self.rule(open) else { return Ok(None) };
        self.look(&rule, self.early(&rule))
    }

    /// Panics when [`Self::early`] skips a frame at which the row ends. For tests and fuzzing.
    pub(super) fn check_early(&self, open: Open) {
        let Some(rule) = self.rule(open) else { return };
        let (some, all) = (self.look(&rule, self.early(&rule)), self.look(&rule, (0, None)));
        assert_eq!(some, all, "no row ends at an early frame");
    }

    fn rule(&self, open: Open) -> Option<Rule<'_>> {
        let decided_by = self.reference?;
        let lane = self.lanes.get(decided_by)?;
        Some(Rule {
            lane,
            decided_by,
            open,
            start: lane.at(open.part_start),
            due: lane.at(open.grid_start) + lane.ticks(self.targets.part * (open.grid_parts + 1)),
            longest: self.targets.declared_part(),
            least: self.targets.least_part(),
        })
    }

    /// Searches the frames after the first and the `early` ones; the last early frame begins at `before`.
    fn look(&self, rule: &Rule<'_>, (early, mut before): (usize, Option<i64>)) -> Result<Option<RowEnd>, Error> {
        let (lane, start) = (rule.lane, rule.start);
        // When the lane has only just become the reference, more than its first frame may be stamped before the row.
        for queued in lane.queue.iter().skip(early.saturating_add(1)).skip_while(|queued| queued.instant() <= start) {
            let here = queued.instant();
            if self.extent(rule, here).longest > rule.longest {
                return before.map(|end| Some(rule.end(end, false))).ok_or_else(|| rule.too_long(here));
            }
            if self.completes_segment(rule, queued)? {
                return Ok(Some(rule.end(here, true)));
            }
            if self.ends_part(rule, queued) {
                return Ok(Some(rule.end(here, false)));
            }
            before = Some(here);
        }
        let Some(last) = lane.queue.back().filter(|_| self.finished) else { return Ok(None) };
        let end = last.expected_end.max(start + 1);
        if self.extent(rule, end).longest > rule.longest {
            return before.map(|end| Some(rule.end(end, false))).ok_or_else(|| rule.too_long(end));
        }
        Ok(Some(rule.end(end, true)))
    }

    /// Counts the frames after the first that are not sync samples and end before the grid's next instant. The row ends at none of them,
    /// so a new sample does not make the search visit them again. Also says where the last of them begins, if after the row's start.
    ///
    /// Lengths grow from frame to frame: when all these frames together fit a part and a segment, each of them does.
    fn early(&self, rule: &Rule<'_>) -> (usize, Option<i64>) {
        let lane = rule.lane;
        let is_early = |queued: &&Queued| !queued.sample.sync && queued.expected_end <= rule.due;
        let (mut count, mut last, mut end) = (0, None, i64::MIN);
        for queued in lane.queue.iter().skip(1).take_while(is_early) {
            (count, last) = (count + 1, Some(queued.instant()));
            end = end.max(queued.expected_end);
        }
        let Some(last) = last else { return (0, None) };
        let waited = last - lane.at(rule.open.segment_start);
        let is_long = waited > lane.ticks(self.targets.segment) + lane.ticks(SEGMENT_OVERSHOOT_MAX);
        if is_long || self.extent(rule, end).longest > rule.longest {
            return (0, None);
        }
        (count, Some(last).filter(|last| *last > rule.start))
    }

    /// Whether a new segment begins with this frame. Errors when the open segment waits too long for a sync sample.
    fn completes_segment(&self, rule: &Rule<'_>, queued: &Queued) -> Result<bool, Error> {
        let lane = rule.lane;
        let elapsed = queued.instant() - lane.at(rule.open.segment_start);
        let (target, half_frame) = (lane.ticks(self.targets.segment), lane.half_frame());
        if queued.sample.sync {
            // The next sync sample is expected after the longest recent interval. While the intervals are irregular, as with
            // encoders that insert an IDR at each scene change, it is expected no sooner than after half a segment.
            let usual = if queued.regular { 0 } else { target / 2 };
            let next_too_late = elapsed + queued.longest_interval.max(usual) > target + half_frame;
            return Ok(elapsed >= target - half_frame || next_too_late);
        }
        if elapsed > target + lane.ticks(SEGMENT_OVERSHOOT_MAX) && !self.finished {
            let rendition = lane.config.rendition.clone();
            return Err(Error::SyncSampleLate { rendition, waited: lane.time(elapsed).as_duration() });
        }
        Ok(false)
    }

    /// Whether a new part begins with this frame. It does when the next frame would make a part too long. It also does when all parts are
    /// long enough and the frame is a sync sample or nearer to the grid's instant than the next frame.
    fn ends_part(&self, rule: &Rule<'_>, queued: &Queued) -> bool {
        let next = queued.expected_end;
        if self.extent(rule, next).longest > rule.longest {
            return true;
        }
        let nearest = rule.due.abs_diff(queued.instant()) <= rule.due.abs_diff(next);
        (nearest || queued.sample.sync) && self.extent(rule, queued.instant()).shortest >= rule.least
    }

    /// The lengths of the parts of all renditions when the row ends at `end`, in the reference's ticks. Other video parts are as long as
    /// the reference's, apart from rounded stamps. The lengths of audio parts are exact, because audio frames are contiguous.
    fn extent(&self, rule: &Rule<'_>, end: i64) -> Extent {
        let lane = rule.lane;
        let instant = lane.time(end);
        let own = lane.queue.front().map_or(0, |first| end - first.instant());
        let row = end - rule.start;
        let slack = if lane.is_video() { STAMPS_DIFFER_MAX } else { Duration::ZERO };
        let of = |ticks: i64| lane.time(ticks.max(0)).as_duration();
        let reference = Extent { shortest: of(own.min(row)), longest: of(own.max(row)) + slack };
        let others = self.lanes.iter().enumerate().filter(|(index, lane)| *index != rule.decided_by && !lane.shed);
        let sound = others.filter_map(|(_, lane)| lane.sound_until(instant));
        sound.filter(|length| !length.is_zero()).fold(reference, |extent, length| Extent {
            shortest: extent.shortest.min(length),
            longest: extent.longest.max(length),
        })
    }
}

impl Rule<'_> {
    fn end(&self, instant: i64, completes_segment: bool) -> RowEnd {
        RowEnd { instant: self.lane.time(instant), completes_segment, decided_by: self.decided_by }
    }

    fn too_long(&self, end: i64) -> Error {
        let length = self.lane.time(end - self.start).as_duration();
        Error::PartTooLong { rendition: self.lane.config.rendition.clone(), length }
    }
}

impl Open {
    /// The state after a row that ended at `end`. `begins_with_sync`: the next row begins with a video sync sample; `frame`: the usual
    /// duration of a frame. The grid restarts also when the end is off the grid by more than `frame`.
    pub(super) fn after(self, end: RowEnd, part_target: Duration, begins_with_sync: bool, frame: Timestamp) -> Self {
        let segment_start = if end.completes_segment { end.instant } else { self.segment_start };
        let parts = self.grid_parts + 1;
        let elapsed = end.instant.minus(self.grid_start).as_duration();
        let off = elapsed.abs_diff(part_target * parts);
        let anew = end.completes_segment || begins_with_sync || off > frame.as_duration();
        let (grid_start, grid_parts) = if anew { (end.instant, 0) } else { (self.grid_start, parts) };
        Self { segment_start, part_start: end.instant, grid_start, grid_parts }
    }
}
