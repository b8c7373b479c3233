//! What media playlists and I-frame playlists have in common. Pure.

use media::{Epoch, MediaSequence, PartIndex, RenditionId};

use super::tags::Text;
use crate::timeline::{Segment, extinf_micros};
use crate::{Listing, Settings, Timeline};

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
pub(super) struct MapState(Option<Epoch>);

impl MapState {
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

/// Writes a rendition report of every playlist except this one, `own` (B.1). I-frame playlists have no parts: a report names their last
/// segment.
pub(super) fn reports(text: &mut Text, listing: &Listing<'_>, own: (&RenditionId, &str)) -> Option<()> {
    let files = listing.files();
    let ((msn, part), whole) = (last_part(listing.timeline)?, listing.listed().next_back()?.key.msn);
    for rendition in listing.renditions() {
        if own != (rendition, files.media) {
            text.rendition_report(rendition, files.media, msn, Some(part));
        }
        if own != (rendition, files.iframes) && has_iframes(listing, rendition) {
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

/// Whether a rendition has an I-frame playlist: it is video now, or was in a segment that is still listed.
pub(super) fn has_iframes(listing: &Listing<'_>, rendition: &RenditionId) -> bool {
    let is_shown = || listing.listed().any(|segment| segment.summary(rendition).sync_length.is_some());
    listing.timeline.states_pictures(rendition) || is_shown()
}
