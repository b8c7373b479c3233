//! Row 36: renditions are updated together. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::s;
use crate::observation::{Asked, At, Observation, RenditionSeen};
use crate::playlist::Position;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 36,
    name: "renditions updated in sync, within one part target",
    rule: "DB.1",
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
    let part = observation.versions().filter_map(|(_, version)| version.playlist.part_target).max().unwrap_or_default();
    let allowed = part + observation.slack;
    let mut edges = BTreeMap::<i64, Vec<(At, &str)>>::new();
    for rendition in observation.regular() {
        for (date, at) in first_seen(rendition) {
            edges.entry(date).or_default().push((at, &rendition.name));
        }
    }
    let mut compared = 0;
    // Ends with dates that are close together count as the same time, because audio is cut at its own frames.
    let near = i64::try_from((part / 3).as_micros()).unwrap_or(0);
    let all: Vec<_> =
        edges.into_iter().flat_map(|(date, seen)| seen.into_iter().map(move |(at, name)| (date, at, name))).collect();
    for (index, (date, at, name)) in all.iter().enumerate() {
        for (other_date, other_at, other) in all.iter().skip(index + 1).take_while(|(other, _, _)| other - date <= near)
        {
            if name == other {
                continue;
            }
            compared += 1;
            if at.abs_diff(*other_at) > allowed {
                let (first, late) = if at < other_at { (name, other) } else { (other, name) };
                let by = s(at.abs_diff(*other_at));
                let what =
                    format!("{late} reached the date {other_date} µs {by} after {first}, allowed are {}", s(allowed));
                findings.must("DB.1", what);
            }
        }
    }
    findings.looked_at(compared, "pairs of updates");
    findings.verdict("no two renditions were seen to reach the same date")
}

/// When each date was first reached, by blocking requests, because plain polling is too coarse.
fn first_seen(rendition: &RenditionSeen) -> BTreeMap<i64, At> {
    let mut seen = BTreeMap::new();
    let mut last: Option<Position> = None;
    let mut first = true;
    for version in rendition.versions.iter().filter(|version| matches!(version.asked, Asked::Blocking { .. })) {
        let Some(end) = version.playlist.end() else { continue };
        let new = last.is_none_or(|last| end > last);
        // The end of the first version may have been listed for long.
        if new && !std::mem::take(&mut first) {
            let dates = version.playlist.date_times();
            let span: Duration = match end.parts {
                Position::WHOLE => {
                    version.playlist.segment(end.msn).map(|segment| segment.duration).unwrap_or_default()
                }
                _ => version.playlist.open.iter().flat_map(|open| open.parts.iter().map(|part| part.duration)).sum(),
            };
            let span = i64::try_from(span.as_micros()).unwrap_or(0);
            seen.extend(dates.get(&end.msn).map(|date| (date + span, version.at)));
        }
        last = last.max(Some(end));
    }
    seen
}
