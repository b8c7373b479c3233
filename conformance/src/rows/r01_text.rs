//! Row 1: the text of playlists, and how clients recognise them. Pure.

use crate::observation::{Answer, Observation};
use crate::playlist::Text;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 1,
    name: "text: UTF-8, no BOM or control characters, recognisable",
    rule: "D4, D4.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut texts = 0;
    let mut look = |name: &str, text: &Text| {
        texts += 1;
        for fault in &text.faults {
            findings.must(&format!("D{}", fault.section), format!("{name} {}", fault.evidence()));
        }
        if !text.starts_right {
            findings.must("D4.4.1.1", format!("{name}: the first line is not #EXTM3U but {:?}", text.line(1)));
        }
    };
    if let Some(multivariant) = &observation.multivariant {
        look(&observation.url, &multivariant.text);
    }
    for (rendition, version) in observation.versions() {
        look(&rendition.name, &version.playlist.text);
    }
    let plain = observation.renditions.iter().filter_map(|rendition| rendition.loads.first().map(|load| &load.answer));
    for answer in plain.chain((observation.first.status == 200).then_some(&observation.first)) {
        recognisable(answer, &mut findings);
    }
    findings.looked_at(texts, "playlists");
    findings.verdict("no playlist was loaded")
}

/// Checks that a playlist can be recognised by its path or its media type (section 4).
fn recognisable(answer: &Answer, findings: &mut Findings) {
    let path = answer.url.split(['?', '#']).next().unwrap_or("");
    let by_path = path.ends_with(".m3u8") || path.ends_with(".m3u");
    let media_type = answer.media_type();
    let by_type = matches!(media_type.as_deref(), Some("application/vnd.apple.mpegurl" | "audio/mpegurl"));
    if answer.status == 200 && !by_path && !by_type {
        findings.must("D4", format!("{} ends in neither .m3u8 nor .m3u and is {media_type:?}", answer.url));
    }
}
