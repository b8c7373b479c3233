//! The media playlist of one rendition (RFC 8216bis 4.4.3 and 4.4.4). Pure.

use media::RenditionId;

use super::tags::Text;
use crate::Timeline;

/// Renders the media playlist of a rendition; `None` when there is no such rendition, or nothing to list yet.
///
/// Segments are listed whole; the parts that the timeline knows are not rendered.
pub fn media(timeline: &Timeline, rendition: &RenditionId) -> Option<String> {
    let first = timeline.listed().next()?;
    if !timeline.renditions().contains(rendition) {
        return None;
    }
    let mut text = Text::new();
    text.target_duration(timeline.settings().target_duration_s);
    text.media_sequence(first.key.msn);
    text.discontinuity_sequence(first.discontinuity.0.saturating_sub(u64::from(first.after_break)));
    let mut mapped = None;
    for segment in timeline.listed() {
        let epoch = segment.key.epoch;
        if segment.after_break {
            text.discontinuity();
        }
        if segment.has(rendition) && mapped != Some(epoch) {
            text.map(epoch);
            mapped = Some(epoch);
        }
        text.program_date_time(segment.program_date_time());
        let summary = segment.summary(rendition);
        if summary.gap {
            text.gap();
        }
        text.segment(summary.duration, epoch, segment.key.msn);
    }
    if timeline.is_ended() {
        text.end_list();
    }
    Some(text.finish())
}
