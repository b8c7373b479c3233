//! Row 29: preload hints name what comes next. Pure.

use super::common::line;
use crate::observation::{HintSeen, Observation, RenditionSeen};
use crate::playlist::{MediaPlaylist, Position};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 29,
    name: "preload hint: for the next part, and its MAP when that changes; none at the end",
    rule: "D4.4.5.3, D6.2.6, DB.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_low_latency() {
        return Verdict::not_applicable("there are no parts");
    }
    let mut findings = Findings::new();
    let (mut playlists, mut hints) = (0, 0);
    for rendition in &observation.renditions {
        for version in &rendition.versions {
            playlists += 1;
            present(rendition, &version.playlist, &mut findings);
        }
        for hint in rendition.hints.iter().filter(|hint| hint.tag.kind == "PART") {
            hints += usize::from(came_true(rendition, hint, &mut findings));
        }
        map_changes(rendition, &mut findings);
    }
    findings.looked_at(playlists, "playlists");
    findings.looked_at(hints, "hints followed");
    findings.verdict("no playlist was loaded")
}

fn present(rendition: &RenditionSeen, playlist: &MediaPlaylist, findings: &mut Findings) {
    let of_kind = |kind: &str| playlist.hints.iter().filter(|hint| hint.kind == kind).count();
    if playlist.ended {
        if let Some(hint) = playlist.hints.first() {
            findings.must("D4.4.5.3", format!("{} in an ended playlist", line(rendition, playlist, hint.line)));
        }
        return;
    }
    let has_parts = playlist.numbered_with_open().any(|(_, segment)| !segment.parts.is_empty());
    if has_parts && of_kind("PART") == 0 {
        let end = playlist.end().map_or(0, |end| end.msn);
        findings.must(
            "DB.1",
            format!("{}: no EXT-X-PRELOAD-HINT of a part (playlist up to segment {end})", rendition.name),
        );
    }
    for kind in ["PART", "MAP"] {
        if of_kind(kind) > 1 {
            findings.should("D6.2.6", format!("{}: {} hints of TYPE={kind}", rendition.name, of_kind(kind)));
        }
    }
}

/// Checks that the part that was added next is the hinted one. Returns whether that part was seen.
fn came_true(rendition: &RenditionSeen, hint: &HintSeen, findings: &mut Findings) -> bool {
    let Some(Position { msn, parts }) = hint.end else { return false };
    let next = if parts == Position::WHOLE { (msn + 1, 0) } else { (msn, parts) };
    let Some((&(msn, index), seen)) = rendition.parts.range(next..).next() else { return false };
    let start = seen.tag.range.and_then(|range| range.offset).unwrap_or(hint.tag.start);
    // The server's plan may change (6.2.6). Then a gap follows, or an unplanned discontinuity.
    let broken = index == 0 && discontinuity(rendition, msn);
    if !seen.tag.gap && !broken && (seen.url != hint.url || start != hint.tag.start) {
        let what =
            format!("{}: {:?} was hinted, but part {msn}.{index} is {:?}", rendition.name, hint.tag.uri, seen.tag.uri);
        findings.must("D4.4.5.3", what);
    }
    true
}

/// Checks that a new media initialization section of the next part was hinted, too.
fn map_changes(rendition: &RenditionSeen, findings: &mut Findings) {
    let segments: Vec<_> = rendition.segments.iter().collect();
    for pair in segments.windows(2) {
        let [(earlier, before), (msn, after)] = pair else { continue };
        if **earlier + 1 != **msn || before.init == after.init || after.from_start || after.tags.parts.is_empty() {
            continue;
        }
        let Some((_, part)) = rendition.parts.range((**msn, 0)..=(**msn, u64::MAX)).next() else { continue };
        let hinted_part = rendition.hints.iter().find(|hint| hint.tag.kind == "PART" && hint.url == part.url);
        let map = after.init.as_deref().unwrap_or("");
        let hinted_map = rendition.hints.iter().any(|hint| hint.tag.kind == "MAP" && map.starts_with(&hint.url));
        if hinted_part.is_some() && !hinted_map {
            let what =
                format!("{} segment {msn}: its first part was hinted, its new EXT-X-MAP {map} was not", rendition.name);
            findings.must("DB.1", what);
        }
    }
}

/// Whether a segment, finished or open, is known to begin with a discontinuity.
fn discontinuity(rendition: &RenditionSeen, msn: u64) -> bool {
    rendition.versions.iter().rev().any(|version| {
        let mut segments = version.playlist.numbered_with_open();
        segments.any(|(number, segment)| number == msn && segment.discontinuity)
    })
}
