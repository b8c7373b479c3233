//! Row 24: CODECS names every format of the media. Pure.

use std::collections::BTreeSet;

use crate::media::Content;
use crate::observation::{Observation, RenditionSeen, Role};
use crate::playlist::{Multivariant, Variant};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row =
    Row { number: 24, name: "CODECS covers every format present", rule: "D6.2.4", level: Level::Must, judge };

fn judge(observation: &Observation) -> Verdict {
    let Some(multivariant) = &observation.multivariant else {
        return Verdict::not_applicable("there is no multivariant playlist");
    };
    let mut findings = Findings::new();
    let (mut formats, mut stated) = (0, 0);
    for (index, variant) in multivariant.variants.iter().enumerate() {
        let Some(codecs) = variant.attributes.quoted("CODECS") else { continue };
        stated += 1;
        let listed: Vec<&str> = codecs.split(',').map(str::trim).collect();
        for present in present(observation, multivariant, index, variant) {
            formats += 1;
            let family = |codec: &str| codec.split('.').next().unwrap_or("").to_ascii_lowercase();
            if listed.iter().any(|codec| codec.eq_ignore_ascii_case(&present)) {
                continue;
            }
            let name = format!("line {} ({}): CODECS {codecs:?}", variant.line, variant.uri);
            let Some(near) = listed.iter().find(|codec| family(codec) == family(&present)) else {
                findings.must("D6.2.4", format!("{name}, but the media is {present}"));
                continue;
            };
            // For a transport stream, only the family of the format is known here.
            if present.contains('.') {
                findings.should("D6.2.4", format!("{name} says {near}, but the media is {present}"));
            }
        }
    }
    if stated == 0 {
        return Verdict::not_applicable("no variant has CODECS");
    }
    findings.looked_at(formats, "formats found in media");
    findings.verdict("no format could be recognised")
}

/// Formats found in the renditions that a variant names.
fn present(
    observation: &Observation,
    multivariant: &Multivariant,
    index: usize,
    variant: &Variant,
) -> BTreeSet<String> {
    let groups = ["AUDIO", "VIDEO", "SUBTITLES"].map(|kind| (kind, variant.attributes.quoted(kind)));
    let belongs = |rendition: &RenditionSeen| {
        rendition.roles.iter().any(|role| match role {
            Role::Variant(of) | Role::Iframes(of) => *of == index,
            Role::Media(of) => multivariant.renditions.get(*of).is_some_and(|media| {
                groups.iter().any(|(kind, group)| media.kind() == *kind && *group == Some(media.group()))
            }),
            Role::Alone => false,
        })
    };
    observation.renditions.iter().filter(|rendition| belongs(rendition)).flat_map(formats).collect()
}

fn formats(rendition: &RenditionSeen) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for seen in rendition.segments.values() {
        match seen.fetch.as_ref().map(|fetch| &fetch.content) {
            Some(Content::Fmp4(_)) => {
                found.extend(
                    rendition.init_of(seen).into_iter().flat_map(|init| init.tracks.iter().map(|t| t.codec.clone())),
                );
            }
            Some(Content::Ts(ts)) => {
                found.extend(ts.streams.values().filter_map(|stream| stream.codec().map(str::to_owned)));
            }
            _ => {}
        }
    }
    found
}
