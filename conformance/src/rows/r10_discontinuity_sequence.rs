//! Row 10: discontinuities are counted. Pure.

use super::common::steps;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 10,
    name: "discontinuity sequence: there if any discontinuity, counted up on removal",
    rule: "D4.4.3.3, D6.2.2, A8.17",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut playlists = 0;
    for rendition in &observation.renditions {
        let broken = rendition
            .versions
            .iter()
            .any(|version| version.playlist.numbered_with_open().any(|(_, segment)| segment.discontinuity));
        for version in &rendition.versions {
            playlists += 1;
            let playlist = &version.playlist;
            if broken && playlist.discontinuity_sequence.is_none() && !playlist.ended {
                let what = format!("{}: EXT-X-DISCONTINUITY, but no EXT-X-DISCONTINUITY-SEQUENCE", rendition.name);
                findings.must("A8.17", what);
            }
        }
        for (before, after) in steps(rendition) {
            compare(rendition, &before.playlist, &after.playlist, &mut findings);
        }
    }
    findings.looked_at(playlists, "playlists");
    findings.verdict("no playlist was loaded")
}

fn compare(rendition: &RenditionSeen, before: &MediaPlaylist, after: &MediaPlaylist, findings: &mut Findings) {
    let sequence = |playlist: &MediaPlaylist| playlist.discontinuity_sequence.unwrap_or(0);
    let (was, is) = (sequence(before), sequence(after));
    if is < was {
        let what = format!("{}: EXT-X-DISCONTINUITY-SEQUENCE went back from {was} to {is}", rendition.name);
        findings.must("D6.2.2", what);
    }
    if before.skip.is_some() || after.skip.is_some() {
        return;
    }
    let numbers = after.discontinuity_numbers();
    for (msn, earlier) in before.discontinuity_numbers() {
        if let Some(later) = numbers.get(&msn)
            && *later != earlier
        {
            let what =
                format!("{} segment {msn}: discontinuity sequence number {earlier} became {later}", rendition.name);
            findings.must("D6.2.2", what);
            return;
        }
    }
}
