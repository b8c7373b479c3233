//! The multivariant playlist (RFC 8216bis 4.4.6), from the newest checkpoint. Pure.

use media::{BitsPerSecond, Format, Track};

use super::tags::{First, Text, Variant, Version};
use crate::Timeline;

/// GROUP-ID of the sound renditions.
const AUDIO_GROUP: &str = "audio";

/// Renders the multivariant playlist; `None` until there is a segment to list.
///
/// A variant is a picture rendition with the sound, or, where there is no picture, a sound rendition. Renditions whose newest
/// segment is a gap are left out, unless all are. Highest bandwidth first.
pub fn multivariant(timeline: &Timeline) -> Option<String> {
    let newest = timeline.listed().next_back()?;
    let tracks: Vec<&Track> = timeline.checkpoint()?.renditions.iter().map(|rendition| &rendition.track).collect();
    let flowing = |track: &&Track| !newest.summary(&track.rendition).gap;
    let (video, audio): (Vec<&Track>, Vec<&Track>) = if tracks.iter().any(flowing) {
        tracks.into_iter().filter(flowing).partition(|track| track.format.is_video())
    } else {
        tracks.into_iter().partition(|track| track.format.is_video())
    };
    let mut text = Text::new(Version::Map, 1_024);
    let (mut main, sound): (Vec<&Track>, &[&Track]) = if video.is_empty() { (audio, &[]) } else { (video, &audio) };
    main.sort_by(|a, b| b.bandwidth_peak.cmp(&a.bandwidth_peak).then_with(|| a.rendition.cmp(&b.rendition)));
    for (index, track) in sound.iter().enumerate() {
        if let Format::Audio { channels, .. } = track.format {
            let first = if index == 0 { First::Yes } else { First::No };
            text.audio(AUDIO_GROUP, &track.rendition, channels, first);
        }
    }
    for track in main {
        text.variant(&variant(track, sound));
    }
    Some(text.finish())
}

/// BANDWIDTH and AVERAGE-BANDWIDTH are those of the picture plus the most demanding sound (4.4.6.2); CODECS has every format.
fn variant<'a>(track: &'a Track, sound: &[&Track]) -> Variant<'a> {
    let most = |rate: fn(&Track) -> BitsPerSecond| sound.iter().map(|track| rate(track).0).max().unwrap_or(0);
    let mut codecs = vec![track.codec.as_str()];
    for other in sound {
        if !codecs.contains(&other.codec.as_str()) {
            codecs.push(&other.codec);
        }
    }
    Variant {
        rendition: &track.rendition,
        peak: BitsPerSecond(track.bandwidth_peak.0.saturating_add(most(|track| track.bandwidth_peak))),
        mean: BitsPerSecond(track.bandwidth_mean.0.saturating_add(most(|track| track.bandwidth_mean))),
        codecs: codecs.join(","),
        picture: match track.format {
            Format::Video { width, height, frame_rate_millihertz } => Some((width, height, frame_rate_millihertz)),
            Format::Audio { .. } => None,
        },
        audio_group: (!sound.is_empty()).then_some(AUDIO_GROUP),
    }
}
