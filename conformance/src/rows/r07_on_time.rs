//! Row 7: a live playlist grows in time. Pure.

use std::time::Duration;

use super::common::s;
use crate::observation::{Asked, At, Observation, RenditionSeen, Version};
use crate::playlist::Position;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 7,
    name: "on time: a segment within 1.5 target durations, a part within one part target",
    rule: "D6.2.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_live() && observation.firsts().next().is_some() {
        return Verdict::not_applicable("the stream has ended");
    }
    let mut findings = Findings::new();
    let (mut segments, mut parts) = (0, 0);
    for rendition in &observation.renditions {
        for wait in segment_waits(observation, rendition) {
            segments += usize::from(wait.msn.is_some());
            if wait.took > wait.allowed {
                let which = wait.msn.map_or("no new segment".to_owned(), |msn| format!("segment {msn}"));
                let (took, allowed) = (s(wait.took), s(wait.allowed));
                let what = format!("{}: {which} {took} after the one before, allowed are {allowed}", rendition.name);
                findings.must("D6.2.1", what);
            }
        }
        parts += gaps_between_parts(observation, rendition, &mut findings);
    }
    findings.looked_at(segments, "new segments");
    findings.looked_at(parts, "new parts");
    findings.verdict("no new segment was seen, and the run was too short to miss one")
}

/// Time from one new segment to the next; without a number, from the last segment to the end of the run.
pub(super) struct Wait {
    pub msn: Option<u64>,
    pub took: Duration,
    pub allowed: Duration,
}

fn is_polled(versions: &[&Version]) -> bool {
    versions.iter().skip(1).all(|version| version.asked == Asked::Plain)
}

/// Waits for new segments while the playlist was live.
pub(super) fn segment_waits(observation: &Observation, rendition: &RenditionSeen) -> Vec<Wait> {
    let versions = rendition.finest();
    let Some(first) = versions.first() else { return Vec::new() };
    let polling = if is_polled(&versions) { observation.interval } else { Duration::ZERO };
    let allowed = first.playlist.target() * 3 / 2 + observation.slack + polling;
    let (mut last, mut next): (At, u64) = (first.at, first.playlist.next_msn());
    let mut waits = Vec::new();
    for version in versions.iter().skip(1) {
        let now = version.playlist.next_msn();
        if now > next {
            waits.push(Wait { msn: now.checked_sub(1), took: version.at.saturating_sub(last), allowed });
            (last, next) = (version.at, now);
        }
    }
    let ended = rendition.versions.iter().any(|version| version.playlist.ended);
    let end = rendition.loads.iter().rev().find(|load| load.end.is_some()).map_or(last, |load| load.answer.done);
    if !ended {
        waits.push(Wait { msn: None, took: end.saturating_sub(last), allowed });
    }
    waits
}

fn gaps_between_parts(observation: &Observation, rendition: &RenditionSeen, findings: &mut Findings) -> usize {
    let versions = rendition.finest();
    let target = versions.first().and_then(|first| first.playlist.part_target);
    let Some(target) = target.filter(|_| !is_polled(&versions)) else { return 0 };
    let slack = observation.slack;
    let mut seen = 0;
    let mut last: Option<(At, Position)> = None;
    for version in versions {
        let Some(end) = version.playlist.end() else { continue };
        let Some((at, before)) = last else {
            last = Some((version.at, end));
            continue;
        };
        if end <= before {
            continue;
        }
        seen += 1;
        // The time before a request that the checker sent late does not count.
        let took = version.at.saturating_sub(at.max(version.sent));
        if took > target + slack {
            let part =
                if end.parts == Position::WHOLE { "its end".to_owned() } else { format!("part {}", end.parts - 1) };
            findings.must(
                "D6.2.1",
                format!(
                    "{} segment {}: {part} {} after the part before, PART-TARGET is {} (and {} are allowed for the network)",
                    rendition.name,
                    end.msn,
                    s(took),
                    s(target),
                    s(slack)
                ),
            );
        }
        last = Some((version.at, end));
    }
    seen
}
