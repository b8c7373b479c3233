//! Row 12: the playlist type, and the end. Pure.

use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 12,
    name: "playlist type: none on sliding live, VOD or EVENT otherwise, ENDLIST at the end",
    rule: "D6.2.1, D6.2.2, A8.6, A8.8",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut playlists = 0;
    let mut ends = 0;
    for rendition in &observation.renditions {
        let slides = rendition.segments.values().any(|seen| seen.removed.is_some())
            || rendition.versions.iter().any(|version| version.playlist.first_msn() > 0);
        let mut ended = false;
        for version in &rendition.versions {
            playlists += 1;
            let playlist = &version.playlist;
            let kind = playlist.playlist_type.as_deref();
            if slides && let Some(kind) = kind {
                let what = format!("{}: EXT-X-PLAYLIST-TYPE:{kind}, but segments are removed", rendition.name);
                findings.must("D6.2.2", what);
            }
            if kind == Some("VOD") && !playlist.ended {
                findings.must("D6.2.1", format!("{}: EXT-X-PLAYLIST-TYPE:VOD without EXT-X-ENDLIST", rendition.name));
            }
            if ended && !playlist.ended {
                findings.must("D4.4.3.4", format!("{}: goes on after EXT-X-ENDLIST", rendition.name));
            }
            ended |= playlist.ended;
        }
        ends += usize::from(ended);
        let static_content = rendition.versions.first().is_some_and(|first| first.playlist.ended);
        let kind = rendition.last().and_then(|last| last.playlist_type.clone());
        if static_content && !slides && kind.is_none() {
            findings.must("A8.6", format!("{}: ended from the start, but no EXT-X-PLAYLIST-TYPE", rendition.name));
        }
    }
    // The stream must end in all renditions.
    let regular = observation.regular().filter(|rendition| !rendition.versions.is_empty()).count();
    let over = observation.regular().filter(|rendition| rendition.last().is_some_and(|last| last.ended)).count();
    if over > 0 && over < regular {
        findings.must("D6.2.1", format!("{over} of {regular} media playlists have EXT-X-ENDLIST"));
    }
    findings.looked_at(playlists, "playlists");
    findings.looked_at(ends, "with an end");
    findings.verdict("no playlist was loaded")
}
