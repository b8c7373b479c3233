//! Row 18: the structure of fragmented MP4. Pure.

use crate::media::Content;
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 18,
    name: "fMP4: brand, moov, mvex, no durations or samples in it; tfdt; MAP on each segment",
    rule: "D3.1.2, A8.20",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let (mut segments, mut inits) = (0, 0);
    for rendition in &observation.renditions {
        for (url, seen) in rendition.inits.iter().filter(|(_, seen)| seen.answer.is_whole()) {
            inits += 1;
            for fault in &seen.init.faults {
                findings.must("D3.1.2", format!("{} {url}: {fault}", rendition.name));
            }
        }
        let segment = rendition
            .segments
            .iter()
            .filter_map(|(msn, seen)| Some((format!("segment {msn}"), seen.init.is_some(), seen.fetch.as_ref()?)));
        let part = rendition
            .parts
            .iter()
            .filter_map(|((msn, index), seen)| Some((format!("part {msn}.{index}"), true, seen.fetch.as_ref()?)));
        for (what, has_map, fetch) in segment.chain(part) {
            let Content::Fmp4(fragments) = &fetch.content else { continue };
            segments += 1;
            let name = format!("{} {what}", rendition.name);
            if !has_map {
                findings.must("A8.20", format!("{name}: no EXT-X-MAP applies to it"));
            }
            for fault in &fragments.faults {
                // An I-frame segment may end after the I-frame, within mdat.
                if !(rendition.is_iframes() && fault.starts_with("box mdat")) {
                    findings.must("D3.1.2", format!("{name}: {fault}"));
                }
            }
        }
    }
    if segments == 0 && inits == 0 && observation.fetched().next().is_some() {
        return Verdict::not_applicable("there is no fMP4");
    }
    findings.looked_at(inits, "initialization sections");
    findings.looked_at(segments, "segments and parts");
    findings.verdict("no segment was downloaded")
}
