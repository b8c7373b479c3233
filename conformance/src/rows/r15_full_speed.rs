//! Row 15: listed media is available at once and at full speed, and playlists change atomically. Pure.

use std::time::Duration;

use super::common::s;
use crate::observation::{Answer, At, Observation};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 15,
    name: "listed media downloadable at once at full speed, playlists atomic",
    rule: "D6.2.1",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let (mut segments, mut parts, mut inits) = (0, 0, 0);
    for rendition in &observation.renditions {
        for (msn, seen) in &rendition.segments {
            let Some(fetch) = &seen.fetch else { continue };
            segments += 1;
            let name = format!("{} segment {msn}", rendition.name);
            let again = seen.again.as_ref();
            available(&name, seen.listed, seen.tags.duration, &fetch.answer, again, observation.slack, &mut findings);
        }
        for ((msn, index), seen) in &rendition.parts {
            let Some(fetch) = &seen.fetch else { continue };
            parts += 1;
            let name = format!("{} part {msn}.{index}", rendition.name);
            available(&name, seen.listed, seen.tag.duration, &fetch.answer, None, observation.slack, &mut findings);
        }
        for (url, seen) in &rendition.inits {
            inits += 1;
            if !seen.answer.is_whole() {
                findings.must("D6.2.1", format!("{} {url}: {}", rendition.name, seen.answer.outcome()));
            }
        }
        atomic(rendition, &mut findings);
        if rendition.left_out > 0 {
            findings.looked_at(rendition.left_out, "not downloaded, too many at once");
        }
    }
    findings.looked_at(segments, "segments");
    findings.looked_at(parts, "parts");
    findings.looked_at(inits, "initialization sections");
    findings.verdict("nothing was downloaded")
}

fn available(
    name: &str,
    listed: At,
    duration: Duration,
    answer: &Answer,
    again: Option<&Answer>,
    slack: Duration,
    findings: &mut Findings,
) {
    if !answer.is_whole() {
        let after = answer.asked.saturating_sub(listed);
        findings.must(
            "D6.2.1",
            format!("{name}: {} {}, asked {} after it was listed", answer.url, answer.outcome(), s(after)),
        );
        return;
    }
    if answer.waited() > slack + duration / 2 {
        findings.must("D6.2.1", format!("{name}: the first byte came {} after it was asked for", s(answer.waited())));
    }
    // A download is slow only if it could have been faster: the second download shows what the link can do.
    let Some(again) = again else { return };
    if answer.transfer() > again.transfer() * 3 + slack && answer.transfer() > duration / 3 {
        let (first, second) = (s(answer.transfer()), s(again.transfer()));
        findings.must("D6.2.1", format!("{name}: its bytes took {first} when it was listed, {second} later"));
    }
}

/// Finds playlists that were cut off, or read half-written.
fn atomic(rendition: &crate::observation::RenditionSeen, findings: &mut Findings) {
    for load in &rendition.loads {
        if load.answer.status == 200
            && let Some(problem) = &load.answer.problem
        {
            findings.must("D6.2.1", format!("{}: a playlist that is not whole: {problem}", rendition.name));
        }
    }
    let ends = rendition.versions.iter().filter(|version| version.playlist.text.ends_right).count();
    for version in &rendition.versions {
        let text = &version.playlist.text;
        if !text.ends_right {
            let tail: String = text.raw.chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
            let what = format!("{}: the last line is not ended: …{tail:?}", rendition.name);
            // If no version has a line feed at its end, that is the server's habit; if only some lack it, those were half-written.
            if ends > 0 { findings.must("D6.2.1", what) } else { findings.should("D4.1", what) }
        }
    }
}
