//! Format of the publisher's video. Pure.

use bytes::Bytes;
use media::{av1, avc, hevc};
use rtmp::flv::VideoCodec;

/// Parameter sets of the publisher's video. H.264 may be passed through; the others are decoded and encoded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoFormat {
    /// H.264, with length prefixes.
    Avc(avc::DecoderConfig),
    /// HEVC, with length prefixes.
    Hevc(hevc::DecoderConfig),
    /// AV1, in temporal units.
    Av1(av1::DecoderConfig),
}

impl VideoFormat {
    /// The codec, as FLV names it.
    pub const fn codec(&self) -> VideoCodec {
        match self {
            Self::Avc(_) => VideoCodec::Avc,
            Self::Hevc(_) => VideoCodec::Hevc,
            Self::Av1(_) => VideoCodec::Av1,
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        match self {
            Self::Avc(config) => config.width(),
            Self::Hevc(config) => config.width(),
            Self::Av1(config) => config.width(),
        }
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        match self {
            Self::Avc(config) => config.height(),
            Self::Hevc(config) => config.height(),
            Self::Av1(config) => config.height(),
        }
    }

    /// Frames per 1000 s, if the parameter sets state them.
    pub fn frame_rate_millihertz(&self) -> Option<u32> {
        self.avc().and_then(avc::DecoderConfig::frame_rate_millihertz)
    }

    /// Codec as in the CODECS attribute (RFC 6381).
    pub fn codec_string(&self) -> String {
        match self {
            Self::Avc(config) => config.codec_string(),
            Self::Hevc(config) => config.codec_string(),
            Self::Av1(config) => config.codec_string(),
        }
    }

    /// Whether decoding can begin with a sample.
    pub fn is_sync(&self, sample: &[u8]) -> bool {
        match self {
            Self::Avc(config) => config.is_idr(sample),
            Self::Hevc(config) => config.is_sync(sample),
            Self::Av1(config) => config.is_sync(sample),
        }
    }

    /// The decoder configuration record.
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Avc(config) => config.encode(),
            Self::Hevc(config) => config.encode(),
            Self::Av1(config) => config.encode(),
        }
    }

    /// The parameter sets of H.264, the only codec that may be passed through.
    pub(super) const fn avc(&self) -> Option<&avc::DecoderConfig> {
        if let Self::Avc(config) = self { Some(config) } else { None }
    }
}
