//! Just enough of H.264 and H.265 to tell whether a picture is an IDR picture. Pure.

/// The family of a video format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// H.264: `avc1`, `avc3`.
    Avc,
    /// H.265: `hvc1`, `hev1`.
    Hevc,
}

/// Whether the NAL units of a sample hold an IDR picture; none when they hold no picture.
pub(super) fn idr<'a>(family: Family, units: impl Iterator<Item = &'a [u8]>) -> Option<bool> {
    let mut answer = None;
    for first in units.filter_map(|unit| unit.first().copied()) {
        let (is_picture, is_idr) = match family {
            Family::Avc => (matches!(first & 0x1f, 1 | 2 | 5), first & 0x1f == 5),
            Family::Hevc => ((first >> 1) & 0x3f < 32, matches!((first >> 1) & 0x3f, 19 | 20)),
        };
        if is_picture {
            answer = Some(answer.unwrap_or(false) || is_idr);
        }
    }
    answer
}

/// NAL units that each follow their length, as in MP4.
pub(super) fn with_lengths(sample: &[u8], length_size: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let prefix = rest.get(..length_size).filter(|prefix| !prefix.is_empty())?;
        let length = prefix.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let unit = rest.get(length_size..length_size.checked_add(length)?)?;
        rest = rest.get(length_size + length..)?;
        Some(unit)
    })
}

/// NAL units that each follow a start code, as in transport streams. Only their first bytes matter here.
pub(super) fn with_start_codes(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    sample.windows(3).enumerate().filter(|(_, code)| code == &[0, 0, 1]).filter_map(|(at, _)| sample.get(at + 3..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idr_pictures_are_recognised_in_both_framings() {
        let sample = [0, 0, 0, 2, 0x09, 0xf0, 0, 0, 0, 2, 0x65, 1];
        assert_eq!(idr(Family::Avc, with_lengths(&sample, 4)), Some(true));
        let stream = [0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x41, 1];
        assert_eq!(idr(Family::Avc, with_start_codes(&stream)), Some(false));
        assert_eq!(idr(Family::Avc, with_start_codes(&[0, 0, 1, 0x67, 1])), None);
        assert_eq!(idr(Family::Hevc, with_start_codes(&[0, 0, 1, 19 << 1, 1])), Some(true));
        assert_eq!(idr(Family::Hevc, with_start_codes(&[0, 0, 1, 21 << 1, 1])), Some(false));
    }

    #[test]
    fn a_length_beyond_the_sample_ends_it() {
        assert_eq!(with_lengths(&[0xff, 0xff, 0xff, 0xff, 1], 4).count(), 0);
        assert_eq!(with_lengths(&[], 4).count(), 0);
    }
}
