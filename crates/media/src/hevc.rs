//! HEVC as publishers send it: decoder configuration and keyframes. `ingest` decodes it; nothing packages it. Pure, and safe on any input.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::Error;
use crate::avc::{LengthPrefixed, unescape};
use crate::bits::BitReader;

/// Longest record that the parser accepts, in bytes: three parameter sets take about 150, and SEI messages may come with them.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a record before its arrays (ISO/IEC 14496-15, 8.3.3.1.2).
const HEADER_BYTES: usize = 23;
/// Largest width and height that the parser accepts, in pixels.
const SIDE_PIXELS_MAX: u32 = 16_384;

/// nal_unit_type of a sequence parameter set (ITU-T H.265, table 7-1).
const TYPE_SPS: u8 = 33;
/// nal_unit_type of the pictures at which decoding can begin: BLA, IDR and CRA.
const TYPES_INTRA: std::ops::RangeInclusive<u8> = 16..=21;

/// HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig {
    raw: Bytes,
    length_size: u8,
    width: u32,
    height: u32,
    codec_string: String,
}

impl DecoderConfig {
    /// Reads an `hvcC` body, as in the sequence start of RTMP.
    ///
    /// Errors when the record is cut short, longer than 64 KiB, of another version, has length prefixes of 3 bytes, or has no valid
    /// sequence parameter set.
    pub fn parse(hvcc: &[u8]) -> Result<Self, Error> {
        const SHORT: Error = Error::Hevc("decoder configuration record is cut short");
        if hvcc.len() > RECORD_BYTES_MAX {
            return Err(Error::Hevc("decoder configuration record is longer than 64 KiB"));
        }
        let (header, mut rest) = hvcc.split_first_chunk::<HEADER_BYTES>().ok_or(SHORT)?;
        if header[0] != 1 {
            return Err(Error::Hevc("decoder configuration record is not of version 1"));
        }
        let length_size = (header[21] & 3) + 1;
        if length_size == 3 {
            return Err(Error::Hevc("length prefixes of 3 bytes do not exist"));
        }
        let mut size = None;
        for _ in 0..header[22] {
            let ([kind, count @ ..], after) = rest.split_first_chunk::<3>().ok_or(SHORT)?;
            rest = after;
            for _ in 0..u16::from_be_bytes(*count) {
                let (length, after) = rest.split_first_chunk().ok_or(SHORT)?;
                let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(SHORT)?;
                rest = after;
                if kind & 0x3f == TYPE_SPS && size.is_none() {
                    size = Some(picture_size(nal).ok_or(Error::Hevc("sequence parameter set is not valid"))?);
                }
            }
        }
        let (width, height) = size.ok_or(Error::Hevc("no sequence parameter set"))?;
        let codec_string = codec_string(header);
        Ok(Self { raw: Bytes::copy_from_slice(hvcc), length_size, width, height, codec_string })
    }

    /// The record, byte for byte as parsed.
    pub fn encode(&self) -> Bytes {
        self.raw.clone()
    }

    /// Width in pixels after cropping, 1 to 16384.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels after cropping, 1 to 16384.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Codec string for CODECS, such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15, annex E.3).
    pub fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    /// Whether decoding can begin at a sample: it holds a slice of a BLA, IDR or CRA picture. Encoders with open GOPs (the default of
    /// x265) send one IDR, and CRA pictures afterwards. The search ends where the NAL unit lengths do not add up.
    pub fn is_sync(&self, sample: &[u8]) -> bool {
        let mut nals = LengthPrefixed::new(sample, self.length_size);
        nals.any(|nal| nal.is_ok_and(|nal| nal_type(nal).is_some_and(|kind| TYPES_INTRA.contains(&kind))))
    }
}

fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|first| first >> 1 & 0x3f)
}

fn codec_string(header: &[u8; HEADER_BYTES]) -> String {
    let [_, profile, c0, c1, c2, c3, constraints @ .., level] = header.first_chunk::<13>().expect("shorter");
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([*c0, *c1, *c2, *c3]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1f);
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        // Writing to a string cannot fail.
        let _ = write!(text, ".{byte:X}");
    }
    text
}

/// Width and height from a sequence parameter set (ITU-T H.265, 7.3.2.2.1).
fn picture_size(nal: &[u8]) -> Option<(u32, u32)> {
    let rbsp = unescape(nal.get(2..)?);
    let reader = &mut BitReader::new(&rbsp);
    reader.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = reader.bits(3)?;
    reader.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(reader, sub_layers)?;
    reader.unsigned_golomb().filter(|id| *id <= 15)?;
    let chroma_format = reader.unsigned_golomb().filter(|format| *format <= 3)?;
    let separate_planes = chroma_format == 3 && reader.bit()?;
    let (mut width, mut height) = (reader.unsigned_golomb()?, reader.unsigned_golomb()?);
    if reader.bit()? {
        let (unit_x, unit_y) = match (chroma_format, separate_planes) {
            (1, _) => (2, 2),
            (2, _) => (2, 1),
            _ => (1, 1),
        };
        let horizontal = reader.unsigned_golomb()?.checked_add(reader.unsigned_golomb()?)?;
        let vertical = reader.unsigned_golomb()?.checked_add(reader.unsigned_golomb()?)?;
        width = width.checked_sub(horizontal.checked_mul(unit_x)?)?;
        height = height.checked_sub(vertical.checked_mul(unit_y)?)?;
    }
    let sides = 1..=SIDE_PIXELS_MAX;
    (sides.contains(&width) && sides.contains(&height)).then_some((width, height))
}

/// profile_tier_level with profilePresentFlag 1 (7.3.3).
fn skip_profile_tier_level(reader: &mut BitReader<'_>, sub_layers: u32) -> Option<()> {
    const PROFILE_BITS: u32 = 88;
    const LEVEL_BITS: u32 = 8;
    reader.skip(PROFILE_BITS + LEVEL_BITS)?;
    let mut bits = 0;
    for _ in 0..sub_layers {
        bits += if reader.bit()? { PROFILE_BITS } else { 0 };
        bits += if reader.bit()? { LEVEL_BITS } else { 0 };
    }
    if sub_layers > 0 {
        reader.skip(2 * (8 - sub_layers))?;
    }
    reader.skip(bits)
}

#[cfg(test)]
mod tests;
