//! Row 21: the allowed formats. Pure.

use crate::media::Content;
use crate::observation::{Observation, Probed};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 21,
    name: "formats: HEVC as hvc1 in fMP4, at most 60 frames/s, progressive, one audio stream",
    rule: "A1.5, A1.10, A1.14, A1.19, A2.17",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let (mut segments, mut probed) = (0, 0);
    for (rendition, msn, seen, fetch) in observation.fetched() {
        let name = format!("{} segment {msn}", rendition.name);
        match &fetch.content {
            Content::Fmp4(_) => {
                let Some(init) = rendition.init_of(seen) else { continue };
                segments += 1;
                for track in &init.tracks {
                    if track.codec.starts_with("hev1") || track.codec.starts_with("avc3") {
                        let what = format!("{name}: {}, whose parameter sets are in the samples", track.codec);
                        findings.should("A1.10", what);
                    }
                }
                let sounds = init.tracks.iter().filter(|track| track.is_sound()).count();
                one_sound(&name, sounds, &mut findings);
            }
            Content::Ts(ts) => {
                segments += 1;
                if ts.streams.values().any(|stream| stream.kind == 0x24) {
                    findings.must("A1.5", format!("{name}: HEVC in a transport stream"));
                }
                let sounds = ts.streams.values().filter(|stream| stream.is_sound()).count();
                one_sound(&name, sounds, &mut findings);
            }
            Content::Vtt(_) | Content::Opaque => continue,
        }
        if let Some(seen) = &seen.probed {
            probed += 1;
            picture(&name, seen, &mut findings);
        }
    }
    findings.looked_at(segments, "segments");
    findings.looked_at(probed, "probed");
    if segments > 0 && probed == 0 {
        let why = observation.tools_missing.as_deref().unwrap_or("none could be probed");
        findings.looked_at(1, &format!("rule not checked (frame rate, interlacing): {why}"));
    }
    findings.verdict("no segment was downloaded")
}

fn one_sound(name: &str, sounds: usize, findings: &mut Findings) {
    if sounds > 1 {
        findings.must("A2.17", format!("{name}: {sounds} audio streams"));
    }
}

fn picture(name: &str, probed: &Probed, findings: &mut Findings) {
    for stream in probed.streams.iter().filter(|stream| stream.kind == "video") {
        if let Some((frames, seconds)) = stream.rate
            && frames > seconds.saturating_mul(60)
            // In a segment of one frame, the tool cannot measure the rate.
            && frames < seconds.saturating_mul(1_000)
        {
            findings.must("A1.19", format!("{name}: {frames}/{seconds} frames a second"));
        }
        if let Some(order) = stream.field_order.as_deref().filter(|order| matches!(*order, "tt" | "bb" | "tb" | "bt")) {
            findings.must("A1.14", format!("{name}: interlaced ({order})"));
        }
    }
}
