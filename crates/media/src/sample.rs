//! Samples and the tracks they belong to: the input of the packager. Pure.

use bytes::Bytes;

use crate::{Format, Timescale, Timestamp, aac, avc};

/// One access unit or audio frame, as it goes into a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Presentation time.
    pub pts: Timestamp,
    /// Decode time; the samples of a rendition come in decode order.
    pub dts: Timestamp,
    /// Duration of the sample. For video only a hint, which counts for the last sample of a session: the decode time of the next sample
    /// decides otherwise.
    pub duration: Timestamp,
    /// The sample can be decoded without any sample before it (for H.264: IDR).
    pub sync: bool,
    /// H.264 with length prefixes (ISO/IEC 14496-15), or one raw AAC frame.
    pub data: Bytes,
}

/// The content of a track, as far as its init segment describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackConfig {
    /// H.264.
    Video {
        /// Parameter sets.
        avc: avc::DecoderConfig,
        /// Timescale of the track, usually [`Timescale::VIDEO`].
        timescale: Timescale,
        /// Frames per 1000 seconds; 0 when not known.
        frame_rate_millihertz: u32,
    },
    /// AAC. The timescale is the sample rate.
    Audio {
        /// Decoder configuration.
        aac: aac::AudioSpecificConfig,
    },
}

impl TrackConfig {
    /// Timescale of all times of the track.
    pub fn timescale(&self) -> Timescale {
        match self {
            Self::Video { timescale, .. } => *timescale,
            Self::Audio { aac } => aac.timescale(),
        }
    }

    /// Codec as in the CODECS attribute (RFC 6381).
    pub fn codec_string(&self) -> String {
        match self {
            Self::Video { avc, .. } => avc.codec_string(),
            Self::Audio { aac } => aac.codec_string(),
        }
    }

    /// Picture or sound format, as the checkpoint states it.
    pub fn format(&self) -> Format {
        match self {
            Self::Video { avc, frame_rate_millihertz, .. } => Format::Video {
                width: avc.width(),
                height: avc.height(),
                frame_rate_millihertz: *frame_rate_millihertz,
            },
            Self::Audio { aac } => {
                Format::Audio { sample_rate_hz: aac.output_sample_rate_hz(), channels: aac.channels() }
            }
        }
    }

    /// Whether the track is video.
    pub const fn is_video(&self) -> bool {
        matches!(self, Self::Video { .. })
    }
}
