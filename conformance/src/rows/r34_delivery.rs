//! Row 34: how playlists and media are delivered. Pure.

use std::time::Duration;

use super::common::s;
use crate::observation::{Answer, Asked, Load, Observation, RenditionSeen, Role};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 34,
    name: "delivery: gzip, HTTP/2, TLS 1.2, RFC 9218 urgencies, cache lifetimes",
    rule: "A10.1, A12.1, DB.1, D6.2.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let low_latency = observation.is_low_latency();
    let mut playlists = 0;
    for rendition in &observation.renditions {
        let good = rendition.loads.iter().filter(|load| load.answer.status == 200);
        for load in good {
            playlists += 1;
            playlist(rendition, load, low_latency, &mut findings);
        }
    }
    if observation.multivariant.is_some() && observation.first.status == 200 {
        playlists += 1;
        zipped(&observation.first, &observation.url, &mut findings);
    }
    security(observation, low_latency, &mut findings);
    let urgent = priorities(observation, low_latency, &mut findings);
    findings.looked_at(playlists, "playlist answers");
    findings.looked_at(urgent, "media answers with an urgency");
    findings.verdict("no playlist was loaded")
}

fn zipped(answer: &Answer, name: &str, findings: &mut Findings) {
    if answer.header("content-encoding") != Some("gzip") {
        findings.must("A10.1", format!("{name}: not gzip, though it was asked for"));
    }
}

fn playlist(rendition: &RenditionSeen, load: &Load, low_latency: bool, findings: &mut Findings) {
    let (name, answer) = (&rendition.name, &load.answer);
    zipped(answer, name, findings);
    if low_latency && !matches!(answer.http.as_str(), "HTTP/2.0" | "HTTP/3.0") {
        findings.must("DB.1", format!("{name}: low latency over {}", answer.http));
    }
    let target = rendition.last().map(|last| last.target()).unwrap_or_default();
    let ended = rendition.last().is_some_and(|last| last.ended);
    if !low_latency || ended {
        return;
    }
    match load.asked {
        Asked::Plain => lifetime(name, "plain", answer, target / 2, target, findings),
        // The draft recommends to cache these for six target durations: neither much less nor much more.
        Asked::Blocking { .. } => lifetime(name, "blocking", answer, target * 6, target * 7, findings),
    }
}

/// Checks that a cache lifetime is not shorter than `wanted`, apart from rounding to seconds, and not longer than `most`.
fn lifetime(name: &str, kind: &str, answer: &Answer, wanted: Duration, most: Duration, findings: &mut Findings) {
    let what = |found: String| format!("{name}, {kind}: cached for {found}, recommended are {}", s(wanted));
    match answer.max_age() {
        None => findings.should("DB.1", what("no stated time".to_owned())),
        Some(age)
            if age.as_secs() < wanted.as_secs().max(u64::from(wanted >= Duration::from_secs(1))) || age > most =>
        {
            findings.should("DB.1", what(s(age)));
        }
        Some(_) => {}
    }
}

fn security(observation: &Observation, low_latency: bool, findings: &mut Findings) {
    if !observation.url.starts_with("https:") {
        if observation.url.starts_with("http:") {
            findings.should("A11.1", format!("{}: no TLS", observation.url));
        }
        return;
    }
    let Some(tls) = &observation.tls else { return };
    if !matches!(tls.version.as_str(), "TLSv1_2" | "TLSv1_3") {
        findings.must("A12.1", tls.version.clone());
    } else if low_latency && tls.version != "TLSv1_3" {
        findings.should("DB.1", format!("{}, recommended is TLS 1.3", tls.version));
    }
}

/// Checks priorities (RFC 9218): required with HTTP/3 and recommended with HTTP/2, with these urgencies.
fn priorities(observation: &Observation, low_latency: bool, findings: &mut Findings) -> usize {
    if !low_latency {
        return 0;
    }
    let mut used = 0;
    for rendition in &observation.renditions {
        for load in rendition.loads.iter().filter(|load| load.answer.status == 200) {
            match urgency(&load.answer) {
                Some(1) => {}
                Some(other) => {
                    findings.must("DB.1", format!("{}: a playlist with urgency {other}, not 1", rendition.name));
                }
                None => findings.should("DB.1", format!("{}: no RFC 9218 priority in the answer", rendition.name)),
            }
        }
        for (name, answer) in media(rendition) {
            match urgency(answer) {
                Some(2..=6) => used += 1,
                Some(other) => findings.must("DB.1", format!("{name}: media with urgency {other}, not 2 to 6")),
                None => findings.should("DB.1", format!("{name}: no RFC 9218 priority in the answer")),
            }
        }
    }
    by_bandwidth(observation, findings);
    used
}

fn media(rendition: &RenditionSeen) -> Vec<(String, &Answer)> {
    let segment = rendition
        .segments
        .iter()
        .filter_map(|(msn, seen)| Some((format!("{} segment {msn}", rendition.name), &seen.fetch.as_ref()?.answer)));
    let part = rendition.parts.iter().filter_map(|((msn, index), seen)| {
        Some((format!("{} part {msn}.{index}", rendition.name), &seen.fetch.as_ref()?.answer))
    });
    segment.chain(part).filter(|(_, answer)| answer.is_whole()).collect()
}

/// `u` of the Priority field; 3 when the field lacks it.
fn urgency(answer: &Answer) -> Option<u8> {
    let field = answer.header("priority")?;
    let stated = field.split(',').filter_map(|item| item.trim().strip_prefix("u=")).next();
    stated.map_or(Some(3), |urgency| urgency.parse().ok())
}

/// Checks that media of a higher bit rate has no higher priority than media of a lower one.
fn by_bandwidth(observation: &Observation, findings: &mut Findings) {
    let Some(multivariant) = &observation.multivariant else { return };
    let mut found: Vec<(u64, u8, &str)> = Vec::new();
    for rendition in observation.regular() {
        let bandwidth = rendition.roles.iter().find_map(|role| match role {
            Role::Variant(index) => multivariant.variants.get(*index)?.bandwidth(),
            _ => None,
        });
        let most_urgent = media(rendition).iter().filter_map(|(_, answer)| urgency(answer)).min();
        if let (Some(bandwidth), Some(urgency)) = (bandwidth, most_urgent) {
            found.push((bandwidth, urgency, &rendition.name));
        }
    }
    found.sort_unstable();
    for pair in found.windows(2) {
        if let [(_, low, lower), (_, high, higher)] = pair
            && high < low
        {
            findings.must("DB.1", format!("{higher} (urgency {high}) comes before {lower} (urgency {low})"));
        }
    }
}
