//! AV1 as publishers send it: decoder configuration and keyframes. `ingest` decodes it; nothing packages it. Pure, and safe on any input.

use bytes::Bytes;

use crate::Error;
use crate::bits::BitReader;

/// Longest record that the parser accepts, in bytes: a sequence header takes about 12, and metadata may come with it.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a record before its OBUs.
const HEADER_BYTES: usize = 4;

/// obu_type (AV1 specification, 6.2.2).
const TYPE_SEQUENCE_HEADER: u8 = 1;
const TYPE_FRAME_HEADER: u8 = 3;
const TYPE_FRAME: u8 = 6;

/// AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding, 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig {
    raw: Bytes,
    width: u32,
    height: u32,
}

impl DecoderConfig {
    /// Reads an `av1C` body, as in the sequence start of RTMP.
    ///
    /// Errors when the record is cut short, longer than 64 KiB, of another version, or has no valid sequence header.
    pub fn parse(av1c: &[u8]) -> Result<Self, Error> {
        if av1c.len() > RECORD_BYTES_MAX {
            return Err(Error::Av1("codec configuration record is longer than 64 KiB"));
        }
        let (header, rest) =
            av1c.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Av1("codec configuration record is cut short"))?;
        if header[0] != 0x81 {
            return Err(Error::Av1("codec configuration record is not of version 1"));
        }
        let sequence = Obus { rest }.find(|obu| obu.kind == TYPE_SEQUENCE_HEADER);
        let sequence = sequence.ok_or(Error::Av1("no sequence header in the codec configuration record"))?;
        let (width, height) = picture_size(sequence.payload).ok_or(Error::Av1("sequence header is not valid"))?;
        Ok(Self { raw: Bytes::copy_from_slice(av1c), width, height })
    }

    /// The record, byte for byte as parsed.
    pub fn encode(&self) -> Bytes {
        self.raw.clone()
    }

    /// Largest width in pixels, 1 to 65536.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Largest height in pixels, 1 to 65536.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Codec string for CODECS, such as `av01.0.04M.08` (AV1 Codec ISO Media File Format Binding, 5).
    pub fn codec_string(&self) -> String {
        let at = |index: usize| self.raw.get(index).copied().unwrap_or(0);
        let (profile, level) = (at(1) >> 5, at(1) & 0x1f);
        let tier = if at(2) & 0x80 == 0 { 'M' } else { 'H' };
        let depth = match (at(2) & 0x40 != 0, at(2) & 0x20 != 0) {
            (false, _) => 8,
            (true, false) => 10,
            (true, true) => 12,
        };
        format!("av01.{profile}.{level:02}{tier}.{depth:02}")
    }

    /// Whether decoding can begin at a sample (a temporal unit): its first frame is a shown key frame (2.4 of the binding).
    pub fn is_sync(&self, sample: &[u8]) -> bool {
        let frame = Obus { rest: sample }.find(|obu| matches!(obu.kind, TYPE_FRAME | TYPE_FRAME_HEADER));
        frame.is_some_and(|frame| is_shown_key_frame(frame.payload).unwrap_or(false))
    }
}

/// Reads the first fields of uncompressed_header (5.9.2); the stream is not a still picture.
fn is_shown_key_frame(header: &[u8]) -> Option<bool> {
    const KEY_FRAME: u32 = 0;
    let reader = &mut BitReader::new(header);
    let shows_existing = reader.bit()?;
    Some(!shows_existing && reader.bits(2)? == KEY_FRAME && reader.bit()?)
}

/// Open bitstream unit (5.3).
struct Obu<'a> {
    kind: u8,
    payload: &'a [u8],
}

/// The open bitstream units of a sample; ends where the lengths do not add up.
struct Obus<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Obus<'a> {
    type Item = Obu<'a>;

    fn next(&mut self) -> Option<Obu<'a>> {
        let (first, mut rest) = std::mem::take(&mut self.rest).split_first()?;
        if first & 0x04 != 0 {
            rest = rest.get(1..)?; // obu_extension_header
        }
        let payload = if first & 0x02 == 0 {
            rest
        } else {
            let (length, after) = leb128(rest)?;
            let (payload, after) = after.split_at_checked(length)?;
            self.rest = after;
            payload
        };
        Some(Obu { kind: first >> 3 & 0x0f, payload })
    }
}

