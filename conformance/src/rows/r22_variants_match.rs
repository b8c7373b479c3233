//! Row 22: renditions match one another, so that players can switch. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::{frame, s, us};
use crate::media::{Content, ticks};
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 22,
    name: "variants match: timestamps, boundaries, discontinuities, target, control, aspect ratio",
    rule: "D6.2.4, A8.2, A8.3, A8.22, A1.33",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    if observation.renditions.len() == 1 {
        return Verdict::not_applicable("there is one media playlist");
    }
    let mut findings = Findings::new();
    let playlists: Vec<_> = observation.lasts().collect();
    if let Some((first, reference)) = playlists.first() {
        for (rendition, playlist) in playlists.iter().skip(1) {
            constants((first, reference), (rendition, playlist), &mut findings);
        }
    }
    let regular: Vec<_> = observation.regular().collect();
    for (index, one) in regular.iter().enumerate() {
        for other in regular.iter().skip(index + 1) {
            timelines(observation, one, other, &mut findings);
        }
    }
    let boundaries = boundaries(observation, &regular, &mut findings);
    aspect_ratio(observation, &mut findings);
    findings.looked_at(playlists.len(), "media playlists");
    findings.looked_at(boundaries, "boundaries");
    findings.verdict("no playlist was loaded")
}

type Named<'a> = (&'a RenditionSeen, &'a MediaPlaylist);

fn constants(
    (first, reference): (&RenditionSeen, &MediaPlaylist),
    (rendition, playlist): Named<'_>,
    findings: &mut Findings,
) {
    let (one, other) = (&first.name, &rendition.name);
    let vod = playlist.playlist_type.as_deref() == Some("VOD") && rendition.is_iframes();
    if reference.target_duration != playlist.target_duration && !vod {
        let (a, b) = (reference.target_duration, playlist.target_duration);
        findings.must("D6.2.4", format!("EXT-X-TARGETDURATION: {one} {a:?}, {other} {b:?}"));
    }
    if reference.playlist_type != playlist.playlist_type {
        let (a, b) = (&reference.playlist_type, &playlist.playlist_type);
        findings.must("D6.2.4", format!("EXT-X-PLAYLIST-TYPE: {one} {a:?}, {other} {b:?}"));
    }
    let same = match (&reference.control, &playlist.control) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    if !same {
        let written = |playlist: &MediaPlaylist| {
            playlist.text.tags("EXT-X-SERVER-CONTROL").next().map_or("none".to_owned(), |(_, value)| value.to_owned())
        };
        let (a, b) = (written(reference), written(playlist));
        findings.must("D6.2.4", format!("EXT-X-SERVER-CONTROL: {one} {a}, {other} {b}"));
    }
}

/// Compares discontinuity sequence numbers and windows of two renditions, by date.
fn timelines(observation: &Observation, one: &RenditionSeen, other: &RenditionSeen, findings: &mut Findings) {
    let numbers = |rendition: &RenditionSeen| {
        let mut found = BTreeMap::<i64, u64>::new();
        for version in &rendition.versions {
            let numbers = version.playlist.discontinuity_numbers();
            for (msn, at) in version.playlist.date_times() {
                found.extend(numbers.get(&msn).map(|number| (at, *number)));
            }
        }
        found
    };
    const NEAR_US: i64 = 500_000;
    let theirs = numbers(other);
    for (at, number) in numbers(one) {
        let Some((_, their)) = theirs.range(at - NEAR_US..=at + NEAR_US).min_by_key(|(their, _)| (**their - at).abs())
        else {
            continue;
        };
        if *their != number {
            let what = format!("discontinuity sequence number: {} {number}, {} {their}", one.name, other.name);
            findings.must("D6.2.4", what);
            break;
        }
    }
    let (Some(a), Some(b)) = (one.last(), other.last()) else { return };
    let starts = |playlist: &MediaPlaylist| playlist.date_times().into_values().next();
    if let (Some(start), Some(their)) = (starts(a), starts(b)) {
        // The two were loaded up to a polling interval apart, in which a segment may have left.
        let allowed = a.target() * 2 + observation.slack + observation.interval;
        let allowed = i64::try_from(allowed.as_micros()).unwrap_or(i64::MAX);
        if (start - their).abs() > allowed {
            let what = format!("{} begins {} from where {} begins", one.name, us((start - their).abs()), other.name);
            findings.must("D6.2.4", what);
        }
    }
}

/// Checks that segments begin at the same media times in all renditions. Returns how many were compared.
fn boundaries(observation: &Observation, regular: &[&RenditionSeen], findings: &mut Findings) -> usize {
    let mut compared = 0;
    for (index, one) in regular.iter().enumerate() {
        let frame = frame(observation, one).max(Duration::from_millis(45)) + Duration::from_millis(1);
        for other in regular.iter().skip(index + 1) {
            let theirs = starts(other);
            // Times outside of what was seen of the other rendition do not count.
            let (Some(first), Some(last)) = (theirs.values().min(), theirs.values().max()) else { continue };
            for (msn, at) in starts(one).into_iter().filter(|(_, at)| at >= first && at <= last) {
                // Compare with the nearest start, because media sequence numbers may differ.
                let near = theirs.values().min_by_key(|their| their.abs_diff(at)).copied();
                let Some(near) = near.filter(|near| near.abs_diff(at) < Duration::from_secs(1)) else { continue };
                compared += 1;
                if near.abs_diff(at) > frame {
                    let what = format!(
                        "{} segment {msn} begins at {}, the nearest of {} at {}",
                        one.name,
                        s(at),
                        other.name,
                        s(near)
                    );
                    findings.should("A8.22", what);
                    break;
                }
            }
            let (mine, theirs) = (starts(one), theirs);
            let overlap =
                mine.values().next().zip(theirs.values().next_back()).is_some_and(|(first, last)| first <= last)
                    || theirs.values().next().zip(mine.values().next_back()).is_some_and(|(first, last)| first <= last);
            if !mine.is_empty() && !theirs.is_empty() && !overlap {
                findings
                    .must("D6.2.4", format!("media times of {} and {} have nothing in common", one.name, other.name));
            }
        }
    }
    compared
}

fn starts(rendition: &RenditionSeen) -> BTreeMap<u64, Duration> {
    let start = |(msn, seen): (&u64, &crate::observation::SegmentSeen)| {
        let at = match &seen.fetch.as_ref()?.content {
            Content::Fmp4(fragments) => {
                let (track, run) = fragments.main(rendition.init_of(seen)?)?;
                ticks(run.start()?, track.timescale)
            }
            Content::Ts(ts) => ticks(ts.main()?.pes.first()?.dts, 90_000),
            Content::Vtt(_) | Content::Opaque => return None,
        };
        Some((*msn, at))
    };
    rendition.segments.iter().filter_map(start).collect()
}

fn aspect_ratio(observation: &Observation, findings: &mut Findings) {
    let Some(multivariant) = &observation.multivariant else { return };
    let sizes: Vec<_> =
        multivariant.variants.iter().filter_map(|variant| Some((&variant.uri, variant.resolution()?))).collect();
    let Some((first, (width, height))) = sizes.first().copied() else { return };
    for (uri, (w, h)) in &sizes {
        // Sizes are rounded to even numbers of pixels, so that ratios differ a little.
        let (a, b) = (width.saturating_mul(*h), height.saturating_mul(*w));
        if a.abs_diff(b) > a / 50 {
            findings.should("A1.33", format!("{first} is {width}x{height}, {uri} is {w}x{h}"));
        }
    }
}
