//! Row 8: how much media a live playlist holds. Pure.

use super::common::{s, steps};
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 8,
    name: "window: at least 3 target durations after a removal, at least 6 segments",
    rule: "D6.2.2, A8.11",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_live() && observation.firsts().next().is_some() {
        return Verdict::not_applicable("the stream has ended");
    }
    let mut findings = Findings::new();
    let (mut playlists, mut removals) = (0, 0);
    for rendition in &observation.renditions {
        for (before, after) in steps(rendition) {
            let (before, after) = (&before.playlist, &after.playlist);
            if after.first_msn() <= before.first_msn() || after.ended || after.skip.is_some() {
                continue;
            }
            removals += 1;
            if after.duration() < after.target() * 3 {
                let what = format!(
                    "{}: {} are left after segment {} was removed, target {}",
                    rendition.name,
                    s(after.duration()),
                    after.first_msn() - 1,
                    s(after.target())
                );
                findings.must("D6.2.2", what);
            }
        }
        let Some(last) = rendition.last() else { continue };
        playlists += 1;
        // A stream that has just begun has fewer than six segments.
        let young = last.first_msn() == 0;
        if last.segments.len() < 6 && !young && !last.ended && last.skip.is_none() {
            findings.must("A8.11", format!("{}: {} segments", rendition.name, last.segments.len()));
        }
    }
    findings.looked_at(playlists, "playlists");
    findings.looked_at(removals, "removals");
    findings.verdict("no playlist was loaded")
}
