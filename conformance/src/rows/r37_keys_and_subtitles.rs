//! Row 37: encryption keys stay with their segments, and subtitles have a mapping to media times. Pure.

use super::common::steps;
use crate::media::Content;
use crate::observation::Observation;
use crate::playlist::Segment;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 37,
    name: "keys stay with the segments they cover; WebVTT has X-TIMESTAMP-MAP",
    rule: "D6.2.3, A5.3",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let (mut covered, mut subtitles) = (0, 0);
    for rendition in &observation.renditions {
        for version in &rendition.versions {
            covered += version.playlist.segments.iter().filter(|segment| !segment.keys.is_empty()).count();
        }
        for (before, after) in steps(rendition) {
            for (msn, segment) in after.playlist.numbered() {
                let Some(earlier) = before.playlist.segment(msn) else { continue };
                if earlier.keys != segment.keys && after.playlist.skip.is_none() {
                    let (was, is) = (written(earlier), written(segment));
                    findings.must("D6.2.3", format!("{} segment {msn}: EXT-X-KEY {was} became {is}", rendition.name));
                    break;
                }
            }
        }
        for (msn, seen) in &rendition.segments {
            let Some(Content::Vtt(vtt)) = seen.fetch.as_ref().map(|fetch| &fetch.content) else { continue };
            subtitles += 1;
            if !vtt.timestamp_map {
                findings.must("A5.3", format!("{} segment {msn}: no X-TIMESTAMP-MAP", rendition.name));
            }
        }
    }
    let nothing = observation.firsts().next().is_some() && covered == 0 && subtitles == 0;
    findings.looked_at(covered, "segments with keys");
    findings.looked_at(subtitles, "WebVTT segments");
    let verdict = findings.verdict("no playlist was loaded");
    if nothing && verdict.evidence.is_empty() {
        return Verdict::not_applicable("there are neither keys nor WebVTT subtitles");
    }
    verdict
}

fn written(segment: &Segment) -> String {
    let keys: Vec<_> = segment.keys.iter().map(|key| key.written.as_str()).collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(" + ") }
}