/// leb128() (4.10.5), and the bytes after it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for index in 0..8_usize {
        let byte = bytes.get(index)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

/// Width and height from sequence_header_obu (5.5.1).
fn picture_size(header: &[u8]) -> Option<(u32, u32)> {
    let reader = &mut BitReader::new(header);
    reader.skip(4)?; // seq_profile, still_picture
    if reader.bit()? {
        reader.skip(5)?; // reduced_still_picture_header: only seq_level_idx
    } else {
        skip_operating_points(reader)?;
    }
    let (width_bits, height_bits) = (reader.bits(4)? + 1, reader.bits(4)? + 1);
    Some((reader.bits(width_bits)?.checked_add(1)?, reader.bits(height_bits)?.checked_add(1)?))
}

fn skip_operating_points(reader: &mut BitReader<'_>) -> Option<()> {
    let mut delay_bits = None;
    if reader.bit()? {
        reader.skip(64)?; // num_units_in_display_tick, time_scale
        if reader.bit()? {
            skip_uvlc(reader)?; // num_ticks_per_picture_minus_1
        }
        if reader.bit()? {
            delay_bits = Some(reader.bits(5)? + 1);
            reader.skip(42)?; // num_units_in_decoding_tick and two lengths
        }
    }
    let has_display_delay = reader.bit()?;
    for _ in 0..=reader.bits(5)? {
        reader.skip(12)?; // operating_point_idc
        if reader.bits(5)? > 7 {
            reader.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && reader.bit()?
        {
            reader.skip(2 * delay_bits + 1)?; // operating_parameters_info
        }
        if has_display_delay && reader.bit()? {
            reader.skip(4)?;
        }
    }
    Some(())
}

/// uvlc() (4.10.3).
fn skip_uvlc(reader: &mut BitReader<'_>) -> Option<()> {
    let mut zeros = 0;
    while !reader.bit()? {
        zeros += 1;
        if zeros >= 32 {
            return Some(());
        }
    }
    reader.skip(zeros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SVT-AV1, 320x180, main profile, 8 bits.
    const SMALL: &str = "81000c000a0b000000043cfecc02f80040";

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn configuration_of_svt_av1_is_read() {
        let config = DecoderConfig::parse(&hex(SMALL)).unwrap();
        assert_eq!((config.width(), config.height()), (320, 180));
        assert_eq!(config.codec_string(), "av01.0.00M.08");
        assert_eq!(config.encode(), hex(SMALL));
    }

    #[test]
    fn key_frame_is_told_by_its_header() {
        let config = DecoderConfig::parse(&hex(SMALL)).unwrap();
        // Temporal delimiter, then a frame: a shown key frame, an inter frame, a key frame that is not shown, an old one shown again.
        for (header, sync) in [(0b0001_0000, true), (0b0011_0000, false), (0b0000_0000, false), (0b1001_0000, false)] {
            assert_eq!(config.is_sync(&[0x12, 0, 0x32, 1, header]), sync, "{header:08b}");
        }
        assert!(!config.is_sync(&[]) && !config.is_sync(&[0x12, 0]) && !config.is_sync(&[0x32, 9, 0x10]));
    }

    #[test]
    fn configurations_without_a_sequence_header_are_refused() {
        for bad in [
            &[][..],
            &[0x81, 0, 0],
            &[0x81, 0, 0x0c, 0],
            &[0x01, 0, 0x0c, 0, 0x0a, 1, 0],
            &[0x81, 0, 0x0c, 0, 0x0a, 2, 0, 0],
        ] {
            assert!(DecoderConfig::parse(bad).is_err(), "{bad:02x?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60), sample in prop::collection::vec(any::<u8>(), 0..40)) {
            let known = DecoderConfig::parse(&hex(SMALL)).unwrap();
            let _ = (DecoderConfig::parse(&bytes), known.is_sync(&sample));
            if let Some(first) = bytes.first_mut() {
                *first = 0x81;
            }
            let _ = DecoderConfig::parse(&bytes);
        }
    }
}
