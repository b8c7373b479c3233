//! Description of a rendition: codec and video or audio format, as the multivariant playlist states them. Pure.

use serde::{Deserialize, Serialize};

use crate::{BitsPerSecond, RenditionId, Timescale};

/// Description of a rendition's content, taken from what the encoder really produced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track {
    pub rendition: RenditionId,
    /// Codec as in the CODECS attribute (RFC 6381), such as `avc1.64001f` or `mp4a.40.2`.
    pub codec: String,
    /// Timescale of all its timestamps.
    pub timescale: Timescale,
    pub format: Format,
    /// Largest bit rate of a segment of this session so far; before the first segment the encoder's configured maximum.
    pub bandwidth_peak: BitsPerSecond,
    /// Mean bit rate of all segments of this session so far; before the first segment the encoder's target.
    pub bandwidth_mean: BitsPerSecond,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Format {
    Video {
        /// Width in pixels, 1 to 16384.
        width: u32,
        /// Height in pixels, 1 to 16384.
        height: u32,
        /// Frames per 1000 seconds: 29970 is 29.97 frames a second. 0 when not known.
        frame_rate_millihertz: u32,
    },
    Audio {
        /// Samples per second and channel.
        sample_rate_hz: u32,
        /// Channels, 1 to 8.
        channels: u8,
    },
}

impl Format {
    /// Whether the format is video.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::Video { .. })
    }
}
