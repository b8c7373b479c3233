//! The I-frame playlist of a video rendition (RFC 8216bis 4.4.3.6), for scrubbing: the first picture of each segment. Pure.

use media::RenditionId;

use super::common::{MapState, has_iframes, header, reports, skippable};
use super::tags::{Text, Version};
use crate::Listing;
use crate::reload::Extent;

/// Bytes to reserve for the header and the reports, and for each segment.
const CAPACITY_BYTES: [usize; 2] = [1_536, 192];

/// Renders the I-frame playlist of a rendition; `None` when there is no such rendition, it has no video, or no segment is complete
/// yet.
///
/// It lists the complete segments of the media playlist, in the same places. A segment without a first picture, or with one of unknown
/// length, is a gap.
pub fn iframes<'a>(listing: impl Into<Listing<'a>>, rendition: &RenditionId, extent: Extent) -> Option<String> {
    let listing: Listing<'_> = listing.into();
    let timeline = listing.timeline;
    let first = listing.listed().next()?;
    if !has_iframes(&listing, rendition) {
        return None;
    }
    let skipped = match extent {
        Extent::Full => 0,
        Extent::Delta => skippable(&listing, rendition),
    };
    let [header_bytes, segment_bytes] = CAPACITY_BYTES;
    let version = if skipped > 0 { Version::Skip } else { Version::IFrames };
    let mut text = Text::new(version, header_bytes + (listing.listed_len() - skipped) * segment_bytes);
    header(&mut text, &timeline.settings(), first);
    text.i_frames_only();
    if skipped > 0 {
        text.skip(skipped);
    }
    let mut map = MapState::default();
    for segment in listing.listed().skip(skipped) {
        map.write(&mut text, segment, rendition);
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
    reports(&mut text, &listing, (rendition, listing.files().iframes))?;
    if timeline.is_ended() {
        text.end_list();
    }
    Some(text.finish())
}
