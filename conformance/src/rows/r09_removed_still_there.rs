//! Row 9: objects that have left the playlist can still be downloaded for a while. Pure.

use super::common::s;
use crate::observation::{Answer, Observation};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 9,
    name: "removed segments and parts stay downloadable for their time",
    rule: "D6.2.2",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_live() && observation.firsts().next().is_some() {
        return Verdict::not_applicable("the stream has ended");
    }
    let mut findings = Findings::new();
    let (mut segments, mut parts) = (0, 0);
    for rendition in &observation.renditions {
        for (msn, seen) in &rendition.segments {
            let (Some(answer), Some(removed)) = (&seen.late, seen.removed) else { continue };
            segments += 1;
            // The server owes the segment for its own duration plus that of the longest playlist that listed it, from its first
            // listing on. When it leaves a full window, half of its own duration is left.
            if let Some(what) = lost(answer) {
                let after = answer.asked.saturating_sub(removed);
                findings.must(
                    "D6.2.2",
                    format!("{} segment {msn}: {what}, {} after it was removed", rendition.name, s(after)),
                );
            }
        }
        for ((msn, index), seen) in &rendition.parts {
            let (Some(answer), Some(removed)) = (&seen.late, seen.removed) else { continue };
            parts += 1;
            if let Some(what) = lost(answer) {
                let after = answer.asked.saturating_sub(removed);
                let name = &rendition.name;
                findings.must(
                    "D6.2.2",
                    format!("{name} part {msn}.{index}: {what}, {} after its tag was removed", s(after)),
                );
            }
        }
    }
    findings.looked_at(segments, "removed segments");
    findings.looked_at(parts, "removed parts");
    findings.verdict("not seen: nothing was removed during the run")
}

fn lost(answer: &Answer) -> Option<String> {
    (!answer.is_whole()).then(|| format!("{} {}", answer.url, answer.outcome()))
}
