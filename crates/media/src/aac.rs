//! AAC: decoder configuration and silence. Pure.

use bytes::Bytes;

use crate::{Error, Timescale};

/// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioSpecificConfig {}

impl AudioSpecificConfig {
    /// Reads an AudioSpecificConfig, as in RTMP's AAC sequence header or an encoder's extradata.
    pub fn parse(_bytes: &[u8]) -> Result<Self, Error> {
        todo!()
    }
    /// AAC-LC, 1024 samples a frame.
    pub fn low_complexity(_sample_rate_hz: u32, _channels: u8) -> Result<Self, Error> {
        todo!()
    }
    /// The bytes, as they were parsed.
    pub fn encode(&self) -> Bytes {
        todo!()
    }
    /// Audio object type: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub fn object_type(&self) -> u8 {
        todo!()
    }
    /// Samples per second of the core coder.
    pub fn sample_rate_hz(&self) -> u32 {
        todo!()
    }
    /// Samples per second that come out of the decoder: twice the core's with SBR.
    pub fn output_sample_rate_hz(&self) -> u32 {
        todo!()
    }
    /// Channels, 1 to 8.
    pub fn channels(&self) -> u8 {
        todo!()
    }
    /// Samples of the core coder per frame: 1024 or 960.
    pub fn frame_samples(&self) -> u32 {
        todo!()
    }
    /// Timescale of the track: the core's sample rate.
    pub fn timescale(&self) -> Timescale {
        todo!()
    }
    /// `mp4a.40.2` and so on (RFC 6381, 3.3).
    pub fn codec_string(&self) -> String {
        todo!()
    }
}

/// One raw AAC-LC frame of silence for 1 to 8 channels; `None` for counts without a channel configuration (0, 7, more than 8).
pub fn silent_frame(_channels: u8) -> Option<Bytes> {
    todo!()
}
