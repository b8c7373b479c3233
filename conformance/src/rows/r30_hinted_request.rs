//! Row 30: the server holds a request for a hinted object, and sends the object at once when it is ready. Pure.

use std::time::Duration;

use super::common::s;
use crate::observation::{Fetch, HintSeen, Observation, PartSeen, Question, RenditionSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 30,
    name: "hinted requests block, then all bytes at line rate; unknown objects are 404",
    rule: "D6.2.6",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut requests = 0;
    for rendition in &observation.renditions {
        for hint in &rendition.hints {
            let Some(fetch) = &hint.fetch else { continue };
            if hint.tag.kind == "PART" {
                let Some(((msn, index), part)) = became(rendition, hint) else { continue };
                requests += 1;
                let name = format!("{} hinted part {msn}.{index}", rendition.name);
                part_request(observation, &name, fetch, part, &mut findings);
            } else if rendition.inits.keys().any(|key| key.starts_with(&hint.url)) {
                requests += 1;
                if !fetch.answer.is_whole() {
                    let what = format!("{} hinted MAP: {} {}", rendition.name, hint.url, fetch.answer.outcome());
                    findings.must("D6.2.6", what);
                }
            }
        }
    }
    let mut unknown = 0;
    for probe in observation.probes.iter().filter(|probe| probe.question == Question::Unknown) {
        unknown += 1;
        let answer = &probe.answer;
        if !matches!(answer.status, 404 | 410) {
            findings.should("D6.2.6", format!("{}: {}, not 404", answer.url, answer.outcome()));
        } else if answer.took() > observation.slack + Duration::from_millis(500) {
            findings.should("D6.2.6", format!("{}: 404 only after {}", answer.url, s(answer.took())));
        }
    }
    findings.looked_at(requests, "hinted requests");
    findings.looked_at(unknown, "unknown objects");
    findings.verdict("nothing was hinted")
}

/// The part that the hinted object became.
fn became<'a>(rendition: &'a RenditionSeen, hint: &HintSeen) -> Option<((u64, u64), &'a PartSeen)> {
    let mut parts =
        rendition.parts.iter().filter(|(_, part)| part.url == hint.url && !part.tag.gap && part.listed >= hint.listed);
    parts
        .find(|(_, part)| part.tag.range.and_then(|range| range.offset).unwrap_or(0) == hint.tag.start)
        .map(|(key, part)| (*key, part))
}

fn part_request(observation: &Observation, name: &str, fetch: &Fetch, part: &PartSeen, findings: &mut Findings) {
    let answer = &fetch.answer;
    if !answer.is_whole() {
        let asked = s(part.listed.saturating_sub(answer.asked));
        let what = format!("{name}: {} {}, asked {asked} before it was listed", answer.url, answer.outcome());
        findings.must("D6.2.6", what);
        return;
    }
    // The download of the same part once it is listed shows what the link can do.
    let listed = part.fetch.as_ref().filter(|listed| listed.answer.is_whole());
    let link = listed.map_or(Duration::ZERO, |listed| listed.answer.transfer());
    let allowed = link * 4 + observation.slack;
    if answer.transfer() > allowed {
        let what =
            format!("{name}: {} from its first to its last byte, allowed are {}", s(answer.transfer()), s(allowed));
        findings.must("D6.2.6", what);
    }
    if answer.done > part.listed + observation.slack + part.tag.duration / 2 {
        let after = answer.done.saturating_sub(part.listed);
        findings.must("D6.2.6", format!("{name}: its last byte came {} after it was listed", s(after)));
    }
    if let Some(listed) = listed
        && listed.digest != fetch.digest
    {
        findings.must("D4.4.5.3", format!("{name}: the bytes sent for the hint are not those of the part"));
    }
}
