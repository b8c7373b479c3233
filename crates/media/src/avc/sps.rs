//! Sequence parameter set of H.264 (7.3.2.1.1 and annex E): the fields that a packager needs. Pure; safe on any input.

use crate::Error;
use crate::bits::BitReader;

/// Largest width and height that the parser accepts, in pixels.
const SIDE_PIXELS_MAX: u32 = 16_384;

/// Profiles whose parameter set carries chroma format and bit depth (7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// The fields of an SPS that a packager needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sps {
    pub(crate) profile: u8,
    pub(crate) constraints: u8,
    pub(crate) level: u8,
    pub(crate) chroma_format: u8,
    pub(crate) bit_depth_luma: u8,
    pub(crate) bit_depth_chroma: u8,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) progressive: bool,
    pub(crate) frame_rate_millihertz: Option<u32>,
    /// max_num_reorder_frames; `None` when the VUI does not give it.
    pub(crate) reorder_frames: Option<u32>,
}

impl Sps {
    /// Reads a NAL unit of type 7.
    pub(crate) fn parse(nal: &[u8]) -> Result<Self, Error> {
        let rbsp = unescape(nal.get(1..).unwrap_or_default());
        parse_rbsp(&mut BitReader::new(&rbsp)).ok_or(Error::Avc("sequence parameter set is not valid"))
    }
}

/// Removes the emulation prevention bytes (7.3.1): 0 0 3 becomes 0 0.
pub(crate) fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

struct Chroma {
    format: u8,
    separate_planes: bool,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
}

fn parse_rbsp(reader: &mut BitReader<'_>) -> Option<Sps> {
    let (profile, constraints, level) = (reader.byte()?, reader.byte()?, reader.byte()?);
    reader.unsigned_golomb().filter(|id| *id <= 31)?;
    let chroma = if HIGH_PROFILES.contains(&profile) {
        parse_chroma(reader)?
    } else {
        Chroma { format: 1, separate_planes: false, bit_depth_luma: 8, bit_depth_chroma: 8 }
    };
    reader.unsigned_golomb().filter(|log2| *log2 <= 12)?;
    skip_picture_order(reader)?;
    reader.unsigned_golomb()?; // max_num_ref_frames
    reader.bit()?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = reader.unsigned_golomb()?.checked_add(1)?;
    let height_units = reader.unsigned_golomb()?.checked_add(1)?;
    let progressive = reader.bit()?;
    if !progressive {
        reader.bit()?; // mb_adaptive_frame_field_flag
    }
    reader.bit()?; // direct_8x8_inference_flag
    let field_factor = if progressive { 1 } else { 2 };
    let coded = (width_mbs.checked_mul(16)?, height_units.checked_mul(16)?.checked_mul(field_factor)?);
    let (width, height) = parse_cropping(reader, coded, &chroma, field_factor)?;
    let (frame_rate_millihertz, reorder_frames) = match reader.bit()? {
        // A VUI that is cut short or invalid loses its hints; the stream goes on.
        true => parse_vui(reader),
        false => (None, None),
    };
    Some(Sps {
        profile,
        constraints,
        level,
        chroma_format: chroma.format,
        bit_depth_luma: chroma.bit_depth_luma,
        bit_depth_chroma: chroma.bit_depth_chroma,
        width,
        height,
        progressive,
        frame_rate_millihertz,
        reorder_frames,
    })
}

