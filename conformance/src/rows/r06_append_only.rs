//! Row 6: a playlist changes only by appending segments at the end and removing them at the front. Pure.

use super::common::steps;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::{MediaPlaylist, Segment};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 6,
    name: "append only: media sequence +1 for each removal, never back",
    rule: "D6.2.1, D6.2.2",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut reloads = 0;
    for rendition in &observation.renditions {
        for (before, after) in steps(rendition) {
            reloads += 1;
            compare(rendition, &before.playlist, &after.playlist, &mut findings);
        }
    }
    findings.looked_at(reloads, "reloads that brought something new");
    findings.verdict("no playlist changed while it was watched")
}

fn compare(rendition: &RenditionSeen, before: &MediaPlaylist, after: &MediaPlaylist, findings: &mut Findings) {
    let name = &rendition.name;
    let (was, is) = (before.first_msn(), after.first_msn());
    if is < was {
        findings.must("D6.2.2", format!("{name}: EXT-X-MEDIA-SEQUENCE went back from {was} to {is}"));
        return;
    }
    if is > was && after.media_sequence.is_none() {
        findings.must("D6.2.2", format!("{name}: segments were removed, but there is no EXT-X-MEDIA-SEQUENCE"));
    }
    if after.end() < before.end() {
        let end = |playlist: &MediaPlaylist| playlist.end().map(|end| end.msn);
        let what = format!("{name}: the end went back from segment {:?} to {:?}", end(before), end(after));
        findings.must("D6.2.1", what);
    }
    if after.skip.is_some() || before.skip.is_some() {
        return;
    }
    // A segment that moved to another number shows up as another URI under this number.
    let mut changed = 0;
    for (msn, segment) in after.numbered_with_open() {
        let earlier = before.segment(msn).or_else(|| before.open.as_ref().filter(|_| before.next_msn() == msn));
        let Some(earlier) = earlier else { continue };
        if let Some(difference) = difference(earlier, segment)
            && changed < 2
        {
            changed += 1;
            findings.must("D6.2.1", format!("{name} segment {msn}: {difference}"));
        }
    }
}

/// What changed of a segment, besides parts that leave and parts that are added to an open one.
fn difference(before: &Segment, after: &Segment) -> Option<String> {
    if !before.uri.is_empty() {
        if before.uri != after.uri {
            return Some(format!("{} became {}", before.uri, after.uri));
        }
        if before.duration_text != after.duration_text {
            return Some(format!("EXTINF {} became {}", before.duration_text, after.duration_text));
        }
        let map = |segment: &Segment| segment.map.as_ref().map(|map| map.uri.clone());
        if map(before) != map(after) {
            return Some(format!("its EXT-X-MAP {:?} became {:?}", map(before), map(after)));
        }
        if before.range != after.range || before.gap != after.gap {
            return Some("its byte range or gap changed".to_owned());
        }
        // All of its parts were known, so parts can only leave, from the first one on.
        if !before
            .parts
            .iter()
            .map(|part| &part.uri)
            .rev()
            .zip(after.parts.iter().map(|part| &part.uri).rev())
            .all(|(a, b)| a == b)
        {
            return Some("its parts changed".to_owned());
        }
    } else {
        for (earlier, later) in before.parts.iter().zip(&after.parts) {
            if (&earlier.uri, earlier.duration, earlier.gap, earlier.range)
                != (&later.uri, later.duration, later.gap, later.range)
            {
                return Some(format!("part {} became {}", earlier.uri, later.uri));
            }
        }
    }
    (before.discontinuity != after.discontinuity).then(|| "EXT-X-DISCONTINUITY came or went".to_owned())
}
