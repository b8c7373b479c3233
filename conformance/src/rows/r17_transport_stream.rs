//! Row 17: transport streams. Pure.

use crate::media::{Content, Ts};
use crate::observation::Observation;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 17,
    name: "transport streams: PAT and PMT in each, one program, counters sequential",
    rule: "D3.1.1, A7.2",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut segments = 0;
    for rendition in &observation.renditions {
        let mut before: Option<(u64, &Ts)> = None;
        for (msn, seen) in &rendition.segments {
            let Some(Content::Ts(ts)) = seen.fetch.as_ref().map(|fetch| &fetch.content) else { continue };
            segments += 1;
            let name = format!("{} segment {msn}", rendition.name);
            tables(&name, ts, seen.tags.map.is_some(), &mut findings);
            for fault in &ts.faults {
                findings.must("A7.2", format!("{name}: {fault}"));
            }
            if let Some((earlier, was)) = before
                && earlier + 1 == *msn
                && !seen.tags.discontinuity
            {
                counters(&name, was, ts, &mut findings);
            }
            before = Some((*msn, ts));
        }
    }
    if segments == 0 && observation.fetched().next().is_some() {
        return Verdict::not_applicable("there are no transport streams");
    }
    findings.looked_at(segments, "segments");
    findings.verdict("no segment was downloaded")
}

fn tables(name: &str, ts: &Ts, has_map: bool, findings: &mut Findings) {
    if has_map {
        return;
    }
    match (ts.programs, ts.pmt) {
        (None, _) => findings.must("D3.1.1", format!("{name}: no PAT")),
        (Some(_), None) => findings.must("D3.1.1", format!("{name}: no PMT")),
        (Some(1), Some(_)) => {}
        (Some(programs), Some(_)) => findings.must("D3.1.1", format!("{name}: {programs} programs")),
    }
    let expected = ts.pmt.map(|pmt| vec![0, pmt]);
    if expected.is_some_and(|expected| expected != ts.first_pids) {
        findings.should(
            "D3.1.1",
            format!("{name}: the first two packets are of PIDs {:?}, not PAT and PMT", ts.first_pids),
        );
    }
    // The PMT must not declare an elementary stream that is absent.
    for (pid, stream) in &ts.streams {
        if stream.pes.is_empty() && (stream.is_picture() || stream.is_sound()) {
            findings.must(
                "D3.1.1",
                format!("{name}: the PMT declares PID {pid} ({:#x}), which has no packets", stream.kind),
            );
        }
    }
}

fn counters(name: &str, before: &Ts, after: &Ts, findings: &mut Findings) {
    for (pid, (first, _)) in &after.counters {
        if let Some((_, last)) = before.counters.get(pid)
            && (last + 1) % 16 != *first
        {
            let what =
                format!("{name}, PID {pid}: the segment before ended with counter {last}, it starts with {first}");
            findings.must("A7.2", what);
        }
    }
}