fn parse_chroma(reader: &mut BitReader<'_>) -> Option<Chroma> {
    let format = u8::try_from(reader.unsigned_golomb().filter(|format| *format <= 3)?).ok()?;
    let separate_planes = format == 3 && reader.bit()?;
    let bit_depth_luma = u8::try_from(reader.unsigned_golomb().filter(|depth| *depth <= 6)?).ok()? + 8;
    let bit_depth_chroma = u8::try_from(reader.unsigned_golomb().filter(|depth| *depth <= 6)?).ok()? + 8;
    reader.bit()?; // qpprime_y_zero_transform_bypass_flag
    if reader.bit()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if reader.bit()? {
                skip_scaling_list(reader, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(Chroma { format, separate_planes, bit_depth_luma, bit_depth_chroma })
}

/// scaling_list, 7.3.2.1.1.1.
fn skip_scaling_list(reader: &mut BitReader<'_>, size: u32) -> Option<()> {
    let mut last = 8_i64;
    for _ in 0..size {
        let delta = reader.signed_golomb().filter(|delta| (-128..=127).contains(delta))?;
        let next = (last + delta).rem_euclid(256);
        if next == 0 {
            return Some(());
        }
        last = next;
    }
    Some(())
}

fn skip_picture_order(reader: &mut BitReader<'_>) -> Option<()> {
    match reader.unsigned_golomb()? {
        0 => {
            reader.unsigned_golomb().filter(|log2| *log2 <= 12)?;
        }
        1 => {
            reader.bit()?;
            reader.signed_golomb()?;
            reader.signed_golomb()?;
            for _ in 0..reader.unsigned_golomb().filter(|cycle| *cycle <= 255)? {
                reader.signed_golomb()?;
            }
        }
        2 => {}
        _ => return None,
    }
    Some(())
}

/// Width and height in pixels after cropping (7.4.2.1.1, equations 7-19 to 7-22).
fn parse_cropping(
    reader: &mut BitReader<'_>,
    (coded_width, coded_height): (u32, u32),
    chroma: &Chroma,
    field_factor: u32,
) -> Option<(u32, u32)> {
    let (mut width, mut height) = (coded_width, coded_height);
    if reader.bit()? {
        let (unit_x, unit_y) = match (chroma.format, chroma.separate_planes) {
            (1, _) => (2, 2),
            (2, _) => (2, 1),
            _ => (1, 1),
        };
        let horizontal = reader.unsigned_golomb()?.checked_add(reader.unsigned_golomb()?)?;
        let vertical = reader.unsigned_golomb()?.checked_add(reader.unsigned_golomb()?)?;
        width = width.checked_sub(horizontal.checked_mul(unit_x)?)?;
        height = height.checked_sub(vertical.checked_mul(unit_y)?.checked_mul(field_factor)?)?;
    }
    let sides = 1..=SIDE_PIXELS_MAX;
    (sides.contains(&width) && sides.contains(&height)).then_some((width, height))
}

/// Frame rate and reordering depth from the VUI (annex E.1.1).
fn parse_vui(reader: &mut BitReader<'_>) -> (Option<u32>, Option<u32>) {
    let mut rate = None;
    let reorder = parse_vui_fields(reader, &mut rate);
    (rate, reorder.flatten())
}

fn parse_vui_fields(reader: &mut BitReader<'_>, rate: &mut Option<u32>) -> Option<Option<u32>> {
    const EXTENDED_SAR: u32 = 255;
    if reader.bit()? && reader.bits(8)? == EXTENDED_SAR {
        reader.skip(32)?;
    }
    if reader.bit()? {
        reader.bit()?; // overscan_appropriate_flag
    }
    if reader.bit()? {
        reader.skip(4)?; // video_format, video_full_range_flag
        if reader.bit()? {
            reader.skip(24)?; // colour description
        }
    }
    if reader.bit()? {
        reader.unsigned_golomb()?;
        reader.unsigned_golomb()?;
    }
    if reader.bit()? {
        let (units_in_tick, time_scale) = (reader.bits(32)?, reader.bits(32)?);
        reader.bit()?; // fixed_frame_rate_flag
        // A frame is two ticks (E.2.1).
        let divisor = u64::from(units_in_tick) * 2;
        *rate = (u64::from(time_scale) * 1_000 + divisor / 2)
            .checked_div(divisor)
            .and_then(|millihertz| u32::try_from(millihertz).ok())
            .filter(|millihertz| (1..=1_000_000).contains(millihertz));
    }
    let nal_hrd = reader.bit()?;
    if nal_hrd {
        skip_hrd(reader)?;
    }
    let vcl_hrd = reader.bit()?;
    if vcl_hrd {
        skip_hrd(reader)?;
    }
    if nal_hrd || vcl_hrd {
        reader.bit()?; // low_delay_hrd_flag
    }
    reader.bit()?; // pic_struct_present_flag
    if !reader.bit()? {
        return Some(None);
    }
    reader.bit()?; // motion_vectors_over_pic_boundaries_flag
    for _ in 0..4 {
        reader.unsigned_golomb()?;
    }
    Some(reader.unsigned_golomb().filter(|frames| *frames <= 16))
}

/// hrd_parameters, E.1.2.
fn skip_hrd(reader: &mut BitReader<'_>) -> Option<()> {
    let count = reader.unsigned_golomb().filter(|count| *count <= 31)? + 1;
    reader.skip(8)?;
    for _ in 0..count {
        reader.unsigned_golomb()?;
        reader.unsigned_golomb()?;
        reader.bit()?;
    }
    reader.skip(20)
}
