//! Row 3: no segment longer than the target duration. Pure.

use std::time::Duration;

use super::common::{rounded_seconds, s};
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 3,
    name: "target duration: rounded EXTINF within it, media within it + 0.5 s",
    rule: "D4.4.3.1, A7.7",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut segments = 0;
    for (rendition, version) in observation.versions() {
        let playlist = &version.playlist;
        let Some(target) = playlist.target_duration else { continue };
        for (msn, segment) in playlist.numbered() {
            segments += usize::from(rendition.segments.get(&msn).is_some_and(|seen| seen.listed == version.at));
            if rounded_seconds(segment.duration) > target {
                let what = format!(
                    "{} segment {msn} ({}): EXTINF {}, target {target} s",
                    rendition.name, segment.uri, segment.duration_text
                );
                findings.must("D4.4.3.1", what);
            }
        }
    }
    let mut measured = 0;
    for (rendition, msn, seen, fetch) in observation.fetched() {
        let target = rendition.last().map(|playlist| playlist.target()).unwrap_or_default();
        if rendition.is_iframes() {
            continue;
        }
        let Some(duration) = fetch.content.duration(rendition.init_of(seen)) else { continue };
        measured += 1;
        if duration > target + Duration::from_millis(500) {
            let what = format!("{} segment {msn}: {} of media, target {}", rendition.name, s(duration), s(target));
            findings.must("A7.7", what);
        }
    }
    findings.looked_at(segments, "segments listed");
    findings.looked_at(measured, "measured");
    findings.verdict("no segment was listed")
}
