//! The media playlist of one rendition (RFC 8216bis 4.4.3 to 4.4.5): segments, and near the end their parts too. Pure.

use media::{Epoch, MediaSequence, PartIndex, RenditionId, Slot};

use super::iframes;
use super::tags::{Text, Version};
use crate::timeline::{Segment, extinf_micros, part_micros};
use crate::{Listing, Settings, Timeline};

/// How much of a playlist the client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    #[default]
    Full,
    /// A playlist delta update (6.2.5.1): without the segments older than the skip boundary; the full playlist when there are none.
    Delta,
}

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
    let mut place = Place::default();
    for (index, segment) in listing.segments().enumerate().skip(skipped) {
        place.write(&mut text, segment, rendition);
        if index >= in_parts {
            parts(&mut text, &settings, segment, rendition);
        }
        if segment.is_closed() {
            whole(&mut text, segment, rendition);
        }
    }
    finish(text, &listing, rendition)
}

/// The head of every playlist of a stream: constant while the stream lives, except for the two counters (6.2.1).
/// EXT-X-SERVER-CONTROL is the same in all playlists (6.2.4).
pub(super) fn header(text: &mut Text, settings: &Settings, first: &Segment) {
    text.target_duration(settings.target_duration_s);
    text.server_control(settings);
    text.media_sequence(first.key.msn);
    text.discontinuity_sequence(first.discontinuity.0.saturating_sub(u64::from(first.after_break)));
}

/// The epoch whose init segment applies at the current line. A delta update repeats EXT-X-MAP for the first segment after the skipped
/// ones. A client may take it from the skipped segments (6.2.5.1), but Shaka 5 does not, and plays one rendition with another's init
/// segment.
#[derive(Debug, Default)]
pub(super) struct Place(Option<Epoch>);

impl Place {
    /// Writes the tags that apply to a segment and to all its parts, and so come before both (4.4.4.9). EXT-X-MAP applies until the next
    /// one (4.4.4.5), and so to gaps too. Each epoch states its own, even when it lacks the rendition, so that the EXT-X-MAP of a segment
    /// does not change when earlier segments leave (6.2.1).
    pub(super) fn write(&mut self, text: &mut Text, segment: &Segment, rendition: &RenditionId) {
        let epoch = segment.key.epoch;
        if segment.after_break {
            text.discontinuity();
        }
        if self.0 != Some(epoch) {
            text.map(epoch);
            self.0 = Some(epoch);
        }
        text.program_date_time(segment.program_date_time(rendition));
    }
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

/// Writes a rendition report of every playlist except this one, `own` (B.1). I-frame playlists have no parts: a report names their last
/// segment.
pub(super) fn reports(text: &mut Text, listing: &Listing<'_>, own: (&RenditionId, &str)) -> Option<()> {
    let files = listing.files();
    let ((msn, part), whole) = (last_part(listing.timeline)?, listing.listed().next_back()?.key.msn);
    for rendition in listing.renditions() {
        if own != (rendition, files.media) {
            text.rendition_report(rendition, files.media, msn, Some(part));
        }
        if own != (rendition, files.iframes) && iframes::exist(listing, rendition) {
            text.rendition_report(rendition, files.iframes, whole, None);
        }
    }
    Some(())
}

/// The last part, the same in all renditions (LAST-MSN and LAST-PART, 4.4.5.4).
fn last_part(timeline: &Timeline) -> Option<(MediaSequence, PartIndex)> {
    let newest = timeline.segments().next_back()?;
    Some((newest.key.msn, PartIndex(newest.parts().saturating_sub(1))))
}

/// Number of segments further from the end of the last segment than the skip boundary (4.4.3.8): those that end before it. 0 once the
/// stream has ended, when there are no delta updates (6.2.5.1).
pub(super) fn skippable(listing: &Listing<'_>, rendition: &RenditionId) -> usize {
    if listing.timeline.is_ended() {
        return 0;
    }
    let boundary = u64::from(listing.timeline.settings().target_duration_s) * 6_000_000;
    let mut left = listing.listed_len();
    let mut distance = 0;
    for segment in listing.listed().rev() {
        if distance >= boundary {
            break;
        }
        distance += extinf_micros(segment.summary(rendition).duration);
        left -= 1;
    }
    left
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
