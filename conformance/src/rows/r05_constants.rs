//! Row 5: values that must never change between reloads. Pure.

use super::common::steps;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 5,
    name: "constants: TARGETDURATION, PART-TARGET, SERVER-CONTROL, MAP never change",
    rule: "D6.2.1",
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
        // Plain and blocking requests get the same playlist, so their versions must agree, too.
        let [plain, blocking] = rendition.chains();
        if let (Some(plain), Some(blocking)) = (plain.first(), blocking.first()) {
            compare(rendition, &plain.playlist, &blocking.playlist, &mut findings);
        }
    }
    findings.looked_at(reloads, "reloads that brought something new");
    findings.verdict("no playlist changed while it was watched")
}

fn compare(rendition: &RenditionSeen, before: &MediaPlaylist, after: &MediaPlaylist, findings: &mut Findings) {
    let name = &rendition.name;
    if before.target_duration != after.target_duration {
        let (was, is) = (before.target_duration, after.target_duration);
        findings.must("D6.2.1", format!("{name}: EXT-X-TARGETDURATION {was:?} became {is:?}"));
    }
    if before.part_target != after.part_target {
        findings.must("D6.2.1", format!("{name}: PART-TARGET {:?} became {:?}", before.part_target, after.part_target));
    }
    let same_control = match (&before.control, &after.control) {
        (Some(before), Some(after)) => before.same(after),
        (before, after) => before.is_none() && after.is_none(),
    };
    if !same_control {
        let line = |playlist: &MediaPlaylist| {
            playlist
                .text
                .tags("EXT-X-SERVER-CONTROL")
                .next()
                .map_or("nothing".to_owned(), |(_, value)| value.to_owned())
        };
        findings.must("D6.2.1", format!("{name}: EXT-X-SERVER-CONTROL {} became {}", line(before), line(after)));
    }
    for (tag, is) in [("EXT-X-PLAYLIST-TYPE", &after.playlist_type)] {
        if &before.playlist_type != is {
            findings.must("D6.2.1", format!("{name}: {tag} {:?} became {is:?}", before.playlist_type));
        }
    }
    if before.iframes_only != after.iframes_only {
        findings.must("D6.2.1", format!("{name}: EXT-X-I-FRAMES-ONLY came or went"));
    }
    for (msn, segment) in after.numbered() {
        if let Some(earlier) = before.segment(msn)
            && earlier.map != segment.map
        {
            let uri = |map: &Option<crate::playlist::Map>| map.as_ref().map(|map| map.uri.clone());
            let (was, is) = (uri(&earlier.map), uri(&segment.map));
            findings.must("D6.2.1", format!("{name} segment {msn}: EXT-X-MAP {was:?} became {is:?}"));
        }
    }
}
