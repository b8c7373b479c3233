//! H.264: decoder configuration, parameter sets and the framing of NAL units.
//!
//! Owns what a packager must know about pictures without decoding them. Deliberately does not parse slices. Pure, and safe on any
//! input.

mod nal;
mod sps;

use bytes::{BufMut, Bytes, BytesMut};
pub use nal::{annex_b_to_length_prefixed, length_prefixed_to_annex_b};

use crate::Error;
pub(crate) use nal::LengthPrefixed;
use nal::{AnnexB, TYPE_IDR, TYPE_PPS, TYPE_SEI, TYPE_SPS, nal_type};
use sps::Sps;
pub(crate) use sps::unescape;

/// payloadType of unregistered user data, D.1.7.
const SEI_USER_DATA_UNREGISTERED: u8 = 5;
/// Longest SEI message that counts as encoder settings, in bytes: x264's takes about 700.
const SETTINGS_BYTES_MAX: usize = 4_096;

/// AVCDecoderConfigurationRecord (`avcC`, ISO/IEC 14496-15, 5.3.3.1).
///
/// The record keeps one copy of a repeated parameter set, so that two records are equal exactly when they configure a decoder
/// alike. Picture format and timing are those of the first sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig {
    length_size: u8,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    parsed: Sps,
}

impl DecoderConfig {
    /// Reads an `avcC` body, as in RTMP's AVC sequence header.
    ///
    /// Errors when the record is cut short, of another version, has length prefixes of 3 bytes, has no sequence or no picture parameter
    /// set, or its first sequence parameter set is not valid. The parser ignores the bytes after the parameter sets: they repeat the SPS.
    pub fn parse(avcc: &[u8]) -> Result<Self, Error> {
        const SHORT: Error = Error::Avc("decoder configuration record is cut short");
        let (header, mut rest) = avcc.split_at_checked(5).ok_or(SHORT)?;
        if header.first() != Some(&1) {
            return Err(Error::Avc("decoder configuration record is not of version 1"));
        }
        let length_size = header.last().map_or(0, |byte| (byte & 3) + 1);
        let mut sets = [Vec::new(), Vec::new()];
        for (list, mask) in sets.iter_mut().zip([0x1f, 0xff]) {
            let (count, after) = rest.split_first().ok_or(SHORT)?;
            rest = after;
            for _ in 0..(count & mask) {
                let (length, after) = rest.split_first_chunk().ok_or(SHORT)?;
                let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(SHORT)?;
                rest = after;
                push_once(list, nal);
            }
        }
        let [sps, pps] = sets;
        Self::new(length_size, sps, pps)
    }

    /// Reads the extradata of an encoder: SPS and PPS in Annex B. The samples must have 4-byte length prefixes, as
    /// [`annex_b_to_length_prefixed`] writes them. Errors as [`Self::parse`].
    pub fn from_annex_b_extradata(extradata: &[u8]) -> Result<Self, Error> {
        let (mut sps, mut pps) = (Vec::new(), Vec::new());
        for nal in AnnexB::new(extradata) {
            match nal_type(nal) {
                TYPE_SPS => push_once(&mut sps, nal),
                TYPE_PPS => push_once(&mut pps, nal),
                _ => {}
            }
        }
        Self::new(4, sps, pps)
    }

