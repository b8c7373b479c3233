//! H.264: parameter sets and samples. Pure.

use bytes::Bytes;

use crate::Error;

/// AVCDecoderConfigurationRecord (`avcC`, ISO/IEC 14496-15, 5.3.3.1). Repeated identical parameter sets are kept once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig {}

impl DecoderConfig {
    /// Reads an `avcC` body, as in RTMP's AVC sequence header.
    pub fn parse(_avcc: &[u8]) -> Result<Self, Error> {
        todo!()
    }
    /// From extradata of an encoder: SPS and PPS in Annex B. Length prefixes of samples will be 4 bytes.
    pub fn from_annex_b_extradata(_extradata: &[u8]) -> Result<Self, Error> {
        todo!()
    }
    /// The `avcC` body.
    pub fn encode(&self) -> Bytes {
        todo!()
    }
    /// Sequence parameter sets, each a NAL unit.
    pub fn sps(&self) -> &[Bytes] {
        todo!()
    }
    /// Picture parameter sets, each a NAL unit.
    pub fn pps(&self) -> &[Bytes] {
        todo!()
    }
    /// Bytes of the length before each NAL unit of a sample: 1, 2 or 4.
    pub const fn length_size(&self) -> u8 {
        4
    }
    /// Width in pixels after cropping.
    pub const fn width(&self) -> u32 {
        0
    }
    /// Height in pixels after cropping.
    pub const fn height(&self) -> u32 {
        0
    }
    /// profile_idc: 66 baseline, 77 main, 100 high.
    pub const fn profile(&self) -> u8 {
        0
    }
    /// constraint_set flags.
    pub const fn constraints(&self) -> u8 {
        0
    }
    /// level_idc: 31 is level 3.1.
    pub const fn level(&self) -> u8 {
        0
    }
    /// Whether pictures are always whole frames (not interlaced).
    pub const fn progressive(&self) -> bool {
        true
    }
    /// Frames per 1000 seconds, where the VUI says so.
    pub const fn frame_rate_millihertz(&self) -> Option<u32> {
        None
    }
    /// `avc1.PPCCLL` (RFC 6381, 3.3).
    pub fn codec_string(&self) -> String {
        todo!()
    }
    /// Whether a sample (length-prefixed) holds an IDR slice.
    pub fn is_idr(&self, _sample: &[u8]) -> bool {
        todo!()
    }
    /// The sample without parameter sets and access unit delimiters, which have no place in an `avc1` track; the same bytes,
    /// not copied, when there are none. Errors when the lengths do not add up.
    pub fn strip_parameter_sets(&self, _sample: &Bytes) -> Result<Bytes, Error> {
        todo!()
    }
}

/// Annex B to 4-byte length prefixes; parameter sets and access unit delimiters are left out.
pub fn annex_b_to_length_prefixed(_annex_b: &[u8]) -> Bytes {
    todo!()
}

/// Length prefixes to Annex B (4-byte start codes). Errors when the lengths do not add up.
pub fn length_prefixed_to_annex_b(_sample: &[u8], _length_size: u8) -> Result<Bytes, Error> {
    todo!()
}
