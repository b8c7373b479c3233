//! Row 31: rendition reports. Pure.

use super::common::line;
use crate::observation::{Observation, RenditionSeen, Version};
use crate::playlist::{Position, Report};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 31,
    name: "rendition reports: one for every other playlist, relative URI, up to date",
    rule: "DB.1, D4.4.5.4",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_low_latency() {
        return Verdict::not_applicable("there are no parts");
    }
    if observation.regular().count() < 2 {
        return Verdict::not_applicable("there is one media playlist");
    }
    let mut findings = Findings::new();
    let mut reports = 0;
    for (rendition, version) in observation.versions() {
        let playlist = &version.playlist;
        reports += playlist.reports.len();
        if playlist.ended {
            continue;
        }
        for report in &playlist.reports {
            one(observation, rendition, version, report, &mut findings);
        }
        complete(observation, rendition, version, &mut findings);
    }
    findings.looked_at(reports, "reports");
    findings.verdict("no playlist was loaded")
}

/// The rendition that a report is about.
fn subject<'a>(observation: &'a Observation, rendition: &RenditionSeen, report: &Report) -> Option<&'a RenditionSeen> {
    let url = reqwest::Url::parse(&rendition.url).ok()?.join(report.uri.as_deref()?).ok()?.to_string();
    observation.renditions.iter().find(|other| other.url == url)
}

fn complete(observation: &Observation, rendition: &RenditionSeen, version: &Version, findings: &mut Findings) {
    let playlist = &version.playlist;
    let reported: Vec<_> =
        playlist.reports.iter().filter_map(|report| subject(observation, rendition, report)).collect();
    let iframes_reported = reported.iter().filter(|other| other.is_iframes()).count();
    for other in observation.renditions.iter().filter(|other| other.url != rendition.url && !other.versions.is_empty())
    {
        let count = reported.iter().filter(|found| found.url == other.url).count();
        let what = format!("{}: {count} reports for {}", rendition.name, other.name);
        match (other.is_iframes(), count) {
            (_, 1) => {}
            // The draft does not say clearly whether an I-frame playlist has to report on the others.
            (false, _) if rendition.is_iframes() => findings.should("DB.1", what),
            (false, _) => findings.must("DB.1", what),
            (true, 0) if iframes_reported == 0 => {
                findings.should("DB.1", format!("{}: no reports for I-frame playlists", rendition.name));
            }
            (true, _) => findings.must("DB.1", what),
        }
    }
}

fn one(
    observation: &Observation,
    rendition: &RenditionSeen,
    version: &Version,
    report: &Report,
    findings: &mut Findings,
) {
    let playlist = &version.playlist;
    let name = || line(rendition, playlist, report.line);
    let Some(uri) = &report.uri else {
        findings.must("D4.4.5.4", format!("{}: no URI", name()));
        return;
    };
    if uri.contains("://") || uri.starts_with("//") {
        findings.must("D4.4.5.4", format!("{}: the URI is not relative", name()));
    }
    let Some(other) = subject(observation, rendition, report) else {
        findings.must("D4.4.5.4", format!("{}: there is no such playlist", name()));
        return;
    };
    // An omitted attribute has the value of the playlist that contains the report.
    let own = playlist.end();
    let Some(msn) = report.last_msn.or(own.map(|end| end.msn)) else { return };
    let low_latency =
        other.last().is_some_and(|last| last.numbered_with_open().any(|(_, segment)| !segment.parts.is_empty()));
    let own_part = own.and_then(|end| match end.parts {
        Position::WHOLE => {
            playlist.segment(end.msn).and_then(|segment| segment.parts.len().checked_sub(1)?.try_into().ok())
        }
        parts => parts.checked_sub(1),
    });
    let part = report.last_part.or(own_part);
    if low_latency && part.is_none() {
        findings.must("D4.4.5.4", format!("{}: no LAST-PART", name()));
    }
    // The report must reach at least what was seen of the other playlist before this request was sent.
    let known =
        other.versions.iter().take_while(|seen| seen.at < version.sent).filter_map(|seen| seen.playlist.end()).max();
    if let Some(known) = known
        && msn < known.msn
    {
        let what = format!("{}: out of date, segment {} of it had been seen before", name(), known.msn);
        findings.must("D4.4.5.4", what);
    }
    if let (Some(known), Some(part)) = (known, part)
        && known.msn == msn
        && known.parts != Position::WHOLE
        && part + 1 < known.parts
    {
        let what = format!("{}: out of date, part {} of it had been seen before", name(), known.parts - 1);
        findings.must("D4.4.5.4", what);
    }
}
