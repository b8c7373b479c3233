//! Row 16: segments begin with an IDR picture. Pure.

use std::time::Duration;

use super::common::s;
use crate::media::{Content, Init, Run, Track, ticks, ts};
use crate::observation::{Observation, RenditionSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 16,
    name: "IDR: first in each segment, every 2 s; decodes alone; INDEPENDENT parts hold one",
    rule: "A7.4, A1.13, D3, D4.4.4.9",
    level: Level::Must,
    judge,
};

/// Longest distance of IDR pictures (A1.13), plus a frame.
const APART_MAX: Duration = Duration::from_millis(2_050);

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut segments = 0;
    let mut pictures = false;
    for (rendition, msn, seen, fetch) in observation.fetched() {
        let name = format!("{} segment {msn}", rendition.name);
        match &fetch.content {
            Content::Fmp4(fragments) => {
                let Some(init) = rendition.init_of(seen) else { continue };
                let Some((track, run)) = fragments.main(init).filter(|(track, _)| track.is_picture()) else { continue };
                (pictures, segments) = (true, segments + 1);
                first_sample(&name, run, &mut findings);
                if !rendition.is_iframes() {
                    spacing(&name, track, run, &mut findings);
                }
            }
            Content::Ts(ts) => {
                let Some(stream) = ts.main().filter(|stream| stream.is_picture()) else { continue };
                (pictures, segments) = (true, segments + 1);
                if stream.pes.first().and_then(|first| first.idr) == Some(false) {
                    findings.must("A7.4", format!("{name}: the first picture is no IDR picture"));
                }
                stamps(&name, stream, &mut findings);
            }
            Content::Vtt(_) | Content::Opaque => continue,
        }
        for complaint in seen.probed.iter().flat_map(|probed| &probed.decoder) {
            if !rendition.is_iframes() {
                findings.should("D3", format!("{name}, decoded alone: {complaint}"));
            }
        }
    }
    let parts: usize = observation.regular().map(|rendition| independent_parts(rendition, &mut findings)).sum();
    if !pictures && observation.fetched().next().is_some() {
        return Verdict::not_applicable("there is no picture");
    }
    findings.looked_at(segments, "segments");
    findings.looked_at(parts, "parts");
    findings.verdict("no segment was downloaded")
}

fn first_sample(name: &str, run: &Run, findings: &mut Findings) {
    let Some(first) = run.samples.first() else { return };
    if first.idr == Some(false) {
        findings.must("A7.4", format!("{name}: the first picture is no IDR picture"));
    } else if !first.sync {
        findings.must("A7.4", format!("{name}: the first sample is not marked as a sync sample"));
    }
}

fn spacing(name: &str, track: &Track, run: &Run, findings: &mut Findings) {
    let mut since = 0_u64;
    let mut longest = 0_u64;
    for sample in &run.samples {
        if sample.idr.unwrap_or(sample.sync) {
            since = 0;
        }
        since += u64::from(sample.duration);
        longest = longest.max(since);
    }
    let longest = ticks(longest, track.timescale);
    if longest > APART_MAX {
        findings.should("A1.13", format!("{name}: {} without an IDR picture", s(longest)));
    }
}

fn stamps(name: &str, stream: &ts::Stream, findings: &mut Findings) {
    let mut last: Option<u64> = None;
    for pes in &stream.pes {
        if pes.idr == Some(true) || last.is_none() {
            last = Some(pes.pts);
        }
        let apart = ticks(ts::later(last.unwrap_or(pes.pts), pes.pts), 90_000);
        // The distance wraps for a picture that is shown before the IDR picture that precedes it.
        if apart > APART_MAX && apart < Duration::from_secs(3_600) {
            findings.should("A1.13", format!("{name}: {} after the last IDR picture", s(apart)));
            return;
        }
    }
}

/// Checks that a part with INDEPENDENT=YES has an independent frame, and that every part with one has the attribute.
fn independent_parts(rendition: &RenditionSeen, findings: &mut Findings) -> usize {
    let mut parts = 0;
    for ((msn, index), seen) in &rendition.parts {
        let Some(fetch) = &seen.fetch else { continue };
        let Content::Fmp4(fragments) = &fetch.content else { continue };
        let init: Option<&Init> = rendition.segments.get(msn).and_then(|of| rendition.init_of(of));
        let Some((track, run)) = init.and_then(|init| fragments.main(init)) else { continue };
        parts += 1;
        let holds = run.samples.iter().any(|sample| sample.sync);
        let name = format!("{} part {msn}.{index}", rendition.name);
        if seen.tag.independent && !holds {
            findings.must("D4.4.4.9", format!("{name}: INDEPENDENT=YES, but no sync sample"));
        }
        if holds && !seen.tag.independent && track.is_picture() {
            findings.should("D4.4.4.9", format!("{name}: a sync sample, but no INDEPENDENT=YES"));
        }
    }
    parts
}
