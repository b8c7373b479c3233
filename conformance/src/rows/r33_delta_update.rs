//! Row 33: a delta update gives the full playlist when it is merged. Pure.

use super::common::s;
use crate::observation::{Observation, Probe, Question};
use crate::playlist::text::{Kind, shortened};
use crate::playlist::{MediaPlaylist, Text};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 33,
    name: "delta update: merged it is the full playlist, and only what is old is skipped",
    rule: "D6.2.5.1, D4.4.5.2",
    level: Level::Must,
    judge,
};

const SECTION: &str = "D6.2.5.1";

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut updates = 0;
    for (rendition, version) in observation.versions() {
        if let Some(skip) = version.playlist.skip {
            let what = format!("{} line {}: EXT-X-SKIP, though none was asked for", rendition.name, skip.line);
            findings.must(SECTION, what);
        }
    }
    let offered = observation.lasts().any(|(_, playlist)| playlist.skip_boundary().is_some());
    let mut unsettled = 0;
    for probe in &observation.probes {
        let name = observation.renditions.get(probe.rendition).map_or("", |rendition| rendition.name.as_str());
        match probe.question {
            Question::EndedDelta => {
                updates += 1;
                if probe.body.as_ref().is_none_or(|body| body.skip.is_some()) {
                    findings.must(SECTION, format!("{name}: _HLS_skip is not ignored after EXT-X-ENDLIST"));
                }
            }
            Question::Delta => {
                if probe.after.as_ref().is_some_and(|after| after.text.raw == probe.before.text.raw) {
                    updates += 1;
                    delta(name, probe, &mut findings);
                } else {
                    unsettled += 1;
                }
            }
            _ => {}
        }
    }
    if !offered && updates == 0 && observation.firsts().next().is_some() {
        let verdict = findings.verdict("");
        let none = Verdict::not_applicable("there is no CAN-SKIP-UNTIL");
        return if verdict.evidence.is_empty() { none } else { verdict };
    }
    findings.looked_at(updates, "delta updates");
    findings.verdict(&format!("no delta update between two equal full playlists ({unsettled} tries)"))
}

/// Checks a delta update of a playlist that was the same before and after it.
fn delta(name: &str, probe: &Probe, findings: &mut Findings) {
    let full = &probe.before;
    let Some(update) = &probe.body else {
        findings.must(SECTION, format!("{name}: _HLS_skip=YES: {}", probe.answer.outcome()));
        return;
    };
    let Some(boundary) = full.skip_boundary() else { return };
    // Count the segments that are further from the end of the last segment than the boundary.
    let mut to_end = std::time::Duration::ZERO;
    let mut skippable = full.segments.len();
    for segment in full.segments.iter().rev() {
        to_end += segment.duration;
        if to_end > boundary {
            break;
        }
        skippable -= 1;
    }
    // A segment that crosses the boundary begins before it and ends after it, so it is not older than the boundary.
    let skippable_least = skippable.saturating_sub(1);
    let skipped = update.skip.map_or(0, |skip| usize::try_from(skip.segments).unwrap_or(usize::MAX));
    if skipped > skippable {
        let what = format!("{name}: {skipped} segments are skipped, {skippable} are older than {}", s(boundary));
        findings.must(SECTION, what);
    }
    if skipped < skippable_least {
        let what =
            format!("{name}: {skipped} segments are skipped, though {skippable_least} are older than {}", s(boundary));
        findings.must(SECTION, what);
    }
    if update.skip.is_some() && update.version.unwrap_or(1) < 9 {
        findings.must("D8", format!("{name}: EXT-X-SKIP with EXT-X-VERSION {:?}", update.version));
    }
    if let Some(difference) = difference(full, update, skipped) {
        findings.must(SECTION, format!("{name}: {difference}"));
    }
}

/// The first line in which a delta update differs from the full playlist after the skipped segments.
fn difference(full: &MediaPlaylist, update: &MediaPlaylist, skipped: usize) -> Option<String> {
    let last_skipped = skipped.checked_sub(1).and_then(|at| full.segments.get(at)).map(|segment| segment.line);
    let kept = |text: &Text, numbers: &dyn Fn(usize) -> bool| -> Vec<String> {
        let lines = text.lines.iter().filter(|line| numbers(line.number));
        lines.filter(|line| !is_of_the_update(&line.kind)).map(|line| text.line(line.number).to_owned()).collect()
    };
    // The head of the playlist ends before the first tag of a segment.
    let head_end =
        full.text.lines.iter().find(|line| begins_segments(&line.kind)).map_or(usize::MAX, |line| line.number);
    let expected = kept(&full.text, &|number| number < head_end || last_skipped.is_none_or(|last| number > last));
    let found = kept(&update.text, &|_| true);
    let mut missing = expected.iter().filter(|line| !found.contains(line));
    let mut extra = found.iter().filter(|line| !expected.contains(line) && !carried_over(line));
    if let Some(line) = missing.next() {
        return Some(format!("the update lacks {:?}", shortened(line)));
    }
    if let Some(line) = extra.next() {
        return Some(format!("the update has {:?}, the full playlist has not", shortened(line)));
    }
    let without_carried: Vec<_> = found.iter().filter(|line| expected.contains(line)).collect();
    (without_carried.len() != expected.len() || !without_carried.iter().zip(&expected).all(|(a, b)| *a == b))
        .then(|| "the update has the lines of the full playlist in another order or number".to_owned())
}

/// Whether a line is a tag that stays in force, and so may be repeated after the skipped segments.
fn carried_over(line: &str) -> bool {
    ["#EXT-X-MAP", "#EXT-X-KEY", "#EXT-X-BITRATE", "#EXT-X-PROGRAM-DATE-TIME"].iter().any(|tag| line.starts_with(tag))
}

fn is_of_the_update(kind: &Kind) -> bool {
    matches!(kind, Kind::Tag { name, .. } if name == "EXT-X-SKIP" || name == "EXT-X-VERSION")
}

fn begins_segments(kind: &Kind) -> bool {
    match kind {
        Kind::Uri(_) => true,
        Kind::Tag { name, .. } => crate::playlist::class(name) == crate::playlist::Class::Segment,
    }
}
