//! Row 14: missing media is announced as a gap. Pure.

use super::common::{line, s};
use super::r07_on_time::segment_waits;
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 14,
    name: "gaps: absent media becomes EXT-X-GAP segments and GAP=YES parts",
    rule: "D6.2.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut gaps = 0;
    for rendition in &observation.renditions {
        gaps += rendition.segments.values().filter(|seen| seen.tags.gap).count();
        let all_gap =
            |segment: &crate::playlist::Segment| !segment.parts.is_empty() && segment.parts.iter().all(|part| part.gap);
        for version in &rendition.versions {
            let playlist = &version.playlist;
            for (msn, segment) in playlist.numbered() {
                let name = || line(rendition, playlist, segment.line);
                // Parts leave from the front, so only a complete list of them counts.
                let whole = rendition.parts.keys().filter(|(of, _)| *of == msn).count() == segment.parts.len();
                if !segment.gap && whole && all_gap(segment) {
                    findings.must("D6.2.1", format!("{}: all of its parts are gaps, it has no EXT-X-GAP", name()));
                }
                if segment.gap && segment.parts.iter().any(|part| !part.gap) {
                    findings.must("D6.2.1", format!("{}: EXT-X-GAP, but parts without GAP=YES", name()));
                }
            }
        }
        gaps += rendition.parts.values().filter(|seen| seen.tag.gap).count();
        for wait in segment_waits(observation, rendition) {
            if wait.took > wait.allowed {
                let what = format!(
                    "{}: the playlist stood still for {} instead of listing gaps",
                    rendition.name,
                    s(wait.took)
                );
                findings.should("D6.2.1", what);
            }
        }
    }
    findings.looked_at(gaps, "gap segments and parts");
    findings.verdict("not seen: no gap, and the encoder did not pause")
}
