//! The multivariant playlist (RFC 8216bis 4.4.6), from the newest checkpoint. Pure.

use media::{BitsPerSecond, Format, Track};

use super::tags::{First, IFrames, Text, Variant, Version};
use crate::Listing;
use crate::timeline::micros;

/// GROUP-ID of the sound renditions.
const AUDIO_GROUP: &str = "audio";

/// Players that know nothing of the network start with the variant that stands first: it should be the one of about 2 Mbit/s (HLS
/// authoring specification for Apple devices, default variants).
const START_BITS_PER_SECOND: u64 = 2_000_000;

/// Renders the multivariant playlist; `None` until there is a segment to list.
///
/// A variant is a picture rendition with the sound, or, where there is no picture, a sound rendition. Renditions whose newest
/// segment is a gap are left out, unless all are. The one to start with stands first, then the highest bandwidth.
pub fn multivariant<'a>(listing: impl Into<Listing<'a>>) -> Option<String> {
    let listing: Listing<'_> = listing.into();
    let (timeline, files) = (listing.timeline, listing.files());
    let newest = timeline.listed().next_back()?;
    let tracks: Vec<&Track> = timeline.checkpoint()?.renditions.iter().map(|rendition| &rendition.track).collect();
    let flowing = |track: &&Track| !newest.summary(&track.rendition).gap;
    let (video, audio): (Vec<&Track>, Vec<&Track>) = if tracks.iter().any(flowing) {
        tracks.into_iter().filter(flowing).partition(|track| track.format.is_video())
    } else {
        tracks.into_iter().partition(|track| track.format.is_video())
    };
    let mut text = Text::new(Version::Map, 1_024);
    text.independent_segments();
    let (mut main, sound): (Vec<&Track>, &[&Track]) = if video.is_empty() { (audio, &[]) } else { (video, &audio) };
    main.sort_by(|a, b| b.bandwidth_peak.cmp(&a.bandwidth_peak).then_with(|| a.rendition.cmp(&b.rendition)));
    let start = main.iter().map(|track| track.bandwidth_mean.0.abs_diff(START_BITS_PER_SECOND)).enumerate();
    if let Some((start, _)) = start.min_by_key(|(_, apart)| *apart) {
        main[..=start].rotate_right(1);
    }
    for (index, track) in sound.iter().enumerate() {
        if let Format::Audio { channels, .. } = track.format {
            let first = if index == 0 { First::Yes } else { First::No };
            text.audio((AUDIO_GROUP, first), &track.rendition, channels, files);
        }
    }
    for track in &main {
        text.variant(&variant(track, sound), files);
    }
    for i_frames in main.iter().filter_map(|track| i_frames(&listing, track)) {
        text.i_frames(&i_frames, files);
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
        picture: picture(track),
        audio_group: (!sound.is_empty()).then_some(AUDIO_GROUP),
    }
}

/// Width, height, frames per 1000 seconds.
fn picture(track: &Track) -> Option<(u32, u32, u32)> {
    match track.format {
        Format::Video { width, height, frame_rate_millihertz } => Some((width, height, frame_rate_millihertz)),
        Format::Audio { .. } => None,
    }
}

/// What the I-frame playlist of a rendition needs (4.4.6.3), as the window shows it; `None` where it has none to list.
fn i_frames<'a>(listing: &Listing<'_>, track: &'a Track) -> Option<IFrames<'a>> {
    let (width, height, _) = picture(track)?;
    let (mut peak, mut bits, mut duration) = (None, 0_u64, 0_u64);
    for summary in listing.listed().map(|segment| segment.summary(&track.rendition)).filter(|summary| !summary.gap) {
        let Some(length) = summary.sync_length else { continue };
        let (segment_bits, segment_duration) = (length.saturating_mul(8), micros(summary.duration).max(1));
        peak = peak.max(Some(per_second(segment_bits, segment_duration)));
        (bits, duration) = (bits.saturating_add(segment_bits), duration.saturating_add(segment_duration));
    }
    let (peak, mean) = (peak?, per_second(bits, duration));
    Some(IFrames { rendition: &track.rendition, peak, mean, codec: &track.codec, size: (width, height) })
}

/// Rounded up, so that what is stated is never exceeded.
fn per_second(bits: u64, micros: u64) -> BitsPerSecond {
    BitsPerSecond(bits.saturating_mul(1_000_000).div_ceil(micros))
}
