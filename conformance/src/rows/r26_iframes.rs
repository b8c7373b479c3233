//! Row 26: I-frame playlists for scrubbing, and alternative audio renditions. Pure.

use std::collections::BTreeMap;

use super::common::line;
use crate::media::Content;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::Multivariant;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 26,
    name: "I-frame playlists; alternative audio separate, with its language",
    rule: "A6.1, A6.8, A6.10, A6.11, A8.10, A9.7, D4.4.3.6",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let Some(multivariant) = &observation.multivariant else {
        return Verdict::not_applicable("there is no multivariant playlist");
    };
    let mut findings = Findings::new();
    let pictures = multivariant.regular().any(|variant| variant.has_picture());
    if pictures && multivariant.iframes().next().is_none() {
        findings.must("A6.1", "no EXT-X-I-FRAME-STREAM-INF");
    }
    let mut playlists = 0;
    for rendition in observation.renditions.iter().filter(|rendition| rendition.is_iframes()) {
        playlists += 1;
        if rendition.versions.is_empty() {
            let outcome = rendition.loads.last().map_or("not loaded".to_owned(), |load| load.answer.outcome());
            findings.must("A6.1", format!("{}: {outcome}", rendition.name));
        }
        iframe_playlist(observation, rendition, &mut findings);
    }
    media_tags(multivariant, &mut findings);
    findings.looked_at(multivariant.variants.len(), "variants");
    findings.looked_at(playlists, "I-frame playlists");
    findings.verdict("it lists no variants")
}

fn iframe_playlist(observation: &Observation, rendition: &RenditionSeen, findings: &mut Findings) {
    let Some(last) = rendition.last() else { return };
    if !last.iframes_only {
        findings.must("A6.8", format!("{}: no EXT-X-I-FRAMES-ONLY", rendition.name));
    }
    let others = observation.regular().filter_map(RenditionSeen::last).find_map(|playlist| playlist.target_duration);
    if others.is_some() && others != last.target_duration && observation.is_live() {
        let (own, others) = (last.target_duration, others);
        findings.must("A6.11", format!("{}: EXT-X-TARGETDURATION {own:?}, the others have {others:?}", rendition.name));
    }
    if let Some(part) = last.numbered_with_open().find_map(|(_, segment)| segment.parts.first()) {
        findings.should("D4.4.4.9", line(rendition, last, part.line));
    }
    for (msn, seen) in &rendition.segments {
        let Some(fetch) = seen.fetch.as_ref().filter(|fetch| fetch.answer.is_whole()) else { continue };
        let name = format!("{} segment {msn}", rendition.name);
        if let Some(range) = seen.tags.range
            && (fetch.answer.status != 206 || fetch.answer.length != range.length)
        {
            let (status, length) = (fetch.answer.status, fetch.answer.length);
            let what = format!("{name}: {} bytes were asked for, the answer is {status} with {length}", range.length);
            findings.must("DB.1", what);
        }
        match &fetch.content {
            Content::Fmp4(fragments) => {
                let Some(init) = rendition.init_of(seen) else { continue };
                let first = fragments.main(init).and_then(|(_, run)| run.samples.first());
                match first {
                    None => findings.must("A6.10", format!("{name}: no moof with its I-frame")),
                    Some(sample) if sample.idr != Some(true) && !sample.sync => {
                        findings.must("D4.4.3.6", format!("{name}: its first picture is no I-frame"));
                    }
                    Some(sample) if sample.digest == 0 && sample.size > 0 => {
                        findings.must("D4.4.3.6", format!("{name}: the I-frame is not whole"));
                    }
                    Some(_) => {}
                }
            }
            Content::Ts(ts) => {
                if ts.main().and_then(|stream| stream.pes.first()).is_some_and(|pes| pes.idr == Some(false)) {
                    findings.must("D4.4.3.6", format!("{name}: its first picture is no I-frame"));
                }
            }
            Content::Vtt(_) | Content::Opaque => findings.must("A6.10", format!("{name}: no media")),
        }
    }
}

fn media_tags(multivariant: &Multivariant, findings: &mut Findings) {
    let mut without_uri = BTreeMap::<(&str, &str), Vec<usize>>::new();
    for rendition in &multivariant.renditions {
        if rendition.kind() != "VIDEO" && rendition.attributes.quoted("LANGUAGE").is_none() {
            findings.must("A8.10", format!("line {}: EXT-X-MEDIA without LANGUAGE", rendition.line));
        }
        if rendition.kind() == "AUDIO" && rendition.uri().is_none() {
            without_uri.entry((rendition.kind(), rendition.group())).or_default().push(rendition.line);
        }
        if rendition.kind() == "SUBTITLES" && rendition.uri().is_none() {
            findings.must("D4.4.6.2.1", format!("line {}: SUBTITLES without URI", rendition.line));
        }
    }
    for ((_, group), lines) in without_uri.iter().filter(|(_, lines)| lines.len() > 1) {
        findings.must(
            "A9.7",
            format!("group {group:?}: the alternatives of lines {lines:?} have no playlists of their own"),
        );
    }
}
