//! Row 23: what the multivariant playlist must state. Pure.

use crate::observation::Observation;
use crate::playlist::{Multivariant, Variant};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 23,
    name: "multivariant: CODECS, RESOLUTION, FRAME-RATE, AVERAGE-BANDWIDTH, several bit rates",
    rule: "A9.1-9.15, D4.4.2.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let Some(multivariant) = &observation.multivariant else {
        return Verdict::not_applicable("there is no multivariant playlist");
    };
    let mut findings = Findings::new();
    for variant in &multivariant.variants {
        attributes(variant, &mut findings);
    }
    let pictures: Vec<_> = multivariant.regular().filter(|variant| variant.has_picture()).collect();
    let mut rates: Vec<_> = pictures.iter().filter_map(|variant| variant.bandwidth()).collect();
    rates.sort_unstable();
    rates.dedup();
    if !pictures.is_empty() && rates.len() < 2 {
        findings.must("A9.9", format!("{} bit rate of picture", rates.len()));
    }
    if multivariant.variants.iter().any(|variant| variant.attributes.get("SCORE").is_some())
        && multivariant.regular().any(|variant| variant.attributes.get("SCORE").is_none())
    {
        findings.must("A9.19", "SCORE is on some variants only");
    }
    independent(observation, multivariant, &mut findings);
    findings.looked_at(multivariant.variants.len(), "variants");
    findings.verdict("it lists no variants")
}

fn attributes(variant: &Variant, findings: &mut Findings) {
    let name = format!("line {} ({})", variant.line, variant.uri);
    let (codecs, resolution) = if variant.iframes { ("A9.3", "A9.4") } else { ("A9.1", "A9.2") };
    if variant.attributes.quoted("CODECS").is_none_or(str::is_empty) {
        findings.must(codecs, format!("{name}: no CODECS"));
    }
    let picture = variant.iframes || variant.has_picture();
    if picture && variant.resolution().is_none() {
        findings.must(resolution, format!("{name}: no RESOLUTION"));
    }
    if picture && !variant.iframes && variant.frame_rate_thousandths().is_none() {
        findings.must("A9.15", format!("{name}: no FRAME-RATE"));
    }
    if variant.average_bandwidth().is_none() && !variant.iframes {
        findings.must("A9.14", format!("{name}: no AVERAGE-BANDWIDTH"));
    }
    if let (Some(average), Some(peak)) = (variant.average_bandwidth(), variant.bandwidth())
        && average > peak
    {
        findings.must("A9.13", format!("{name}: AVERAGE-BANDWIDTH {average} is above BANDWIDTH {peak}"));
    }
}

/// Checks EXT-X-INDEPENDENT-SEGMENTS: in the multivariant playlist or in all video playlists, not in both.
fn independent(observation: &Observation, multivariant: &Multivariant, findings: &mut Findings) {
    let mut with = Vec::new();
    let mut without = Vec::new();
    for (rendition, playlist) in observation.firsts().filter(|(rendition, _)| !rendition.is_iframes()) {
        let has = playlist.text.has("EXT-X-INDEPENDENT-SEGMENTS");
        if has { with.push(rendition.name.clone()) } else { without.push(rendition.name.clone()) }
    }
    if multivariant.independent_segments {
        if !with.is_empty() {
            let what = format!("EXT-X-INDEPENDENT-SEGMENTS is in the multivariant playlist and in {}", with.join(", "));
            findings.should("D4.4.2.1", what);
        }
    } else if without.is_empty() {
        findings.should("A9.11", "EXT-X-INDEPENDENT-SEGMENTS is not in the multivariant playlist");
    } else {
        let what =
            format!("EXT-X-INDEPENDENT-SEGMENTS is neither in the multivariant playlist nor in {}", without.join(", "));
        findings.must("A9.12", what);
    }
}
