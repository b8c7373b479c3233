//! Row 38: video renditions begin their independent parts at the same presentation and decode times. Pure.

use super::common::us;
use super::joins::Joins;
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 38,
    name: "renditions have the same presentation and decode time at each independent part",
    rule: "C7.3.4, A8.22",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let renditions = Joins::of(observation);
    if observation.regular().count() < 2 {
        return Verdict::not_applicable("there is one media playlist");
    }
    let mut findings = Findings::new();
    let mut compared = 0;
    for (index, one) in renditions.iter().enumerate() {
        for other in renditions.iter().skip(index + 1) {
            // With different frame rates, parts begin up to half a frame apart, and timestamps are rounded.
            let allowed = one.frame.max(other.frame).as_micros() / 2;
            for (mine, theirs) in one.with(other) {
                compared += 1;
                for (what, a, b) in [
                    ("first shown", mine.start.shown, theirs.start.shown),
                    ("decoded", mine.start.decoded, theirs.start.decoded),
                ] {
                    if u128::from(a.abs_diff(b)) > allowed {
                        let text = format!("{} is {what} at {}, {} at {}", mine.name, us(a), theirs.name, us(b));
                        findings.must("C7.3.4", text);
                    }
                }
            }
        }
    }
    findings.looked_at(compared, "pairs of independent parts");
    findings.verdict("no two renditions of pictures in fMP4 were downloaded")
}
