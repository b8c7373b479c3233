//! NAL units in their two framings: length prefixes (ISO/IEC 14496-15, 5.3.2) and Annex B start codes. Pure.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

/// nal_unit_type of H.264, table 7-1.
pub(crate) const TYPE_IDR: u8 = 5;
pub(crate) const TYPE_SEI: u8 = 6;
pub(crate) const TYPE_SPS: u8 = 7;
pub(crate) const TYPE_PPS: u8 = 8;
pub(crate) const TYPE_DELIMITER: u8 = 9;

const LENGTHS_WRONG: Error = Error::Avc("lengths of NAL units do not add up to the sample");

/// Type of a NAL unit; 0 (unspecified) when it is empty.
pub(crate) fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |first| first & 0x1f)
}

/// Whether a NAL unit must not be in the samples of an `avc1` track, whose parameter sets are only in the init segment.
fn is_out_of_band(nal: &[u8]) -> bool {
    matches!(nal_type(nal), TYPE_SPS | TYPE_PPS | TYPE_DELIMITER)
}

/// NAL units of a length-prefixed sample. Yields one error and ends when the lengths do not add up.
#[derive(Debug, Clone)]
pub(crate) struct LengthPrefixed<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> LengthPrefixed<'a> {
    pub(crate) fn new(sample: &'a [u8], length_size: u8) -> Self {
        Self { rest: sample, length_size: usize::from(length_size) }
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((prefix, rest)) = self.rest.split_at_checked(self.length_size) else {
            self.rest = &[];
            return Some(Err(LENGTHS_WRONG));
        };
        let length = prefix.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let Some((nal, rest)) = rest.split_at_checked(length) else {
            self.rest = &[];
            return Some(Err(LENGTHS_WRONG));
        };
        self.rest = rest;
        Some(Ok(nal))
    }
}

/// NAL units of an Annex B byte stream (H.264, annex B). The iterator skips bytes before the first start code.
#[derive(Debug, Clone)]
pub(crate) struct AnnexB<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> AnnexB<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: split_at_start_code(bytes).1 }
    }
}

/// The bytes before the first start code, and those after it.
fn split_at_start_code(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.windows(3).position(|window| window == [0, 0, 1]) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 3..)),
        None => (bytes, None),
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (nal, rest) = split_at_start_code(self.rest?);
            self.rest = rest;
            // Drop trailing_zero_8bits and the first byte of a four-byte start code: a NAL unit itself never ends in a zero.
            let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if end > 0 {
                return nal.get(..end);
            }
        }
    }
}

/// Converts Annex B to 4-byte length prefixes, without parameter sets and access unit delimiters, which do not belong in the
/// samples of an `avc1` track.
pub fn annex_b_to_length_prefixed(annex_b: &[u8]) -> Bytes {
    // Every start code of three or four bytes becomes a prefix of four.
    let mut out = BytesMut::with_capacity(annex_b.len() + annex_b.len() / 8 + 16);
    for nal in AnnexB::new(annex_b).filter(|nal| !is_out_of_band(nal)) {
        put_prefixed(&mut out, nal);
    }
    out.freeze()
}

fn put_prefixed(out: &mut BytesMut, nal: &[u8]) {
    // No NAL unit reaches 4 GiB: 16 MiB bounds an RTMP message, and `i32` an encoder's packet.
    out.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
    out.put_slice(nal);
}

/// Converts length prefixes to Annex B (4-byte start codes).
///
/// Errors when the lengths do not add up to the sample.
pub fn length_prefixed_to_annex_b(sample: &[u8], length_size: u8) -> Result<Bytes, Error> {
    let mut out = BytesMut::with_capacity(sample.len() + 16);
    for nal in LengthPrefixed::new(sample, length_size) {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(nal?);
    }
    Ok(out.freeze())
}

/// See [`super::DecoderConfig::strip_parameter_sets`].
pub(crate) fn strip_out_of_band(sample: &Bytes, length_size: u8) -> Result<Bytes, Error> {
    let mut found = false;
    for nal in LengthPrefixed::new(sample, length_size) {
        found |= is_out_of_band(nal?);
    }
    if !found {
        return Ok(sample.clone());
    }
    let prefix_bytes = usize::from(length_size);
    let mut out = BytesMut::with_capacity(sample.len());
    for nal in LengthPrefixed::new(sample, length_size) {
        let nal = nal?;
        if !is_out_of_band(nal) {
            let length = u32::try_from(nal.len()).unwrap_or(u32::MAX).to_be_bytes();
            out.put_slice(length.get(4_usize.saturating_sub(prefix_bytes)..).unwrap_or_default());
            out.put_slice(nal);
        }
    }
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_codes_of_three_and_four_bytes_and_padding_are_understood() {
        let stream = [&[0, 0, 0, 1, 9, 0x10][..], &[0, 0, 1, 0x67, 1, 2, 0, 0], &[0, 0, 1, 0x65, 3, 0]].concat();
        let nals: Vec<_> = AnnexB::new(&stream).collect();
        assert_eq!(nals, [&[9, 0x10][..], &[0x67, 1, 2], &[0x65, 3]]);
        assert_eq!(annex_b_to_length_prefixed(&stream).as_ref(), [0, 0, 0, 2, 0x65, 3]);
        assert_eq!(AnnexB::new(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn sample_without_parameter_sets_is_not_copied() {
        let sample = Bytes::from_static(&[0, 0, 0, 2, 0x65, 3]);
        let stripped = strip_out_of_band(&sample, 4).unwrap();
        assert_eq!(stripped.as_ptr(), sample.as_ptr());
        let with_sets = Bytes::from_static(&[0, 1, 0x67, 0, 2, 0x65, 3, 0, 1, 0x68]);
        assert_eq!(strip_out_of_band(&with_sets, 2).unwrap().as_ref(), [0, 2, 0x65, 3]);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_an_error() {
        for bad in [&[0][..], &[0, 0, 0, 2, 1], &[255, 255, 255, 255, 1]] {
            assert!(length_prefixed_to_annex_b(bad, 4).is_err());
            assert!(strip_out_of_band(&Bytes::copy_from_slice(bad), 4).is_err());
        }
    }

    proptest! {
        #[test]
        fn wrappings_convert_into_each_other(
            bodies in prop::collection::vec(prop::collection::vec(1_u8.., 1..40), 0..8),
        ) {
            let mut sample = BytesMut::new();
            for body in &bodies {
                put_prefixed(&mut sample, &[&[0x65], body.as_slice()].concat());
            }
            let annex_b = length_prefixed_to_annex_b(&sample, 4).unwrap();
            prop_assert_eq!(annex_b_to_length_prefixed(&annex_b), sample.freeze());
        }

        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200)) {
            annex_b_to_length_prefixed(&bytes);
            for size in 1..=4 {
                let _ = length_prefixed_to_annex_b(&bytes, size);
                let _ = strip_out_of_band(&Bytes::copy_from_slice(&bytes), size);
            }
        }
    }
}
