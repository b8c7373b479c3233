//! Row 35: media without redirects and with the right media types. Pure.

use crate::media::Content;
use crate::observation::{Answer, Observation, RenditionSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 35,
    name: "no redirects for media; recommended media types",
    rule: "A8.18, A10.4",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut answers = 0;
    let playlists =
        observation.renditions.iter().filter_map(|rendition| rendition.loads.iter().find(|load| load.end.is_some()));
    for answer in
        playlists.map(|load| &load.answer).chain((observation.first.status == 200).then_some(&observation.first))
    {
        answers += 1;
        typed("playlist", answer, &["application/vnd.apple.mpegurl", "audio/mpegurl"], &mut findings);
    }
    for rendition in &observation.renditions {
        for (name, answer, wanted) in media(rendition) {
            answers += 1;
            if let Some((status, to)) = answer.redirects.first() {
                findings.must("A8.18", format!("{name}: {status} to {to}"));
            }
            if answer.is_whole() {
                typed(&name, answer, wanted, &mut findings);
            }
        }
    }
    findings.looked_at(answers, "answers");
    findings.verdict("nothing was downloaded")
}

fn media(rendition: &RenditionSeen) -> Vec<(String, &Answer, &'static [&'static str])> {
    const FMP4: &[&str] = &["video/mp4", "audio/mp4", "video/iso.segment", "audio/iso.segment", "application/mp4"];
    let wanted = |content: &Content| -> &'static [&'static str] {
        match content {
            Content::Fmp4(_) => FMP4,
            Content::Ts(_) => &["video/mp2t"],
            Content::Vtt(_) => &["text/vtt", "text/plain"],
            Content::Opaque => &[],
        }
    };
    let segments = rendition.segments.iter().filter_map(|(msn, seen)| {
        let fetch = seen.fetch.as_ref()?;
        Some((format!("{} segment {msn}", rendition.name), &fetch.answer, wanted(&fetch.content)))
    });
    let parts = rendition.parts.iter().filter_map(|((msn, index), seen)| {
        let fetch = seen.fetch.as_ref()?;
        Some((format!("{} part {msn}.{index}", rendition.name), &fetch.answer, wanted(&fetch.content)))
    });
    let inits = rendition.inits.iter().map(|(url, seen)| (format!("{} {url}", rendition.name), &seen.answer, FMP4));
    segments.chain(parts).chain(inits).collect()
}

fn typed(name: &str, answer: &Answer, wanted: &[&str], findings: &mut Findings) {
    let found = answer.media_type();
    let fits = found.as_deref().is_some_and(|found| wanted.contains(&found));
    if !wanted.is_empty() && !fits {
        let name = if name == "playlist" { &answer.url } else { name };
        findings.should(
            "A10.4",
            format!("{name}: Content-Type {found:?}, recommended is {}", wanted.first().unwrap_or(&"")),
        );
    }
}
