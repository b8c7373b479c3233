//! Row 13: dates of segments. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::us;
use crate::media::{Content, ticks};
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 13,
    name: "program date time: in every live playlist, unambiguous, consistent across renditions",
    rule: "D6.2.1, D6.2.4, A8.4, DB.1",
    level: Level::Must,
    judge,
};

/// Largest difference between a date and the date before plus EXTINF. Dates have milliseconds, and durations are rounded, too.
const DRIFT_US: i64 = 100_000;
/// Largest overlap that is allowed for clock drift (6.2.1).
const OVERLAP_US: i64 = 1_000_000;

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut playlists = 0;
    let dated =
        observation.versions().any(|(_, version)| version.playlist.segments.iter().any(|s| s.date_time.is_some()));
    for rendition in &observation.renditions {
        let mut known = BTreeMap::<u64, i64>::new();
        for version in &rendition.versions {
            playlists += 1;
            let playlist = &version.playlist;
            let has = playlist.numbered_with_open().any(|(_, segment)| segment.date_time.is_some());
            if !has && !playlist.segments.is_empty() && playlist.skip.is_none() {
                if !playlist.ended {
                    findings.must("A8.4", format!("{}: no EXT-X-PROGRAM-DATE-TIME", rendition.name));
                } else if dated {
                    findings.must("D6.2.4", format!("{}: no EXT-X-PROGRAM-DATE-TIME, others have it", rendition.name));
                }
            }
            within(rendition, playlist, &mut known, &mut findings);
        }
    }
    let pairs = across(observation, &mut findings);
    findings.looked_at(playlists, "playlists");
    findings.looked_at(pairs, "renditions compared by media time");
    findings.verdict("no playlist was loaded")
}

fn within(
    rendition: &RenditionSeen,
    playlist: &MediaPlaylist,
    known: &mut BTreeMap<u64, i64>,
    findings: &mut Findings,
) {
    let mut before: Option<(i64, Duration)> = None;
    for (msn, segment) in playlist.numbered_with_open() {
        let name = || format!("{} segment {msn} ({})", rendition.name, segment.uri);
        if segment.discontinuity && segment.date_time.is_none() && before.is_some() {
            findings.should("D6.2.1", format!("{}: a discontinuity without a date", name()));
        }
        if let Some(at) = segment.date_time {
            if let Some(earlier) = known.insert(msn, at)
                && earlier != at
            {
                findings.must("D6.2.1", format!("{}: its date moved by {}", name(), us(at - earlier)));
            }
            if let Some((date, duration)) = before {
                let expected = date.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
                let off = at.saturating_sub(expected);
                if off < -OVERLAP_US || at <= date {
                    findings.must("D6.2.1", format!("{}: overlaps the segment before by {}", name(), us(-off)));
                } else if off.abs() > DRIFT_US && !segment.discontinuity {
                    let what = format!("{}: {} off from the date before plus EXTINF", name(), us(off));
                    findings.must("D6.2.1", what);
                }
            }
        }
        let date = segment.date_time.or_else(|| {
            let (date, duration) = before?;
            (!segment.discontinuity).then(|| date + i64::try_from(duration.as_micros()).unwrap_or(0))
        });
        before = date.map(|date| (date, segment.duration));
    }
}

/// Checks that date minus media time is the same in all renditions, by discontinuity sequence number. Returns how many could be
/// compared.
fn across(observation: &Observation, findings: &mut Findings) -> usize {
    let mut mapping = BTreeMap::<u64, (i64, String)>::new();
    let mut compared = 0;
    for rendition in observation.regular() {
        let mut counted = false;
        for version in &rendition.versions {
            let dates = version.playlist.date_times();
            for (msn, number) in version.playlist.discontinuity_numbers() {
                let Some(offset) = dates.get(&msn).and_then(|date| Some(date - media_time(rendition, msn)?)) else {
                    continue;
                };
                if !std::mem::replace(&mut counted, true) {
                    compared += 1;
                }
                let (expected, of) = mapping.entry(number).or_insert_with(|| (offset, rendition.name.clone()));
                if (offset - *expected).abs() > DRIFT_US {
                    let what = format!(
                        "{} segment {msn}: date minus media time is {} off from {of}",
                        rendition.name,
                        us(offset - *expected)
                    );
                    findings.must("D6.2.4", what);
                }
            }
        }
    }
    compared
}

/// Media time of a segment's first sample, in microseconds; only for fMP4, whose times do not wrap.
fn media_time(rendition: &RenditionSeen, msn: u64) -> Option<i64> {
    let seen = rendition.segments.get(&msn)?;
    let Content::Fmp4(fragments) = &seen.fetch.as_ref()?.content else { return None };
    let (track, run) = fragments.main(rendition.init_of(seen)?)?;
    i64::try_from(ticks(run.start()?, track.timescale).as_micros()).ok()
}
