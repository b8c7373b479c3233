//! The multivariant playlist (RFC 8216bis 4.4.6), from the newest checkpoint, with or without content steering. Pure.

use media::{BitsPerSecond, Format, Track};

use super::steering::{Pathway, Steering};
use super::tags::{First, IFrames, Text, Variant, Version};
use crate::Listing;
use crate::timeline::micros;

/// GROUP-ID of the audio renditions; with content steering, the pathway's name follows it.
const AUDIO_GROUP: &str = "audio";

/// Mean bit rate of the variant to list first. Players that do not know the network yet start with the first variant, which should have
/// about 2 Mbit/s (HLS authoring specification for Apple devices, default variants).
const START_BITS_PER_SECOND: u64 = 2_000_000;

/// Renders the multivariant playlist; `None` until there is a segment to list.
///
/// A variant is a video rendition with the audio renditions, or, without video, an audio rendition. It leaves out renditions whose
/// newest segment is a gap, unless all are gaps. The variant to start with comes first, then the others by falling bandwidth.
pub fn multivariant<'a>(listing: impl Into<Listing<'a>>) -> Option<String> {
    render(listing.into(), None)
}

/// The same, once for each pathway. The stable names of variants and renditions are the same on all pathways: the rendition's name, and
/// for its I-frame playlist that name with `-iframes` appended.
pub fn steered<'a>(listing: impl Into<Listing<'a>>, steering: &Steering) -> Option<String> {
    render(listing.into(), Some(steering))
}

fn render(listing: Listing<'_>, steering: Option<&Steering>) -> Option<String> {
    let (main, sound) = selection(&listing)?;
    let mut text = Text::new(Version::Map, 1_024);
    text.independent_segments();
    match steering {
        None => one_way(&mut text, &listing, (&main, &sound), None),
        Some(steering) => {
            text.content_steering(&steering.server_uri, steering.pathways.first()?);
            for pathway in &steering.pathways {
                one_way(&mut text, &listing, (&main, &sound), Some(pathway));
            }
        }
    }
    Some(text.finish())
}

/// The main track of each variant, the one to start with first, and the audio that goes with all.
fn selection<'a>(listing: &Listing<'a>) -> Option<(Vec<&'a Track>, Vec<&'a Track>)> {
    let timeline = listing.timeline;
    let newest = timeline.listed().next_back()?;
    let tracks: Vec<&Track> = timeline.checkpoint()?.renditions.iter().map(|rendition| &rendition.track).collect();
    let flowing = |track: &&Track| !newest.summary(&track.rendition).gap;
    let (video, audio): (Vec<&Track>, Vec<&Track>) = if tracks.iter().any(flowing) {
        tracks.into_iter().filter(flowing).partition(|track| track.format.is_video())
    } else {
        tracks.into_iter().partition(|track| track.format.is_video())
    };
    let (mut main, sound) = if video.is_empty() { (audio, Vec::new()) } else { (video, audio) };
    main.sort_by(|a, b| b.bandwidth_peak.cmp(&a.bandwidth_peak).then_with(|| a.rendition.cmp(&b.rendition)));
    let start = main.iter().map(|track| track.bandwidth_mean.0.abs_diff(START_BITS_PER_SECOND)).enumerate();
    if let Some((start, _)) = start.min_by_key(|(_, apart)| *apart) {
        main[..=start].rotate_right(1);
    }
    Some((main, sound))
}

/// Writes all renditions and variants of one pathway.
fn one_way(text: &mut Text, listing: &Listing<'_>, (main, sound): (&[&Track], &[&Track]), way: Option<&Pathway>) {
    let files = listing.files();
    let group = way.map_or_else(|| AUDIO_GROUP.to_owned(), |pathway| format!("{AUDIO_GROUP}-{}", pathway.id));
    for (index, track) in sound.iter().enumerate() {
        if let Format::Audio { channels, .. } = track.format {
            let first = if index == 0 { First::Yes } else { First::No };
            text.audio((&group, first), (&track.rendition, channels), files, way);
        }
    }
    for track in main {
        text.variant(&variant(track, sound, &group), files, way);
    }
    for i_frames in main.iter().filter_map(|track| i_frames(listing, track)) {
        text.i_frames(&i_frames, files, way);
    }
}

/// BANDWIDTH and AVERAGE-BANDWIDTH are the video's plus the highest of the audio (4.4.6.2); CODECS has every format.
fn variant<'a>(track: &'a Track, sound: &[&Track], group: &'a str) -> Variant<'a> {
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
        audio_group: (!sound.is_empty()).then_some(group),
    }
}

/// Width, height, frames per 1000 seconds.
fn picture(track: &Track) -> Option<(u32, u32, u32)> {
    match track.format {
        Format::Video { width, height, frame_rate_millihertz } => Some((width, height, frame_rate_millihertz)),
        Format::Audio { .. } => None,
    }
}

/// EXT-X-I-FRAME-STREAM-INF of a rendition (4.4.6.3), measured over the listed segments; `None` when they have no I-frame.
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

/// Bits per second, rounded up so that the stream never exceeds the stated rate.
fn per_second(bits: u64, micros: u64) -> BitsPerSecond {
    BitsPerSecond(bits.saturating_mul(1_000_000).div_ceil(micros))
}
