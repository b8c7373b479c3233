//! Row 25: BANDWIDTH and AVERAGE-BANDWIDTH match the media. Pure.

use std::time::Duration;

use crate::observation::{Observation, RenditionSeen, Role};
use crate::playlist::Multivariant;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 25,
    name: "bandwidth: peak below 125 % of BANDWIDTH, average below 110 % (live); 10 % (VOD)",
    rule: "A1.26-1.29, D4.1",
    level: Level::Must,
    judge,
};

/// An average over less than this means little; Apple's rule is about an hour.
const LONG: Duration = Duration::from_secs(20 * 60);

/// Bits per second.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    peak: u64,
    average: u64,
}

fn judge(observation: &Observation) -> Verdict {
    let Some(multivariant) = &observation.multivariant else {
        return Verdict::not_applicable("there is no multivariant playlist");
    };
    let mut findings = Findings::new();
    let mut measured = 0;
    for (index, variant) in multivariant.variants.iter().enumerate() {
        let role = if variant.iframes { Role::Iframes(index) } else { Role::Variant(index) };
        let Some(own) = observation.renditions.iter().find(|seen| seen.roles.contains(&role)).and_then(rate) else {
            continue;
        };
        let sound = if variant.iframes { Rate::default() } else { of_group(observation, multivariant, index) };
        measured += 1;
        let rate =
            Rate { peak: own.peak.saturating_add(sound.peak), average: own.average.saturating_add(sound.average) };
        let name = format!("line {} ({})", variant.line, variant.uri);
        let vod = !observation.is_live();
        if let Some(stated) = variant.bandwidth() {
            peak(&name, stated, rate.peak, vod && !variant.iframes, &mut findings);
        }
        if let Some(stated) = variant.average_bandwidth() {
            average(&name, stated, rate.average, vod && !variant.iframes, observation.lasted, &mut findings);
        }
    }
    findings.looked_at(measured, "variants measured");
    findings.verdict("no variant could be measured: too few segments side by side were downloaded")
}

fn peak(name: &str, stated: u64, measured: u64, vod: bool, findings: &mut Findings) {
    if vod && stated.abs_diff(measured) > stated / 10 {
        findings.must("A1.27", format!("{name}: BANDWIDTH {stated}, measured peak {measured} bit/s"));
    }
    if !vod && measured.saturating_mul(100) >= stated.saturating_mul(125) {
        findings.must(
            "A1.29",
            format!("{name}: BANDWIDTH {stated}, measured peak {measured} bit/s, {} %", percent(measured, stated)),
        );
    }
}

fn average(name: &str, stated: u64, measured: u64, vod: bool, lasted: Duration, findings: &mut Findings) {
    if vod && stated.abs_diff(measured) > stated / 10 {
        findings.must("A1.26", format!("{name}: AVERAGE-BANDWIDTH {stated}, measured {measured} bit/s"));
    }
    if !vod && measured.saturating_mul(100) >= stated.saturating_mul(110) {
        let what =
            format!("{name}: AVERAGE-BANDWIDTH {stated}, measured {measured} bit/s, {} %", percent(measured, stated));
        if lasted >= LONG {
            findings.must("A1.28", what);
        } else {
            findings.should("A1.28", format!("{what}, over {} s only", lasted.as_secs()));
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(u64::MAX)
}

/// The highest rate of a rendition in the variant's audio group.
fn of_group(observation: &Observation, multivariant: &Multivariant, index: usize) -> Rate {
    let group = multivariant.variants.get(index).and_then(|variant| variant.attributes.quoted("AUDIO"));
    let members = observation.renditions.iter().filter(|rendition| {
        rendition.roles.iter().any(|role| match role {
            Role::Media(of) => multivariant
                .renditions
                .get(*of)
                .is_some_and(|media| media.kind() == "AUDIO" && Some(media.group()) == group),
            _ => false,
        })
    });
    members.filter_map(rate).fold(Rate::default(), |most, rate| Rate {
        peak: most.peak.max(rate.peak),
        average: most.average.max(rate.average),
    })
}

/// Peak and average segment bit rate (4.1) of the segments that were downloaded.
fn rate(rendition: &RenditionSeen) -> Option<Rate> {
    let target = rendition.last()?.target();
    let sizes: Vec<(u64, u64, Duration)> = rendition
        .segments
        .iter()
        .filter_map(|(msn, seen)| {
            let answer = &seen.fetch.as_ref().filter(|fetch| fetch.answer.is_whole())?.answer;
            Some((*msn, answer.length.saturating_mul(8), seen.tags.duration))
        })
        .collect();
    let mut peak = 0;
    for start in 0..sizes.len() {
        let (mut bits, mut span) = (0_u64, Duration::ZERO);
        let mut next = None;
        for (msn, size, duration) in sizes.iter().skip(start) {
            if next.is_some_and(|next| next != *msn) {
                break;
            }
            next = Some(msn + 1);
            bits = bits.saturating_add(*size);
            span += *duration;
            if span > target * 3 / 2 + Duration::from_millis(500) {
                break;
            }
            if span >= target / 2 {
                peak = peak.max(per_second(bits, span));
            }
        }
    }
    let bits = sizes.iter().map(|(_, bits, _)| *bits).fold(0, u64::saturating_add);
    let span: Duration = sizes.iter().map(|(_, _, span)| *span).sum();
    (peak > 0).then(|| Rate { peak, average: per_second(bits, span) })
}

fn per_second(bits: u64, span: Duration) -> u64 {
    let rate = u128::from(bits) * 1_000_000_000 / span.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
