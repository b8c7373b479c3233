//! Row 20: a segment and its parts hold the same samples. Pure.

use std::collections::BTreeMap;

use crate::media::{Content, Sample};
use crate::observation::{Observation, RenditionSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 20,
    name: "parts: a segment and its parts hold the same samples with the same times",
    rule: "D3.2",
    level: Level::Must,
    judge,
};

/// Samples with their decode times, by track.
type Samples = BTreeMap<u64, Vec<(u64, Sample)>>;

fn judge(observation: &Observation) -> Verdict {
    if !observation.is_low_latency() {
        return Verdict::not_applicable("there are no parts");
    }
    let mut findings = Findings::new();
    let mut segments = 0;
    for rendition in observation.regular() {
        for (msn, seen) in &rendition.segments {
            let Some(fetch) = seen.fetch.as_ref() else { continue };
            let Some(parts) = parts(rendition, *msn, seen.tags.parts.len()) else { continue };
            let name = format!("{} segment {msn}", rendition.name);
            let mut of_parts = Samples::new();
            for content in &parts {
                add(content, &mut of_parts);
            }
            let mut of_segment = Samples::new();
            add(&fetch.content, &mut of_segment);
            if of_segment.is_empty() {
                continue;
            }
            segments += 1;
            compare(&name, &of_segment, &of_parts, &mut findings);
        }
    }
    findings.looked_at(segments, "segments with all of their parts");
    findings.verdict("no segment was downloaded with all of its parts")
}

/// All parts of a segment, if all were downloaded. Of a segment that began before the run, some parts may be unknown.
fn parts(rendition: &RenditionSeen, msn: u64, count: usize) -> Option<Vec<&Content>> {
    let parts: Vec<_> = rendition.parts.range((msn, 0)..=(msn, u64::MAX)).map(|(_, seen)| seen).collect();
    if parts.is_empty() || parts.len() < count || parts.iter().any(|part| part.tag.gap) {
        return None;
    }
    let whole = parts.into_iter().map(|part| part.fetch.as_ref().filter(|fetch| fetch.answer.is_whole()));
    whole.map(|fetch| Some(&fetch?.content)).collect()
}

fn add(content: &Content, samples: &mut Samples) {
    match content {
        Content::Fmp4(fragments) => {
            for (id, run) in &fragments.tracks {
                let all = samples.entry(u64::from(*id)).or_default();
                let mut rest = run.samples.iter();
                for fragment in &run.fragments {
                    let (mut at, end) = (fragment.decode_time.unwrap_or(0), fragment.duration);
                    let start = at;
                    while at - start < end {
                        let Some(sample) = rest.next() else { break };
                        all.push((at, *sample));
                        at = at.saturating_add(u64::from(sample.duration.max(1)));
                    }
                }
            }
        }
        Content::Ts(ts) => {
            for (pid, stream) in &ts.streams {
                let all = samples.entry(u64::from(*pid)).or_default();
                all.extend(stream.pes.iter().map(|pes| {
                    let sample = Sample { duration: 0, size: 0, offset: 0, sync: false, idr: pes.idr, digest: pes.pts };
                    (pes.dts, sample)
                }));
            }
        }
        Content::Vtt(_) | Content::Opaque => {}
    }
}

fn compare(name: &str, segment: &Samples, parts: &Samples, findings: &mut Findings) {
    for (track, of_segment) in segment {
        let none = Vec::new();
        let of_parts = parts.get(track).unwrap_or(&none);
        if of_segment.len() != of_parts.len() {
            let what = format!("{name} track {track}: {} samples, its parts have {}", of_segment.len(), of_parts.len());
            findings.must("D3.2", what);
            continue;
        }
        let differs = of_segment.iter().zip(of_parts).position(|(a, b)| a != b);
        if let Some(index) = differs {
            findings.must("D3.2", format!("{name} track {track}: sample {index} is not the one of its parts"));
        }
    }
}
