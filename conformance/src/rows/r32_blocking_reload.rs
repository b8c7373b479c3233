//! Row 32: blocking playlist reload. Pure.

use std::time::Duration;

use super::common::s;
use crate::observation::{Asked, Load, Observation, Probe, Question, RenditionSeen};
use crate::playlist::Position;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 32,
    name: "blocking reload: _HLS_msn/_HLS_part wait, whole playlist, 400 and 503 where due",
    rule: "D6.2.5.2",
    level: Level::Must,
    judge,
};

const SECTION: &str = "D6.2.5.2";

fn judge(observation: &Observation) -> Verdict {
    let can_block = observation.lasts().any(|(_, playlist)| playlist.can_block());
    if !can_block {
        return match observation.firsts().next() {
            Some(_) => Verdict::not_applicable("there is no CAN-BLOCK-RELOAD=YES"),
            None => Verdict::skip("no playlist was loaded"),
        };
    }
    let mut findings = Findings::new();
    let mut requests = 0;
    for rendition in &observation.renditions {
        for load in &rendition.loads {
            if let Asked::Blocking { msn, part } = load.asked {
                requests += 1;
                blocked(observation, rendition, load, msn, part, &mut findings);
            }
        }
    }
    let mut probes = 0;
    for probe in &observation.probes {
        probes += usize::from(probed(observation, probe, &mut findings));
    }
    findings.looked_at(requests, "blocking requests");
    findings.looked_at(probes, "probes");
    findings.verdict("no blocking request was answered during the run")
}

/// Checks a blocking request for the next part or segment.
fn blocked(
    observation: &Observation,
    rendition: &RenditionSeen,
    load: &Load,
    msn: u64,
    part: Option<u64>,
    findings: &mut Findings,
) {
    let answer = &load.answer;
    let wanted = part.map_or_else(|| format!("segment {msn}"), |part| format!("part {msn}.{part}"));
    let name = format!("{}, asked for {wanted}", rendition.name);
    let target = rendition.last().map_or(Duration::from_secs(6), |last| last.target());
    let limit = target * 3 + observation.slack + Duration::from_millis(500);
    match (answer.status, load.end) {
        // For I-frame playlists, blocking is only a SHOULD (6.2.5.2).
        (200, Some(end)) if !reached(end, msn, part) && !load.ended => {
            let what = format!("{name}: answered after {} without it", s(answer.took()));
            if rendition.is_iframes() { findings.should(SECTION, what) } else { findings.must(SECTION, what) }
        }
        (200, Some(_)) if answer.took() > limit => {
            findings.should(SECTION, format!("{name}: kept waiting for {} instead of 503", s(answer.took())));
        }
        (200, Some(_)) => {}
        (503, _) if answer.took() + observation.slack < target * 3 => {
            findings.should(SECTION, format!("{name}: 503 after {} already", s(answer.took())));
        }
        (503, _) => {}
        _ => findings.must(SECTION, format!("{name}: {} after {}", answer.outcome(), s(answer.took()))),
    }
}

/// Whether a playlist up to `end` holds the requested segment or part.
fn reached(end: Position, msn: u64, part: Option<u64>) -> bool {
    match part {
        // Without a part, the request is for the segment itself.
        None => end.msn > msn || (end.msn == msn && end.parts == Position::WHOLE),
        Some(part) => end.msn > msn || (end.msn == msn && (end.parts == Position::WHOLE || end.parts > part)),
    }
}

/// Checks a probe of the matrix. Returns whether it belongs to this row.
fn probed(observation: &Observation, probe: &Probe, findings: &mut Findings) -> bool {
    let answer = &probe.answer;
    let target = probe.before.target();
    let prompt = observation.slack + Duration::from_millis(300);
    let asked = answer.url.split_once('?').map_or("", |(_, query)| query);
    let name = observation.renditions.get(probe.rendition).map_or("", |rendition| rendition.name.as_str());
    let name = format!("{name}?{asked}");
    let whole = |findings: &mut Findings, why: &str| {
        let complete = probe.body.as_ref().is_some_and(|body| !body.segments.is_empty() && body.skip.is_none());
        if answer.status != 200 || !complete {
            findings.must(SECTION, format!("{name} ({why}): {}, not the whole playlist", answer.outcome()));
        } else if answer.took() > prompt {
            findings.must(SECTION, format!("{name} ({why}): waited {}", s(answer.took())));
        }
    };
    match probe.question {
        Question::Listed => whole(findings, "a segment that is listed"),
        Question::Removed => whole(findings, "a segment that was removed"),
        Question::Ended => whole(findings, "directives after the end are ignored"),
        Question::PartAlone if answer.status != 400 => {
            findings.must(SECTION, format!("{name} (part without msn): {}, not 400", answer.outcome()));
        }
        Question::Beyond(ahead) => {
            bad_request(&name, &format!("{ahead} segments ahead"), answer, prompt, target, findings);
        }
        Question::BeyondPart => bad_request(&name, "past the Advance Part Limit", answer, prompt, target, findings),
        Question::OverPart => {
            let next = probe.before.next_msn();
            let end = probe.body.as_ref().and_then(|body| body.end());
            if answer.status != 200 || !end.is_some_and(|end| reached(end, next, Some(0))) {
                let what = format!(
                    "{name} (the part after the last one is part 0 of {next}): {} after {}, playlist up to {end:?}",
                    answer.outcome(),
                    s(answer.took())
                );
                findings.must(SECTION, what);
            }
        }
        Question::PartAlone => {}
        Question::Delta | Question::EndedDelta | Question::Unknown => return false,
    }
    true
}

fn bad_request(
    name: &str,
    why: &str,
    answer: &crate::observation::Answer,
    prompt: Duration,
    target: Duration,
    findings: &mut Findings,
) {
    if answer.status == 400 && answer.took() <= prompt {
        return;
    }
    let what = format!("{name} ({why}): {} after {}, not 400 at once", answer.outcome(), s(answer.took()));
    // A playlist without the requested media breaks the MUST to wait; an error, or a wait, breaks a SHOULD.
    if answer.status == 200 && answer.took() < target {
        findings.must(SECTION, what);
    } else {
        findings.should(SECTION, what);
    }
}
