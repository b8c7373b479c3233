//! Row 11: a discontinuity announces changes, at the same times in all renditions. Pure.

use std::collections::BTreeSet;

use crate::media::Content;
use crate::observation::{Observation, RenditionSeen, SegmentSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 11,
    name: "discontinuity at each change of format, at the same instants in all renditions",
    rule: "D6.2.1, D4.4.4.3, A2.11, A8.13-15",
    level: Level::Must,
    judge,
};

/// Parameters that must not change without a discontinuity, one fact per entry.
type Parameters = BTreeSet<String>;

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let (mut compared, mut events) = (0, 0);
    for rendition in observation.regular() {
        let mut before: Option<(u64, Parameters)> = None;
        for (msn, seen) in &rendition.segments {
            events += usize::from(seen.tags.discontinuity);
            let Some(now) = parameters(rendition, seen) else {
                before = None;
                continue;
            };
            if let Some((earlier, was)) = &before
                && earlier + 1 == *msn
            {
                compared += 1;
                let known = common_kinds(was, &now);
                let changed: Vec<_> = now.difference(was).filter(|fact| known.contains(kind(fact))).cloned().collect();
                if !changed.is_empty() && !seen.tags.discontinuity {
                    let what = format!(
                        "{} segment {msn} without EXT-X-DISCONTINUITY: now {}",
                        rendition.name,
                        changed.join(", ")
                    );
                    findings.must("D6.2.1", what);
                }
            }
            before = Some((*msn, now));
        }
    }
    same_instants(observation, &mut findings);
    findings.looked_at(events, "discontinuities");
    let unseen = format!("not seen: no discontinuity, and no change in {compared} pairs of segments");
    findings.verdict(&unseen)
}

/// The kind of a fact: its text up to the colon.
fn kind(fact: &str) -> &str {
    fact.split(':').next().unwrap_or("")
}

/// Kinds that both have: only probed segments have the facts that the tools find.
fn common_kinds<'a>(a: &'a Parameters, b: &'a Parameters) -> BTreeSet<&'a str> {
    let kinds = |facts: &'a Parameters| facts.iter().map(|fact| kind(fact)).collect::<BTreeSet<_>>();
    kinds(a).intersection(&kinds(b)).copied().collect()
}

fn parameters(rendition: &RenditionSeen, seen: &SegmentSeen) -> Option<Parameters> {
    let mut facts = Parameters::new();
    match &seen.fetch.as_ref()?.content {
        Content::Fmp4(_) => {
            let tracks = &rendition.init_of(seen)?.tracks;
            let described = tracks.iter().map(|track| {
                format!("{}={} {:?} {:?} {}", track.id, track.codec, track.size, track.sound, track.timescale)
            });
            facts.insert(format!("tracks: {}", described.collect::<Vec<_>>().join("; ")));
        }
        Content::Ts(ts) => {
            let streams = ts.streams.iter().map(|(pid, stream)| format!("{pid}={:#x}", stream.kind));
            facts.insert(format!("streams: {}", streams.collect::<Vec<_>>().join("; ")));
        }
        Content::Vtt(_) | Content::Opaque => return None,
    }
    for stream in seen.probed.iter().flat_map(|probed| &probed.streams) {
        match stream.kind.as_str() {
            "video" => {
                facts.insert(format!("picture: {} {:?}", stream.codec, stream.size));
                facts.insert(format!("frame rate: {:?}", stream.rate));
            }
            "audio" => {
                let (channels, rate) = (&stream.channel_layout, stream.sample_rate);
                facts.insert(format!("sound: {} {channels:?} {rate:?}", stream.codec));
            }
            _ => {}
        }
    }
    Some(facts)
}

/// Checks that each discontinuity of a rendition stands at the same date in every other rendition that covers it.
fn same_instants(observation: &Observation, findings: &mut Findings) {
    let dates = |rendition: &RenditionSeen, only: bool| -> Vec<i64> {
        let listed = rendition.versions.iter().flat_map(|version| {
            let broken: BTreeSet<u64> = version
                .playlist
                .numbered()
                .filter(|(_, segment)| !only || segment.discontinuity)
                .map(|(msn, _)| msn)
                .collect();
            version.playlist.date_times().into_iter().filter(move |(msn, _)| broken.contains(msn)).map(|(_, at)| at)
        });
        listed.collect::<BTreeSet<_>>().into_iter().collect()
    };
    const NEAR_US: i64 = 500_000;
    for one in observation.regular() {
        let breaks = dates(one, true);
        for other in observation.regular().filter(|other| other.url != one.url) {
            let (all, theirs) = (dates(other, false), dates(other, true));
            for at in &breaks {
                let covered =
                    all.first().is_some_and(|first| first + NEAR_US < *at) && all.last().is_some_and(|last| at < last);
                if covered && !theirs.iter().any(|their| (their - at).abs() <= NEAR_US) {
                    let what = format!("{} has a discontinuity that {} has not", one.name, other.name);
                    findings.must("A8.15", what);
                }
            }
        }
    }
}
