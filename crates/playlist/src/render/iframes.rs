//! The I-frame playlist of a picture rendition (RFC 8216bis 4.4.3.6), for scrubbing: the first picture of each segment. Pure.

use media::RenditionId;

use super::media::{Place, header};
use super::tags::{Text, Version};
use crate::Listing;

/// Bytes to set aside for the header, and for a segment.
const CAPACITY_BYTES: [usize; 2] = [512, 192];

/// Renders the I-frame playlist of a rendition; `None` when there is no such rendition, it has no pictures, or no segment is complete
/// yet.
///
/// It lists what the media playlist lists as complete, in the same places. A segment whose first picture is not there, or not known,
/// is a gap.
pub fn iframes<'a>(listing: impl Into<Listing<'a>>, rendition: &RenditionId) -> Option<String> {
    let listing: Listing<'_> = listing.into();
    let timeline = listing.timeline;
    let first = listing.listed().next()?;
    let is_shown = || listing.listed().any(|segment| segment.summary(rendition).sync_length.is_some());
    if !timeline.states_pictures(rendition) && !is_shown() {
        return None;
    }
    let [header_bytes, segment_bytes] = CAPACITY_BYTES;
    let mut text = Text::new(Version::IFrames, header_bytes + listing.listed_len() * segment_bytes);
    header(&mut text, &timeline.settings(), first);
    text.i_frames_only();
    let mut place = Place::default();
    for segment in listing.listed() {
        place.write(&mut text, segment, rendition);
        let summary = segment.summary(rendition);
        let picture = summary.sync_length.filter(|_| !summary.gap);
        if picture.is_none() {
            text.gap();
        }
        text.duration(summary.duration);
        if let Some(length) = picture {
            text.byte_range(length);
        }
        text.segment(segment.key.epoch, segment.key.msn);
    }
    if timeline.is_ended() {
        text.end_list();
    }
    Some(text.finish())
}
