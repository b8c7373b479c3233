//! Row 39: an independent part continues what comes before it in any other rendition. Pure.

use super::common::us;
use super::joins::{Joins, Moment};
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 39,
    name: "an independent part joins on in any other rendition with no gap or overlap over a frame",
    rule: "C7.3.4, D6.2.4",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let renditions = Joins::of(observation);
    if observation.regular().count() < 2 {
        return Verdict::not_applicable("there is one media playlist");
    }
    let mut findings = Findings::new();
    let mut joints = 0;
    for (from, one) in renditions.iter().enumerate() {
        for (to, other) in renditions.iter().enumerate() {
            if from == to {
                continue;
            }
            // Timestamps are rounded to milliseconds.
            let allowed = one.frame.max(other.frame).as_micros() + 1_000;
            for (mine, theirs) in one.with(other) {
                let Some(Moment { decoded, shown }) = mine.before else { continue };
                joints += 1;
                for (what, end, start) in
                    [("shown", shown, theirs.start.shown), ("decoded", decoded, theirs.start.decoded)]
                {
                    if u128::from(start.abs_diff(end)) > allowed {
                        let word = if start > end { "after" } else { "before" };
                        let off = us((start - end).abs());
                        let text =
                            format!("{} is {what} {off} {word} the end of {} until there", theirs.name, one.name);
                        findings.must("C7.3.4", text);
                    }
                }
            }
        }
    }
    findings.looked_at(joints, "joints of two renditions");
    findings.verdict("no two renditions of pictures in fMP4 were downloaded")
}
