//! The media playlist of one rendition (RFC 8216bis 4.4.3 to 4.4.5): segments, and near the end their parts too. Pure.

use media::{RenditionId, Slot};

use super::common::{MapState, header, reports, skippable};
use super::tags::{Text, Version};
use crate::reload::Extent;
use crate::timeline::{Segment, part_micros};
use crate::{Listing, Settings};

/// Bytes to reserve for the header, for a segment, and for a part, a hint or a report.
const CAPACITY_BYTES: [usize; 3] = [512, 160, 96];

/// Renders the media playlist of a rendition; `None` when there is no such rendition, or no segment is complete yet.
///
/// The playlist exists from the first complete segment on: clients without support for parts refuse a playlist without segments. From
/// then on it lists each row as soon as the row is there.
pub fn media<'a>(listing: impl Into<Listing<'a>>, rendition: &RenditionId, extent: Extent) -> Option<String> {
    let listing: Listing<'_> = listing.into();
    let first = listing.listed().next()?;
    if !listing.has(rendition) {
        return None;
    }
    let skipped = match extent {
        Extent::Full => 0,
        Extent::Delta => skippable(&listing, rendition),
    };
    let in_parts = listed_whole(&listing, rendition);
    let mut text =
        Text::new(if skipped > 0 { Version::Skip } else { Version::Map }, capacity(&listing, skipped, in_parts));
    let settings = listing.timeline.settings();
    header(&mut text, &settings, first);
    text.part_inf(&settings);
    if skipped > 0 {
        text.skip(skipped);
    }
    let mut map = MapState::default();
    for (index, segment) in listing.segments().enumerate().skip(skipped) {
        map.write(&mut text, segment, rendition);
        if index >= in_parts {
            parts(&mut text, &settings, segment, rendition);
        }
        if segment.is_closed() {
            whole(&mut text, segment, rendition);
        }
    }
    finish(text, &listing, rendition)
}

/// The parts of a segment.
fn parts(text: &mut Text, settings: &Settings, segment: &Segment, rendition: &RenditionId) {
    for row in segment.rows() {
        let slot = Slot::Part { msn: segment.key.msn, part: row.part };
        let micros = part_micros(row.duration(rendition), settings.part_target_ms);
        text.part(micros, segment.key.epoch, slot, row.find(rendition));
    }
}

/// A complete segment. Only its end tells whether it is a gap, so EXT-X-GAP comes after the parts: playlists only grow (6.2.1).
fn whole(text: &mut Text, segment: &Segment, rendition: &RenditionId) {
    let summary = segment.summary(rendition);
    if summary.gap {
        text.gap();
    }
    text.duration(summary.duration);
    text.segment(segment.key.epoch, segment.key.msn);
}

/// Writes the lines after all segments.
fn finish(mut text: Text, listing: &Listing<'_>, rendition: &RenditionId) -> Option<String> {
    let timeline = listing.timeline;
    if let Some(hint) = timeline.hint() {
        text.preload_hint(&hint);
    }
    reports(&mut text, listing, (rendition, listing.files().media))?;
    if timeline.is_ended() {
        text.end_list();
    }
    Some(text.finish())
}

/// Number of segments at the front that are listed without parts: those that begin more than three target durations before the end
/// (4.4.4.9). Measured in parts, so that a segment does not move closer again when its sealed duration is known.
fn listed_whole(listing: &Listing<'_>, rendition: &RenditionId) -> usize {
    let Settings { target_duration_s, part_target_ms, .. } = listing.timeline.settings();
    let limit = u64::from(target_duration_s) * 3_000_000;
    let mut left = listing.segments_len();
    let mut distance = 0;
    for segment in listing.segments().rev() {
        distance += segment.rows().iter().map(|row| part_micros(row.duration(rendition), part_target_ms)).sum::<u64>();
        if distance > limit || segment.rows().is_empty() {
            break;
        }
        left -= 1;
    }
    left
}

fn capacity(listing: &Listing<'_>, skipped: usize, in_parts: usize) -> usize {
    let segments = listing.segments_len() - skipped;
    let parts: usize = listing.segments().skip(in_parts).map(|segment| segment.rows().len()).sum();
    let reports = listing.timeline.checkpoint().map_or(0, |checkpoint| checkpoint.renditions.len());
    let [header, segment, line] = CAPACITY_BYTES;
    header + segments * segment + (parts + 2 * reports) * line
}
