//! Row 27: durations of parts, and how long they are listed. Pure.

use std::time::Duration;

use super::common::{line, s};
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 27,
    name: "part durations: at most the part target, at least 85 % of it; gone when old",
    rule: "D4.4.4.9, D6.2.2",
    level: Level::Must,
    judge,
};

/// Tolerance, because durations are written with a few decimals.
const ROUNDING: Duration = Duration::from_micros(10);

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_low_latency() {
        return Verdict::not_applicable("there are no parts");
    }
    let mut findings = Findings::new();
    let parts = observation.renditions.iter().map(|rendition| rendition.parts.len()).sum();
    for rendition in &observation.renditions {
        durations(rendition, &mut findings);
    }
    for (rendition, version) in observation.versions() {
        old(rendition, &version.playlist, &mut findings);
    }
    findings.looked_at(parts, "parts");
    findings.verdict("no part was listed")
}

fn durations(rendition: &RenditionSeen, findings: &mut Findings) {
    let Some(target) = rendition.versions.iter().find_map(|version| version.playlist.part_target) else { return };
    for ((msn, index), seen) in &rendition.parts {
        let part = &seen.tag;
        let what = || {
            format!("{} part {msn}.{index}: DURATION {}, PART-TARGET {}", rendition.name, s(part.duration), s(target))
        };
        if part.duration > target + ROUNDING {
            findings.must("D4.4.4.9", what());
        }
        // Without a next part, it may be the last part of its segment.
        let next = rendition.parts.get(&(*msn, index + 1));
        let exempt = part.independent || part.gap || next.is_none_or(|next| next.tag.gap);
        if !exempt && part.duration + ROUNDING < target * 85 / 100 {
            findings.must("D4.4.4.9", format!("{}, less than 85 %", what()));
        }
    }
}

/// Checks that parts further than three target durations from the end are not listed.
fn old(rendition: &RenditionSeen, playlist: &MediaPlaylist, findings: &mut Findings) {
    if playlist.ended {
        return;
    }
    let open: Duration = playlist.open.iter().flat_map(|open| open.parts.iter().map(|part| part.duration)).sum();
    let mut to_end = open;
    for (_, segment) in playlist.numbered().rev() {
        // The end of the segment counts: all of its parts are at least as far from the end of the playlist.
        if to_end > playlist.target() * 3
            && let Some(part) = segment.parts.first()
        {
            let what =
                format!("{} is {} from the end of the playlist", line(rendition, playlist, part.line), s(to_end));
            findings.should("D6.2.2", what);
            return;
        }
        to_end += segment.duration;
    }
}
