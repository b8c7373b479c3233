//! Places the IDRs of the encoded rungs: one decision for all of them, by presentation time. Pure.

use std::collections::VecDeque;

/// IDRs of the source that may wait for their picture: more are in flight only when the decoder yields nothing.
const WAITING_MAX: usize = 64;

/// What to do with a decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// Encode it as the encoder likes, but not as an IDR.
    Free,
    Idr,
    /// The picture of the source's IDR at this presentation time was lost: encode this one there, as IDR, then again at its own time.
    Stand(i64),
}

/// Decides for each picture. All times are presentation times in 90 kHz ticks.
#[derive(Debug)]
pub(super) enum IdrPlacer {
    Grid {
        /// From one grid point to the next.
        interval: i64,
        /// A picture this little before a grid point is on it: half a frame, so that rounded stamps do not shift IDRs by one.
        tolerance: i64,
        /// Next grid point; `None` before the first picture.
        next: Option<i64>,
    },
    /// Where the source had one.
    Source {
        /// Those whose picture has not come yet, ascending.
        waiting: VecDeque<i64>,
    },
}

impl IdrPlacer {
    /// Places an IDR at the first picture, and then one every `interval`.
    pub(super) fn grid(interval: i64, frame_ticks: i64) -> Self {
        Self::Grid { interval: interval.max(1), tolerance: (frame_ticks / 2).clamp(0, interval.max(1) / 2), next: None }
    }

    /// Places an IDR where the source has one.
    pub(super) const fn source() -> Self {
        Self::Source { waiting: VecDeque::new() }
    }

    /// The source has an IDR at `pts`; its picture comes later.
    pub(super) fn source_idr(&mut self, pts: i64) {
        if let Self::Source { waiting } = self {
            if waiting.len() >= WAITING_MAX {
                waiting.pop_front();
            }
            if waiting.back().is_none_or(|last| *last < pts) {
                waiting.push_back(pts);
            }
        }
    }

    /// Places the next picture. Pictures come in presentation order, `after` being the one before.
    pub(super) fn place(&mut self, pts: i64, after: Option<i64>) -> Placement {
        match self {
            Self::Grid { interval, tolerance, next } => {
                let at = *next.get_or_insert(pts);
                if pts + *tolerance < at {
                    return Placement::Free;
                }
                // Further than one interval: the input paused, and the grid goes on where it would have been.
                let steps = (pts + *tolerance - at) / *interval + 1;
                *next = Some(at + steps * *interval);
                Placement::Idr
            }
            Self::Source { waiting } => {
                let mut due = None;
                while waiting.front().is_some_and(|idr| *idr <= pts) {
                    due = waiting.pop_front();
                }
                match due {
                    None => Placement::Free,
                    Some(idr) if idr < pts && after.is_none_or(|after| after < idr) => Placement::Stand(idr),
                    Some(_) => Placement::Idr,
                }
            }
        }
    }
}

/// Places IDRs of the encoded rungs between those of a source that is passed through. A player that changes to an encoded rung then
/// begins at most an interval before the present, with pictures that it has not decoded yet.
#[derive(Debug)]
pub(super) struct ExtraPlacer {
    interval: i64,
    last_idr: Option<i64>,
    last: Option<i64>,
}

impl ExtraPlacer {
    /// No IDR is further than `interval` from the one before.
    pub(super) const fn new(interval: i64) -> Self {
        Self { interval, last_idr: None, last: None }
    }

    /// Places the next picture; `idr` when it is an IDR already. Returns whether it is to be an IDR.
    pub(super) fn place(&mut self, pts: i64, idr: bool) -> bool {
        // A picture less than half a frame early is on time.
        let frame = self.last.replace(pts).map_or(0, |last| pts.saturating_sub(last));
        let is_due = self.last_idr.is_some_and(|last| pts.saturating_sub(last) + frame / 2 >= self.interval);
        if idr || is_due {
            self.last_idr = Some(pts);
        }
        idr || is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_does_not_drift_with_rounded_ntsc_stamps() {
        // 29.97 frames a second in milliseconds, as RTMP has them.
        let mut placer = IdrPlacer::grid(180_000, 3_003);
        let mut after = None;
        let mut idrs = Vec::new();
        for frame in 0..30_000_i64 {
            let pts = (frame * 1_001 + 15) / 30 * 90;
            if placer.place(pts, after) == Placement::Idr {
                idrs.push(pts);
            }
            after = Some(pts);
        }
        assert_eq!(idrs.len(), 501);
        for (index, pts) in idrs.iter().enumerate() {
            let grid = i64::try_from(index).unwrap() * 180_000;
            assert!((pts - grid).abs() <= 1_502 + 90, "IDR {index} at {pts}");
        }
    }

    #[test]
    fn grid_goes_on_after_a_pause() {
        let mut placer = IdrPlacer::grid(180_000, 3_000);
        assert_eq!(placer.place(900_000, None), Placement::Idr);
        assert_eq!(placer.place(903_000, Some(900_000)), Placement::Free);
        assert_eq!(placer.place(900_000 + 500_000, Some(903_000)), Placement::Idr);
        assert_eq!(placer.place(900_000 + 538_000, None), Placement::Free);
        assert_eq!(placer.place(900_000 + 540_000, None), Placement::Idr);
    }

    #[test]
    fn source_idrs_are_met_exactly_and_lost_ones_are_stood_in_for() {
        let mut placer = IdrPlacer::source();
        placer.source_idr(100);
        placer.source_idr(200);
        assert_eq!(placer.place(100, None), Placement::Idr);
        assert_eq!(placer.place(150, Some(100)), Placement::Free);
        assert_eq!(placer.place(250, Some(150)), Placement::Stand(200));
        assert_eq!(placer.place(300, Some(250)), Placement::Free);
    }

    #[test]
    fn extra_idrs_come_an_interval_after_the_last() {
        let mut placer = ExtraPlacer::new(90_000);
        // 29.97 frames a second in milliseconds; all have an IDR every 60 pictures, then one comes early.
        let idrs: Vec<i64> = (0..240_i64)
            .filter(|frame| {
                let pts = (frame * 1_001 + 15) / 30 * 90;
                placer.place(pts, frame % 60 == 0 || *frame == 200)
            })
            .collect();
        assert_eq!(idrs, [0, 30, 60, 90, 120, 150, 180, 200, 230]);
        // After a pause, at once.
        assert!(placer.place(90_000_000, false));
        assert!(!placer.place(90_003_000, false));
    }

    #[test]
    fn source_idrs_without_pictures_stay_bounded() {
        let mut placer = IdrPlacer::source();
        (0..10_000).for_each(|pts| placer.source_idr(pts));
        let IdrPlacer::Source { waiting } = &placer else { panic!("a source placer") };
        assert_eq!(waiting.len(), WAITING_MAX);
    }
}
