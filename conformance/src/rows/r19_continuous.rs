//! Row 19: media times are continuous from segment to segment. Pure.

use std::time::Duration;

use super::common::s;
use crate::media::{Content, Init, Run, Ts, fmp4, ticks, ts};
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 19,
    name: "continuous: each decode time is the one before plus its duration",
    rule: "A7.2, A7.3, D3",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut joints = 0;
    for rendition in observation.regular() {
        let mut before: Option<(u64, &Content)> = None;
        for (msn, seen) in &rendition.segments {
            let Some(fetch) = seen.fetch.as_ref().filter(|fetch| fetch.answer.is_whole()) else { continue };
            let name = format!("{} segment {msn}", rendition.name);
            if let (Content::Fmp4(fragments), Some(init)) = (&fetch.content, rendition.init_of(seen)) {
                inside(&name, fragments, init, &mut findings);
            }
            if let Some((earlier, was)) = before
                && earlier + 1 == *msn
                && !seen.tags.discontinuity
            {
                match (was, &fetch.content) {
                    (Content::Fmp4(was), Content::Fmp4(is)) => {
                        joints += 1;
                        if let Some(init) = rendition.init_of(seen) {
                            fragments_join(&name, was, is, init, &mut findings);
                        }
                    }
                    (Content::Ts(was), Content::Ts(is)) => {
                        joints += 1;
                        streams_join(&name, was, is, &mut findings);
                    }
                    _ => {}
                }
            }
            before = Some((*msn, &fetch.content));
        }
    }
    findings.looked_at(joints, "joints");
    findings.verdict("no two segments side by side were downloaded")
}

fn inside(name: &str, fragments: &fmp4::Fragments, init: &Init, findings: &mut Findings) {
    for (id, run) in &fragments.tracks {
        let timescale = init.track(*id).map_or(0, |track| track.timescale);
        for pair in run.fragments.windows(2) {
            let [before, after] = pair else { continue };
            let (Some(start), Some(next)) = (before.decode_time, after.decode_time) else { continue };
            join(
                &format!("{name} track {id}, between fragments"),
                start.saturating_add(before.duration),
                next,
                timescale,
                findings,
            );
        }
    }
}

fn fragments_join(name: &str, was: &fmp4::Fragments, is: &fmp4::Fragments, init: &Init, findings: &mut Findings) {
    for (id, run) in &is.tracks {
        let timescale = init.track(*id).map_or(0, |track| track.timescale);
        if let (Some(end), Some(start)) = (was.tracks.get(id).and_then(Run::end), run.start()) {
            join(&format!("{name} track {id}"), end, start, timescale, findings);
        }
    }
    for id in was.tracks.keys().filter(|id| !is.tracks.contains_key(id)) {
        findings.must("D3", format!("{name}: track {id} of the segment before is not in it"));
    }
}

/// Checks that a segment begins where the one before ends, within one tick for rounding.
fn join(name: &str, end: u64, start: u64, timescale: u32, findings: &mut Findings) {
    if end.abs_diff(start) > 1 {
        let word = if start > end { "late" } else { "early" };
        let off = s(ticks(end.abs_diff(start), timescale));
        findings.must("A7.3", format!("{name}: decode time {start} is {off} {word}, expected {end}"));
    }
}

fn streams_join(name: &str, was: &Ts, is: &Ts, findings: &mut Findings) {
    for (pid, stream) in &is.streams {
        let Some((earlier, first)) = was.streams.get(pid).zip(stream.pes.first()) else { continue };
        let Some(last) = earlier.pes.last() else { continue };
        let interval = earlier.pes.len().checked_sub(2).and_then(|at| earlier.pes.get(at));
        let interval = interval.map_or(0, |before| ts::later(before.dts, last.dts));
        let step = ticks(ts::later(last.dts, first.dts), 90_000);
        // A packet of audio holds several frames, and not always the same number.
        let most = ticks(interval, 90_000) * 2 + Duration::from_millis(if stream.is_picture() { 10 } else { 300 });
        if interval > 0 && (step > most || step.is_zero()) {
            let what = format!("{name}, PID {pid}: its first stamp is {} after the last one before", s(step));
            findings.must("A7.2", what);
        }
    }
}