    fn new(length_size: u8, sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, Error> {
        // The counts and lengths of an `avcC` have 5, 8 and 16 bits.
        const SETS_MAX: (usize, usize) = (31, 255);
        if length_size == 3 {
            return Err(Error::Avc("length prefixes of 3 bytes do not exist"));
        }
        if pps.is_empty() || sps.len() > SETS_MAX.0 || pps.len() > SETS_MAX.1 {
            return Err(Error::Avc("no picture parameter set, or too many parameter sets"));
        }
        if sps.iter().chain(&pps).any(|set| u16::try_from(set.len()).is_err()) {
            return Err(Error::Avc("parameter set longer than 65535 bytes"));
        }
        let first = sps.first().ok_or(Error::Avc("no sequence parameter set"))?;
        if nal_type(first) != TYPE_SPS {
            return Err(Error::Avc("what stands for a sequence parameter set is none"));
        }
        let parsed = Sps::parse(first)?;
        Ok(Self { length_size, sps, pps, parsed })
    }

    /// The `avcC` body, with the extension for high profiles (14496-15, 5.3.3.1.2).
    pub fn encode(&self) -> Bytes {
        let parsed = &self.parsed;
        let mut out = BytesMut::with_capacity(64);
        out.put_slice(&[1, parsed.profile, parsed.constraints, parsed.level, 0xfc | (self.length_size - 1)]);
        for (list, mark) in [(&self.sps, 0xe0), (&self.pps, 0)] {
            out.put_u8(mark | u8::try_from(list.len()).expect("checked in new"));
            for set in list {
                out.put_u16(u16::try_from(set.len()).expect("checked in new"));
                out.put_slice(set);
            }
        }
        if self.has_extension() {
            let (luma, chroma) = (parsed.bit_depth_luma - 8, parsed.bit_depth_chroma - 8);
            out.put_slice(&[0xfc | parsed.chroma_format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
        out.freeze()
    }

    /// Whether the record carries chroma format and bit depth (14496-15, 5.3.3.1.2).
    pub(crate) const fn has_extension(&self) -> bool {
        matches!(self.parsed.profile, 100 | 110 | 122 | 144 | 244)
    }

    pub(crate) const fn chroma_and_depths(&self) -> (u8, u8, u8) {
        (self.parsed.chroma_format, self.parsed.bit_depth_luma, self.parsed.bit_depth_chroma)
    }

    /// Sequence parameter sets, each a NAL unit; at least one.
    pub fn sps(&self) -> &[Bytes] {
        &self.sps
    }

    /// Picture parameter sets, each a NAL unit; at least one.
    pub fn pps(&self) -> &[Bytes] {
        &self.pps
    }

    /// Bytes of the length prefix of each NAL unit in a sample: 1, 2 or 4.
    pub const fn length_size(&self) -> u8 {
        self.length_size
    }

    /// Width in pixels after cropping, 1 to 16384.
    pub const fn width(&self) -> u32 {
        self.parsed.width
    }

    /// Height in pixels after cropping, 1 to 16384.
    pub const fn height(&self) -> u32 {
        self.parsed.height
    }

    /// profile_idc: 66 baseline, 77 main, 100 high.
    pub const fn profile(&self) -> u8 {
        self.parsed.profile
    }

    /// constraint_set flags, set0 in the highest bit.
    pub const fn constraints(&self) -> u8 {
        self.parsed.constraints
    }

    /// level_idc: 31 is level 3.1.
    pub const fn level(&self) -> u8 {
        self.parsed.level
    }

    /// Chroma format: 1 is 4:2:0.
    pub const fn chroma_format(&self) -> u8 {
        self.parsed.chroma_format
    }

    /// Bits of a luma sample: 8 to 14.
    pub const fn bit_depth(&self) -> u8 {
        self.parsed.bit_depth_luma
    }

    /// Whether all pictures are whole frames (frame_mbs_only_flag), that is, not interlaced.
    pub const fn progressive(&self) -> bool {
        self.parsed.progressive
    }

    /// Frames per 1000 seconds, 1 to 1,000,000; `None` when the VUI gives no rate (annex E.2.1).
    pub const fn frame_rate_millihertz(&self) -> Option<u32> {
        self.parsed.frame_rate_millihertz
    }

    /// How many frames a decoder holds back to reorder them (max_num_reorder_frames); 0 means no B-frames. `None` when the VUI gives no
    /// number.
    pub const fn reorder_frames(&self) -> Option<u32> {
        self.parsed.reorder_frames
    }

    /// Codec string for CODECS: `avc1.PPCCLL` (RFC 6381, 3.3).
    pub fn codec_string(&self) -> String {
        let Sps { profile, constraints, level, .. } = self.parsed;
        format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
    }

    /// Whether a length-prefixed sample holds an IDR slice. The search ends where the lengths do not add up.
    pub fn is_idr(&self, sample: &[u8]) -> bool {
        LengthPrefixed::new(sample, self.length_size).any(|nal| nal.is_ok_and(|nal| nal_type(nal) == TYPE_IDR))
    }

    /// The encoder's settings in a length-prefixed sample: the NAL unit of an SEI message of unregistered user data (H.264, D.1.7), which
    /// x264 sends with its first picture. `None` when there is none, or it is longer than 4 KiB.
    pub fn encoder_settings<'a>(&self, sample: &'a [u8]) -> Option<&'a [u8]> {
        let says = |nal: &&[u8]| nal_type(nal) == TYPE_SEI && nal.get(1) == Some(&SEI_USER_DATA_UNREGISTERED);
        let mut nals = LengthPrefixed::new(sample, self.length_size).map_while(Result::ok);
        nals.find(says).filter(|nal| nal.len() <= SETTINGS_BYTES_MAX)
    }

    /// The sample without parameter sets and access unit delimiters, which do not belong in an `avc1` track (14496-15, 5.4.2.1).
    /// Returns the same bytes without a copy when there are none.
    ///
    /// Errors when the lengths do not add up to the sample.
    pub fn strip_parameter_sets(&self, sample: &Bytes) -> Result<Bytes, Error> {
        nal::strip_out_of_band(sample, self.length_size)
    }
}

fn push_once(list: &mut Vec<Bytes>, nal: &[u8]) {
    if !list.iter().any(|known| known == nal) {
        list.push(Bytes::copy_from_slice(nal));
    }
}

#[cfg(test)]
mod tests;
