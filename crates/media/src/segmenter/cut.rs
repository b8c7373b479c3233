//! Where a row ends: the rule of the reference, with an eye on the lengths that the parts of all renditions get. Pure.
//!
//! A part target is constant for the life of a stream, frames are not of its making. So ends are aimed at a grid of the target,
//! which begins anew with each sync sample that begins a part, and moved by a frame where a part of any rendition would otherwise
//! be longer than declared, or shorter than regular.

use std::time::Duration;

use super::lane::{Lane, Queued};
use super::{Open, RowEnd, SEGMENT_OVERSHOOT_MAX, Segmenter};
use crate::{Error, Timestamp};

/// How far the stamps of the same picture may differ between renditions: parts of pictures stay below the declared target by this
/// much, so that those of the others do too. Two roundings to a millisecond.
const STAMPS_DIFFER_MAX: Duration = Duration::from_millis(2);

/// The lengths that the parts of all renditions would have.
#[derive(Clone, Copy)]
struct Extent {
    shortest: Duration,
    longest: Duration,
}

/// What holds for all ends of one row.
struct Rule<'a> {
    lane: &'a Lane,
    decided_by: usize,
    open: Open,
    /// Where the row begins, in the reference's ticks.
    start: i64,
    /// Where the grid says that the part ends, in the reference's ticks.
    due: i64,
    longest: Duration,
    least: Duration,
}

impl Segmenter {
    /// Where the reference ends the row: at the first frame that begins a new segment, or that is nearest to where the part should
    /// end.
    pub(super) fn find_row_end(&self, open: Open) -> Result<Option<RowEnd>, Error> {
        let Some(rule) = self.rule(open) else { return Ok(None) };
        self.look(&rule, self.early(&rule))
    }

    /// Panics when frames are passed over at which a row ends. For tests and fuzzing.
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

    /// Looks at the frames that come after the first and the `early` ones, the last of which begins at `before`.
    fn look(&self, rule: &Rule<'_>, (early, mut before): (usize, Option<i64>)) -> Result<Option<RowEnd>, Error> {
        let (lane, start) = (rule.lane, rule.start);
        // Of a lane that was not the reference so far, more than the first frame may be stamped before the row.
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

    /// How many frames after the first are no sync samples and over before the grid's next instant, so that the row ends at none of
    /// them: they need no look of their own with each sample that comes. And where the last of them begins, if that is after the row's start.
    ///
    /// Lengths grow from frame to frame, so when all of these together are neither too long for a part nor for a segment, none is.
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

    /// Whether a new segment begins with this frame.
    fn completes_segment(&self, rule: &Rule<'_>, queued: &Queued) -> Result<bool, Error> {
        let lane = rule.lane;
        let elapsed = queued.instant() - lane.at(rule.open.segment_start);
        let (target, half_frame) = (lane.ticks(self.targets.segment), lane.half_frame());
        if queued.sample.sync {
            // The next sync sample is expected after the longest recent interval; while that is no regular one, as with
            // encoders that put one at each change of scene, not before the usual half a segment.
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

    /// Whether a new part begins with this frame: it is a sync sample, or nearer to the grid than the next one, and all parts are
    /// long enough; or with the next one they would be too long.
    fn ends_part(&self, rule: &Rule<'_>, queued: &Queued) -> bool {
        let next = queued.expected_end;
        if self.extent(rule, next).longest > rule.longest {
            return true;
        }
        let nearest = rule.due.abs_diff(queued.instant()) <= rule.due.abs_diff(next);
        (nearest || queued.sample.sync) && self.extent(rule, queued.instant()).shortest >= rule.least
    }

    /// What the parts of all renditions last when the row ends at `end`, in the reference's ticks. Those of other pictures are as long as
    /// the reference's, but for their stamps; those of sound are known exactly, since its samples follow on one another.
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
    /// After a row that ended at `end`, with a frame that is a sync sample or not, of `frame` ticks.
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
